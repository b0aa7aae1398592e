"""Non-affine displacement under shear."""

import glasswright as gw
import jax.numpy as jnp
from jaxtyping import Array, Float


class NonaffineDisplacement(gw.AbstractProperty):
    """Mean squared displacement of particles from the affine motion, per squared shear strain.

    `(1/N) sum_i |X_i|²`, averaged over all shears of unit norm `e : e = 1/2`: orientations do not matter.
    """

    requires = gw.Equilibrium
    units = "length²"
    source = "DiDonna & Lubensky, Phys. Rev. E 72, 066619 (2005), Eq. 1.2"

    def measure(self, state: gw.Equilibrium) -> Float[Array, ""]:
        d = state.configuration.dimension
        response = state.response
        shear, axial = response[d:], response[:d]
        # Of the shears without change of volume, those of the axes: an orthonormal set, as the mean over orientations.
        total = jnp.sum(shear**2)
        mean = jnp.mean(axial, axis=0)
        total = total + 0.5 * jnp.sum((axial - mean[None]) ** 2)
        return total / (d * (d + 1) / 2 - 1) / state.configuration.n_particles
