"""All pairs of a configuration, for properties that reach further than the potential."""

import itertools

import glasswright as gw
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def every_distance(configuration: gw.Configuration) -> Float[Array, " q"]:
    """Distances between the nearest images of all `q = n (n - 1) / 2` pairs, in units of length."""
    i, j = np.triu_indices(configuration.n_particles, 1)
    distance: Array = jnp.linalg.norm(configuration.displacement(i, j), axis=-1)
    return distance


def distances_of_images(configuration: gw.Configuration) -> Float[Array, " m"]:
    """Distances between further images of all pairs: a lattice vector, or two or three, away from the nearest.

    Together with `every_distance` these are all distances up to one and a half times the width of the box, each once.
    """
    i, j = np.triu_indices(configuration.n_particles, 1)
    shifts = [shift for shift in itertools.product((-1, 0, 1), repeat=configuration.dimension) if any(shift)]
    vectors = jnp.asarray(shifts, dtype=float) @ configuration.box.T
    displaced = configuration.displacement(i, j)[None] + vectors[:, None]
    distance: Array = jnp.linalg.norm(displaced, axis=-1).reshape(-1)
    return distance
