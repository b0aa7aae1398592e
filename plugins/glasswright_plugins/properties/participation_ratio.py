"""The participation ratio of vibrations."""

import glasswright as gw
import jax.numpy as jnp
from jaxtyping import Array, Float


class ParticipationRatio(gw.AbstractProperty):
    """Which share of the particles takes part in a vibration, averaged over the modes in a window of frequencies.

    `p = sum_m g_m p_m / sum_m g_m` with `p_m = (sum_i |e_mi|²)² / (N sum_i |e_mi|⁴)` for the eigenvectors `e_m` of
    the Hessian and `g_m = exp(-(w_m - frequency)²/2 width²)`, or 1 for all modes. A mode in which all particles move
    alike has 1 (a plane wave, two thirds), one of a single particle `1/N`. Zero modes are left out.

    Two modes whose frequencies come close mix, and the slope grows as the inverse of their distance: `p` is steep
    there, over a range as narrow. Modes of the same frequency have no vectors of their own, and make it not a number.
    Costs an eigendecomposition.

    **Arguments:**

    - `frequency`: middle of the window, in units of energy^(1/2) / length; left out, all modes count alike.
    - `width`: standard deviation of the window, in the same units.
    """

    frequency: float | None = None
    width: float = 0.5

    requires = gw.Equilibrium
    units = "dimensionless"
    symbol = "P"
    source = "Bell & Dean, Discuss. Faraday Soc. 50, 55 (1970); Mizuno et al., PNAS 114, E9767 (2017)"

    def __check_init__(self) -> None:
        if self.frequency is not None and not 0.0 <= self.frequency < float("inf"):
            raise ValueError(f"participation_ratio(frequency={self.frequency}): must be finite and not negative.")
        if not 0.0 < self.width < float("inf"):
            raise ValueError(f"participation_ratio(width={self.width}): must be positive and finite.")

    def measure(self, state: gw.Equilibrium) -> Float[Array, ""]:
        modes = state.vibrations
        if self.frequency is None:
            weight = jnp.ones_like(modes.frequency)
        else:
            weight = jnp.exp(-0.5 * ((modes.frequency - self.frequency) / self.width) ** 2)
        weight = jnp.where(modes.is_vibration, weight, 0.0)
        return jnp.sum(weight * modes.participation_ratio) / jnp.sum(weight)
