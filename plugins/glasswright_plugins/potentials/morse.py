"""The Morse potential."""

import equinox as eqx
from jaxtyping import Array, Float

from ._morse import AbstractMorsePotential
from ._parameters import PerPair, PerSpecies, check, species_parameters
from ._smoothing import Smoothing


class Morse(AbstractMorsePotential):
    """Morse, `V = e (exp(-2a(r - s)) - 2 exp(-a(r - s)))`, smoothed to zero at the cutoff `s + 9.9/a`.

    XPLOR begins at `s + 5/a`.

    Source: Morse, Phys. Rev. 34, 57 (1929).

    **Arguments:**

    - `n_species`: number of species; left out, that of the numbers in `diameter`, or two.
    - `diameter`: of each species, in units of length; a scalar applies to all. Default: 0.8 for the first half of the
      species, 1.0 for the others. A pair has the mean of both.
    - `binding_energy`: depth `e` of the minimum, in units of energy, of each pair of species: a scalar, a symmetric
      matrix, or the packed upper triangle.
    - `inverse_range`: `a`, in units of inverse length.
    - `pair_diameter`: in place of `diameter`, sizes `s` that are no means: of each pair of species, in units of length,
      as a scalar, a symmetric matrix, or the packed upper triangle.
    - `smoothing`: how it ends at the cutoff: multiplied by `xplor`, or with an even polynomial added that makes one
      derivative continuous there (`polynomial_1`), two (`polynomial_2`) or three (`polynomial_3`), and begins nowhere.
    """

    diameter: Float[Array, " s"] | None
    pair_diameter: Float[Array, " t"] | None
    binding_energy: Float[Array, " t"]
    inverse_range: float
    # It decides which formula there is, so it must not be traced.
    smoothing: Smoothing = eqx.field(static=True)

    def __init__(
        self,
        n_species: int | None = None,
        diameter: PerSpecies | None = None,
        binding_energy: PerPair = 0.1,
        inverse_range: float = 5.0,
        pair_diameter: PerPair | None = None,
        smoothing: Smoothing = "xplor",
    ):
        self.diameter, self.pair_diameter, self.binding_energy = species_parameters(
            self.name, n_species, diameter, binding_energy, pair_diameter
        )
        self.inverse_range = float(inverse_range)
        self.smoothing = smoothing

    def __check_init__(self) -> None:
        check(self.name, positive={"inverse_range": self.inverse_range})
