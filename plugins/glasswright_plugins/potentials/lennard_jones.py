"""The Lennard-Jones potential."""

from jaxtyping import Array, Float

from ._parameters import PerPair, PerSpecies, species_parameters
from ._species import AbstractScaledPotential


class LennardJones(AbstractScaledPotential):
    """Lennard-Jones, smoothed to zero by XPLOR: `V = 4 e [(s/r)^12 - (s/r)^6] S(r)`.

    Source: Jones, Proc. R. Soc. A 106, 463 (1924); the smoothing is that of jax-md's `lennard_jones_pair`.

    **Arguments:**

    - `n_species`: number of species; left out, that of the numbers in `diameter`, or two.
    - `diameter`: of each species, in units of length; a scalar applies to all. Default: 0.8 for the first half of the
      species, 1.0 for the others. A pair has the mean of both.
    - `binding_energy`: depth `e` of the minimum, in units of energy, of each pair of species: a scalar, a symmetric
      matrix, or the packed upper triangle.
    - `onset_ratio`, `cutoff_ratio`: where the smoothing begins and ends, in diameters of the pair.
    """

    diameter: Float[Array, " s"]
    binding_energy: Float[Array, " t"]
    onset_ratio: float
    cutoff_ratio: float

    def __init__(
        self,
        n_species: int | None = None,
        diameter: PerSpecies | None = None,
        binding_energy: PerPair = 1.0,
        onset_ratio: float = 2.0,
        cutoff_ratio: float = 2.5,
    ):
        self.diameter, self.binding_energy = species_parameters(self.name, n_species, diameter, binding_energy)
        self.onset_ratio = float(onset_ratio)
        self.cutoff_ratio = float(cutoff_ratio)

    def scaled_energy(self, r: Float[Array, ""], s: Float[Array, ""]) -> Float[Array, ""]:
        sixth = (s / r) ** 6
        return 4.0 * (sixth**2 - sixth)
