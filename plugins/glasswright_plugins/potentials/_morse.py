"""What potentials with a Morse attraction share: its energy, where its smoothing begins, and its cutoff."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._species import AbstractSmoothedPotential

# The smoothing begins and ends at these distances from the minimum, in units of `1/a`.
ONSET, CUTOFF = 5.0, 9.9


class AbstractMorsePotential(AbstractSmoothedPotential):
    """A potential whose attraction is that of Morse, with its minimum at the diameter `s` of a pair.

    **Attributes:**

    - `inverse_range`: `a`, in units of inverse length.
    """

    inverse_range: eqx.AbstractVar[float]

    def range_of(self, diameter: Float[Array, "*p"]) -> Float[Array, "*p"]:
        """The cutoff of pairs of this diameter, `s + 9.9/a`."""
        return diameter + CUTOFF / self.inverse_range

    def onset_of(self, diameter: Float[Array, "*p"]) -> Float[Array, "*p"]:
        """Where XPLOR begins for pairs of this diameter, `s + 5/a`."""
        return diameter + ONSET / self.inverse_range

    def uncut_energy(
        self, r: Float[Array, "*p"], s: Float[Array, "*p"], energy: Float[Array, "*p"]
    ) -> Float[Array, "*p"]:
        """`V = e (exp(-2a(r - s)) - 2 exp(-a(r - s)))`, without any cutoff."""
        decay = jnp.exp(-self.inverse_range * (r - s))
        return energy * decay * (decay - 2.0)
