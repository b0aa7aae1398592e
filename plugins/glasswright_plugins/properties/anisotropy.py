import glasswright as gw
import jax.numpy as jnp


class Anisotropy(gw.AbstractProperty):
    """How far the elastic tensor is from that of an isotropic solid with the same `K` and `G`: `|C - C_iso| / |C_iso|`.

    `C_iso = lambda d_ij d_kl + G (d_ik d_jl + d_il d_jk)` with `lambda = K - 2G/d`; norms are Frobenius norms. Zero for
    isotropic solids; small packings are never quite isotropic.
    """

    requires = gw.Equilibrium
    units = "dimensionless"
    source = "Norris, J. Mech. Mater. Struct. 1, 223 (2006): the Euclidean projection on isotropy"

    def measure(self, state):
        tensor = state.elastic_tensor
        d = state.configuration.dimension
        bulk, shear = gw.bulk_modulus(tensor), gw.shear_modulus(tensor)
        one = jnp.eye(d)
        both = jnp.einsum("ik,jl->ijkl", one, one) + jnp.einsum("il,jk->ijkl", one, one)
        isotropic = (bulk - 2.0 * shear / d) * jnp.einsum("ij,kl->ijkl", one, one) + shear * both
        return jnp.linalg.norm((tensor - isotropic).reshape(-1)) / jnp.linalg.norm(isotropic.reshape(-1))
