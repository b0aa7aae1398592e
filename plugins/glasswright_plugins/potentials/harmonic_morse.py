"""Harmonic repulsion and Morse attraction."""

import equinox as eqx
import glasswright as gw
import jax.numpy as jnp
from glasswright.neighbors import PairIndex
from jaxtyping import Array, Float, PyTree

from ._morse import AbstractMorsePotential
from ._parameters import PerPair, PerSpecies, check, species_parameters
from ._smoothing import Smoothing, evaluate_polynomial


class HarmonicMorse(AbstractMorsePotential):
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
    - `pair_diameter`: in place of `diameter`, sizes `s` that are no means: of each pair of species, in units of length,
      as a scalar, a symmetric matrix, or the packed upper triangle.
    - `smoothing`: how it ends at the cutoff: multiplied by `xplor`, or with an even polynomial added that makes one
      derivative continuous there (`polynomial_1`), two (`polynomial_2`) or three (`polynomial_3`), and begins nowhere.
    """

    diameter: Float[Array, " s"] | None
    pair_diameter: Float[Array, " t"] | None
    binding_energy: Float[Array, " t"]
    inverse_range: float
    stiffness: float
    # It decides which formula there is, so it must not be traced.
    smoothing: Smoothing = eqx.field(static=True)

    def __init__(
        self,
        n_species: int | None = None,
        diameter: PerSpecies | None = None,
        binding_energy: PerPair | None = None,
        inverse_range: float = 5.0,
        stiffness: float = 5.0,
        pair_diameter: PerPair | None = None,
        smoothing: Smoothing = "xplor",
    ):
        binding_energy = 0.1 if binding_energy is None else binding_energy
        self.diameter, self.pair_diameter, self.binding_energy = species_parameters(
            self.name, n_species, diameter, binding_energy, pair_diameter
        )
        self.inverse_range = float(inverse_range)
        self.stiffness = float(stiffness)
        self.smoothing = smoothing

    def __check_init__(self) -> None:
        check(self.name, positive={"inverse_range": self.inverse_range, "stiffness": self.stiffness})

    def pair_parameters(self, configuration: gw.Configuration, i: PairIndex, j: PairIndex) -> PyTree:
        """Diameter and energy of each pair, and what its smoothing needs: `1 / (cutoff² - onset²)`, or a polynomial."""
        s, energy = self.diameter_and_energy(configuration, i, j)
        if self.smoothing != "xplor":
            return s, energy, self.end_polynomial(s, energy)
        onset, cutoff = self.onset_of(s), self.range_of(s)
        return s, energy, 1.0 / (cutoff**2 - onset**2)

    def pair_energy(self, r: Float[Array, ""], parameters: PyTree) -> Float[Array, ""]:
        s, binding_energy, smoothing = parameters
        onset, cutoff = self.onset_of(s), self.range_of(s)
        # Each branch sees only distances of its own, so that the derivative of an unused branch cannot overflow.
        x = jnp.clip(r, s, cutoff)
        repulsion = 0.5 * self.stiffness * (r - s) ** 2 - binding_energy
        if self.smoothing == "xplor":
            # XPLOR, (r_c² - x²)² (r_c² + 2x² - 3r_o²) / (r_c² - r_o²)³, as a polynomial in (r_c² - x²) / (r_c² - r_o²).
            left = jnp.where(x < onset, 1.0, (cutoff**2 - x**2) * smoothing)
            attraction = self.uncut_energy(x, s, binding_energy) * left**2 * (3.0 - 2.0 * left)
            return jnp.where(r < s, repulsion, jnp.where(r < cutoff, attraction, 0.0))
        # Added to both branches, which then meet at the diameter as they do without.
        end = evaluate_polynomial(smoothing, jnp.minimum(r, cutoff), cutoff)
        energy = jnp.where(r < s, repulsion, self.uncut_energy(x, s, binding_energy)) + end
        return jnp.where(r < cutoff, energy, 0.0)
