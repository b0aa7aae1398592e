"""The shape of the box."""

import glasswright as gw
import jax.numpy as jnp
from jaxtyping import Array, Float


class BoxShape(gw.AbstractProperty):
    """Shape of the box apart from its size and orientation: scalar products of its lattice vectors, `B^T B / V^(2/d)`.

    The squared lengths come first, then the products of different vectors: ones and zeros for a square or a cube. The
    matrix has determinant one. A flexible box under pressure has a shape of its own.
    """

    units = "dimensionless"
    source = "Parrinello & Rahman, J. Appl. Phys. 52, 7182 (1981): the metric tensor"
    # It changes with the lattice vectors that describe a packing.
    is_isotropic = False

    def measure(self, state: gw.State) -> Float[Array, " m"]:
        configuration = state.configuration
        metric = configuration.box.T @ configuration.box / configuration.volume ** (2.0 / configuration.dimension)
        first, second = jnp.triu_indices(configuration.dimension, 1)
        return jnp.concatenate([jnp.diagonal(metric), metric[first, second]])
