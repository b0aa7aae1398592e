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


class InversePower(AbstractSpeciesPotential):
    """Repulsion by an inverse power of the distance, smoothed to zero by XPLOR: `V = e (s/r)^n S(r)`.

    Source: Hoover et al., J. Chem. Phys. 52, 4931 (1970).

    **Arguments:**

    - `n_species`: number of species; left out, as many as `diameter` has.
    - `diameter`: of each species, in units of length; a scalar applies to all. Default: 0.8 for the first half of the
      species, 1.0 for the others. A pair has the mean of both.
    - `binding_energy`: energy `e` at `r = s`, in units of energy, of each pair of species: a scalar, a symmetric
      matrix, or the packed upper triangle.
    - `exponent`: `n`.
    - `onset_ratio`, `cutoff_ratio`: where the smoothing begins and ends, in diameters of the pair.
    """

    diameter: Float[Array, " s"]
    binding_energy: Float[Array, " t"]
    exponent: float
    onset_ratio: float
    cutoff_ratio: float

    def __init__(
        self,
        n_species: int | None = None,
        diameter: PerSpecies | None = None,
        binding_energy: PerPair = 1.0,
        exponent: float = 12.0,
        onset_ratio: float = 1.5,
        cutoff_ratio: float = 2.0,
    ):
        n_species = count_species(n_species, diameter)
        diameter = default_diameter(n_species) if diameter is None else diameter
        self.diameter = per_species("inverse_power", "diameter", diameter, n_species)
        self.binding_energy = per_pair("inverse_power", "binding_energy", binding_energy, n_species)
        self.exponent = float(exponent)
        self.onset_ratio = float(onset_ratio)
        self.cutoff_ratio = float(cutoff_ratio)

    def __check_init__(self) -> None:
        check(
            "inverse_power",
            positive={name: getattr(self, name) for name in ("diameter", "exponent", "onset_ratio", "cutoff_ratio")},
            not_negative={"binding_energy": self.binding_energy},
        )
        if not self.onset_ratio < self.cutoff_ratio:
            raise ValueError(
                f"inverse_power(onset_ratio={self.onset_ratio}, cutoff_ratio={self.cutoff_ratio}): the onset must come "
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
        return energy * (s / x) ** self.exponent * xplor(x, self.onset_ratio * s, self.cutoff_ratio * s)
