"""All pairs of a configuration, for properties that look further than the potential does."""

import jax.numpy as jnp
import numpy as np


def every_distance(configuration):
    """Distance of the nearest images of every pair, shape `(n (n - 1) / 2,)`, in units of length."""
    i, j = np.triu_indices(configuration.n_particles, 1)
    return jnp.linalg.norm(configuration.displacement(i, j), axis=-1)
