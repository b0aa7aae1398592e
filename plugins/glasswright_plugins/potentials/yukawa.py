import jax.numpy as jnp
from jaxtyping import Array, Float

from ._parameters import (
    PerPair,
    PerSpecies,
    check,
    count_species,
    default_diameter,
    per_pair,
    per_species,
    xplor,
)
from ._species import AbstractSpeciesPotential


class Yukawa(AbstractSpeciesPotential):
    """Screened repulsion, smoothed to zero by XPLOR: `V = e (s/r) exp(-kappa (r - s)) S(r)`.

    Source: Robbins, Kremer & Grest, J. Chem. Phys. 88, 3286 (1988), Eq. 1.

    **Arguments:**

    - `n_species`: number of species; left out, as many as `diameter` has.
    - `diameter`: of each species, in units of length; a scalar applies to all. Default: 0.8 for the first half of the
      species, 1.0 for the others. A pair has the mean of both.
    - `binding_energy`: energy `e` at `r = s`, in units of energy, of each pair of species: a scalar, a symmetric
      matrix, or the packed upper triangle.
    - `inverse_range`: `kappa`, in units of inverse length.
    - `onset_ratio`, `cutoff_ratio`: where the smoothing begins and ends, in diameters of the pair.
    """

    diameter: Float[Array, " s"]
    binding_energy: Float[Array, " t"]
    inverse_range: float
    onset_ratio: float
    cutoff_ratio: float

    def __init__(
        self,
        n_species: int | None = None,
        diameter: PerSpecies | None = None,
        binding_energy: PerPair = 1.0,
        inverse_range: float = 3.0,
        onset_ratio: float = 2.0,
        cutoff_ratio: float = 2.8,
    ):
        n_species = count_species(n_species, diameter)
        diameter = default_diameter(n_species) if diameter is None else diameter
        self.diameter = per_species("yukawa", "diameter", diameter, n_species)
        self.binding_energy = per_pair("yukawa", "binding_energy", binding_energy, n_species)
        self.inverse_range = float(inverse_range)
        self.onset_ratio = float(onset_ratio)
        self.cutoff_ratio = float(cutoff_ratio)

    def __check_init__(self) -> None:
        check(
            "yukawa",
            positive={
                name: getattr(self, name) for name in ("diameter", "inverse_range", "onset_ratio", "cutoff_ratio")
            },
            not_negative={"binding_energy": self.binding_energy},
        )
        if not self.onset_ratio < self.cutoff_ratio:
            raise ValueError(
                f"yukawa(onset_ratio={self.onset_ratio}, cutoff_ratio={self.cutoff_ratio}): the onset must come "
                "before the cutoff."
            )

    def range_of(self, diameter):
        """Where the energy ends."""
        return self.cutoff_ratio * diameter

    def pair_parameters(self, configuration, i, j):
        """Mean diameter and energy of each pair."""
        return self.diameter_and_energy(configuration, i, j)

    def pair_energy(self, r, parameters):
        s, energy = parameters
        x = jnp.minimum(r, self.cutoff_ratio * s)
        screened = energy * (s / x) * jnp.exp(-self.inverse_range * (x - s))
        return screened * xplor(x, self.onset_ratio * s, self.cutoff_ratio * s)
