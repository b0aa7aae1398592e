"""Repulsion by an inverse power."""

from jaxtyping import Array, Float

from ._parameters import PerPair, PerSpecies, check, species_parameters
from ._species import AbstractScaledPotential


class InversePower(AbstractScaledPotential):
    """Repulsion by an inverse power of the distance, smoothed to zero by XPLOR: `V = e (s/r)^n S(r)`.

    Source: Hoover et al., J. Chem. Phys. 52, 4931 (1970).

    **Arguments:**

    - `n_species`: number of species; left out, that of the numbers in `diameter`, or two.
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
        self.diameter, self.binding_energy = species_parameters(self.name, n_species, diameter, binding_energy)
        self.exponent = float(exponent)
        self.onset_ratio = float(onset_ratio)
        self.cutoff_ratio = float(cutoff_ratio)

    def __check_init__(self) -> None:
        check(self.name, positive={"exponent": self.exponent})

    def scaled_energy(self, r: Float[Array, ""], s: Float[Array, ""]) -> Float[Array, ""]:
        return (s / r) ** self.exponent
