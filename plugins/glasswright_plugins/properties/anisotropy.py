"""The anisotropy of the elastic tensor."""

import glasswright as gw
import jax.numpy as jnp
from jaxtyping import Array, Float


class Anisotropy(gw.AbstractProperty):
    """How far the elastic tensor is from that of an isotropic solid with the same `K` and `G`: `|C - C_iso| / |C_iso|`.

    `C_iso = lambda d_ij d_kl + G (d_ik d_jl + d_il d_jk)` with `lambda = K - 2G/d`; norms are Frobenius norms. Zero for
    isotropic solids; small packings are never quite isotropic.
    """

    requires = gw.Equilibrium
    units = "dimensionless"
    source = "Norris, J. Mech. Mater. Struct. 1, 223 (2006): the Euclidean projection on isotropy"
    needs_rigidity = True

    def measure(self, state: gw.Equilibrium) -> Float[Array, ""]:
        tensor = state.elastic_tensor
        d = state.configuration.dimension
        bulk, shear = gw.bulk_modulus(tensor), gw.shear_modulus(tensor)
        identity = jnp.eye(d)
        both = jnp.einsum("ik,jl->ijkl", identity, identity) + jnp.einsum("il,jk->ijkl", identity, identity)
        isotropic = (bulk - 2.0 * shear / d) * jnp.einsum("ij,kl->ijkl", identity, identity) + shear * both
        distance: Array = jnp.linalg.norm((tensor - isotropic).reshape(-1))
        size: Array = jnp.linalg.norm(isotropic.reshape(-1))
        return distance / size
