"""Strain of the first event of a deformation."""

import glasswright as gw
import jax.numpy as jnp
from jaxtyping import Array, Float


class YieldStrain(gw.AbstractProperty):
    """Strain at which a packing yields: that of the first event whose drop of stress is large enough.

    Its derivative is that of the fold. A packing that has no such event up to the largest strain has no value, and
    counts as `nonfinite`: take a strain that all packings yield at.

    **Arguments:**

    - `least_drop`: smallest drop of stress that counts, in energy per volume; 0 for the first event whatever it is.
    """

    least_drop: float = 0.0

    requires = gw.Deformation
    units = ""
    symbol = r"\gamma_{\mathrm{y}}"
    source = "docs/physics.md; Karmakar, Lerner & Procaccia, Phys. Rev. E 82, 055103 (2010)"
    is_isotropic = False

    def __check_init__(self) -> None:
        if not 0.0 <= self.least_drop < float("inf"):
            raise ValueError(f"yield_strain(least_drop={self.least_drop}): must be finite and not negative.")

    def measure(self, state: gw.Deformation) -> Float[Array, ""]:
        events = state.events
        drop = events.stress_before - events.stress_after
        yields = events.occurred & (drop >= self.least_drop) if self.least_drop > 0.0 else events.occurred
        return jnp.where(jnp.any(yields), events.strain[jnp.argmax(yields)], jnp.nan)
