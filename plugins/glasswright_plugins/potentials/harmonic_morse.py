"""Harmonic repulsion and Morse attraction."""

import glasswright as gw
import jax.numpy as jnp
from glasswright.neighbors import PairIndex
from jaxtyping import Array, Float, PyTree

from ._parameters import PerPair, PerSpecies, check, morse_onset, morse_range, species_parameters
from ._species import AbstractSpeciesPotential


class HarmonicMorse(AbstractSpeciesPotential):
    """Harmonic repulsion joined to a Morse attraction, smoothed to zero by XPLOR: the paper's potential.

    With `s` the mean diameter of a pair and `B` its binding energy, `V = k/2 (r - s)² - B` for `r < s` and
    `V = B (exp(-2a(r - s)) - 2 exp(-a(r - s))) S(r)` beyond, where `S` goes from 1 at `s + 5/a` to 0 at the cutoff
    `s + 9.9/a`. The curvature jumps at `s` (from `k` to `2 a² B`), at the onset and at the cutoff.

    Source: Zu & Goodrich, Commun. Mater. 5 (2024), doi 10.1038/s43246-024-00583-4, Eq. 1 and Methods.

    **Arguments:**

    - `n_species`: number of species; left out, that of the numbers in `diameter`, or two.
    - `diameter`: of each species, in units of length; a scalar applies to all. Default: 0.8 for the first half of the
      species, 1.0 for the others.
    - `binding_energy`: of each pair of species, in units of energy: a scalar, a symmetric matrix, or the packed upper
      triangle (row by row), which is how it is kept. Default: 0.1.
    - `inverse_range`: `a`, in units of inverse length.
    - `stiffness`: `k`, in units of energy per squared length.
    """

    diameter: Float[Array, " s"]
    binding_energy: Float[Array, " t"]
    inverse_range: float
    stiffness: float

    def __init__(
        self,
        n_species: int | None = None,
        diameter: PerSpecies | None = None,
        binding_energy: PerPair | None = None,
        inverse_range: float = 5.0,
        stiffness: float = 5.0,
    ):
        binding_energy = 0.1 if binding_energy is None else binding_energy
        self.diameter, self.binding_energy = species_parameters(self.name, n_species, diameter, binding_energy)
        self.inverse_range = float(inverse_range)
        self.stiffness = float(stiffness)

    def __check_init__(self) -> None:
        check(self.name, positive={"inverse_range": self.inverse_range, "stiffness": self.stiffness})

    def range_of(self, diameter: Float[Array, "*p"]) -> Float[Array, "*p"]:
        """The cutoff of pairs of this mean diameter."""
        return morse_range(diameter, self.inverse_range)

    def pair_parameters(
        self, configuration: gw.Configuration, i: PairIndex, j: PairIndex
    ) -> tuple[Float[Array, " p"], Float[Array, " p"], Float[Array, " p"]]:
        """Mean diameter, binding energy, and inverse of `cutoff² - onset²`, of each pair."""
        s, binding_energy = self.diameter_and_energy(configuration, i, j)
        onset, cutoff = self._range(s)
        return s, binding_energy, 1.0 / (cutoff**2 - onset**2)

    def pair_energy(self, r: Float[Array, ""], parameters: PyTree) -> Float[Array, ""]:
        s, binding_energy, inverse = parameters
        onset, cutoff = self._range(s)
        # Each branch sees only distances of its own, so that the derivative of an unused branch cannot overflow.
        x = jnp.clip(r, s, cutoff)
        # XPLOR, (r_c² - x²)² (r_c² + 2x² - 3r_o²) / (r_c² - r_o²)³, as a polynomial in (r_c² - x²) / (r_c² - r_o²).
        left = jnp.where(x < onset, 1.0, (cutoff**2 - x**2) * inverse)
        decay = jnp.exp(-self.inverse_range * (x - s))
        attraction = binding_energy * decay * (decay - 2.0) * left**2 * (3.0 - 2.0 * left)
        repulsion = 0.5 * self.stiffness * (r - s) ** 2 - binding_energy
        return jnp.where(r < s, repulsion, jnp.where(r < cutoff, attraction, 0.0))

    def _range(self, s: Float[Array, "*p"]) -> tuple[Float[Array, "*p"], Float[Array, "*p"]]:
        """Onset and cutoff of the smoothing, for pairs of mean diameter `s`."""
        return morse_onset(s, self.inverse_range), self.range_of(s)
