"""All pairs of a configuration, for properties that reach further than the potential."""

import glasswright as gw
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def every_distance(configuration: gw.Configuration) -> Float[Array, " q"]:
    """Distances between the nearest images of all `q = n (n - 1) / 2` pairs, in units of length."""
    i, j = np.triu_indices(configuration.n_particles, 1)
    distance: Array = jnp.linalg.norm(configuration.displacement(i, j), axis=-1)
    return distance
