"""The Lennard-Jones potential."""

import equinox as eqx
from jaxtyping import Array, Float

from ._parameters import PerPair, PerSpecies, species_parameters
from ._smoothing import Smoothing
from ._species import AbstractScaledPotential


class LennardJones(AbstractScaledPotential):
    """Lennard-Jones, `V = 4 e [(s/r)^12 - (s/r)^6]`, smoothed to zero at a cutoff.

    Source: Jones, Proc. R. Soc. A 106, 463 (1924); `xplor` is the smoothing of jax-md's
    `lennard_jones_pair`.

    **Arguments:**

    - `n_species`: number of species; left out, that of the numbers in `diameter`, or two.
    - `diameter`: of each species, in units of length; a scalar applies to all. Default: 0.8 for the first half of the
      species, 1.0 for the others. A pair has the mean of both.
    - `binding_energy`: depth `e` of the minimum, in units of energy, of each pair of species: a scalar, a symmetric
      matrix, or the packed upper triangle.
    - `onset_ratio`, `cutoff_ratio`: where the smoothing begins and ends, in diameters of the pair.
    - `pair_diameter`: in place of `diameter`, sizes `s` that are no means: of each pair of species, in units of length,
      as a scalar, a symmetric matrix, or the packed upper triangle.
    - `smoothing`: how it ends at the cutoff: multiplied by `xplor`, or with an even polynomial added that makes one
      derivative continuous there (`polynomial_1`), two (`polynomial_2`) or three (`polynomial_3`), and begins nowhere.
    """

    diameter: Float[Array, " s"] | None
    pair_diameter: Float[Array, " t"] | None
    binding_energy: Float[Array, " t"]
    onset_ratio: float
    cutoff_ratio: float
    # It decides which formula there is, so it must not be traced.
    smoothing: Smoothing = eqx.field(static=True)

    def __init__(
        self,
        n_species: int | None = None,
        diameter: PerSpecies | None = None,
        binding_energy: PerPair = 1.0,
        onset_ratio: float = 2.0,
        cutoff_ratio: float = 2.5,
        pair_diameter: PerPair | None = None,
        smoothing: Smoothing = "xplor",
    ):
        self.diameter, self.pair_diameter, self.binding_energy = species_parameters(
            self.name, n_species, diameter, binding_energy, pair_diameter
        )
        self.onset_ratio = float(onset_ratio)
        self.cutoff_ratio = float(cutoff_ratio)
        self.smoothing = smoothing

    def uncut_energy(
        self, r: Float[Array, "*p"], s: Float[Array, "*p"], energy: Float[Array, "*p"]
    ) -> Float[Array, "*p"]:
        sixth = (s / r) ** 6
        return energy * (4.0 * (sixth**2 - sixth))
