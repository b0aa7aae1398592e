"""Work of a deformation."""

import glasswright as gw
import jax.numpy as jnp
from jaxtyping import Array, Float


class Toughness(gw.AbstractProperty):
    """Work that a deformation does, `int sigma dgamma` from zero to the largest strain, per volume.

    It is stored or dissipated: `V int sigma dgamma = U(end) - U(start) + dissipation`. The derivative contains
    `(sigma_before - sigma_after) dgamma_c/dtheta` for each event.
    """

    requires = gw.Deformation
    units = "energy / volume"
    symbol = r"\int\sigma\,d\gamma"
    source = "docs/physics.md; Maloney & Lemaître, Phys. Rev. E 74, 016118 (2006)"
    is_isotropic = False

    def measure(self, state: gw.Deformation) -> Float[Array, ""]:
        return jnp.sum(state.mean_stress * jnp.diff(state.strain))
