"""The lowest eigenvalue of the Hessian."""

import glasswright as gw
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class Stability(gw.AbstractProperty):
    """Lowest eigenvalue of the Hessian apart from translations: how far the packing is from giving way.

    Its derivative is `v (dH) v` with the mode `v` held fixed (Hellmann and Feynman), exact while it is not degenerate.
    Costs an eigendecomposition.
    """

    requires = gw.Equilibrium
    units = "energy / length²"
    symbol = r"\lambda_1"
    source = "Feynman, Phys. Rev. 56, 340 (1939), Eq. 4"

    def measure(self, state: gw.Equilibrium) -> Float[Array, ""]:
        n, d = state.configuration.fractional.shape
        matrix = jax.lax.stop_gradient(state.potential.hessian(state.configuration, state.neighbors))
        # Translations are lifted above all other modes.
        lift = jnp.max(jnp.sum(jnp.abs(matrix), axis=1)) / n
        matrix = matrix + lift * jnp.tile(jnp.eye(d), (n, n))
        _, modes = jnp.linalg.eigh(matrix)
        mode = modes[:, 0].reshape(n, d)
        return jnp.vdot(mode, state.potential.hessian_product(state.configuration, state.neighbors, mode))
