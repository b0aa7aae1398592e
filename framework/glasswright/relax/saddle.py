"""Leaving a force-free point that is not a minimum."""

import dataclasses

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import ArrayLike, Float

from ..physics.configuration import Configuration
from ..physics.hessian import mirrored, pinned_hessian
from ..physics.pair_list import PairList
from ..physics.potential import AbstractPotential


@eqx.filter_jit
def leave_saddle(
    potential: AbstractPotential,
    configuration: Configuration,
    neighbors: PairList,
    distance: Float[ArrayLike, ""],
    stiffness: float = 1.0,
) -> Configuration:
    """Move along the softest mode, downhill, until the particle that moves most has moved by `distance`.

    A minimum can turn into a saddle under a change of the potential without any force: where a pair crosses a distance
    at which the curvature of the potential jumps, the Hessian jumps too. A descent would stay there. `stiffness` is the
    unit of stiffness, as in `factor_hessian`.
    """
    matrix, _ = pinned_hessian(potential, configuration, neighbors, stiffness)
    _, modes = jnp.linalg.eigh(mirrored(matrix), symmetrize_input=False)
    return leave_along(
        potential, configuration, neighbors, modes[:, 0].reshape(configuration.fractional.shape), distance
    )


@eqx.filter_jit
def leave_along(
    potential: AbstractPotential,
    configuration: Configuration,
    neighbors: PairList,
    mode: Float[ArrayLike, "n d"],
    distance: Float[ArrayLike, ""],
) -> Configuration:
    """Move along a mode, downhill, until the particle that moves most has moved by `distance`."""
    mode = jnp.asarray(mode)
    mode = mode * distance / jnp.sqrt(jnp.max(jnp.sum(mode**2, axis=1)))
    ends = [configuration.moved(sign * mode).fractional for sign in (1.0, -1.0)]
    energies = [potential.energy(dataclasses.replace(configuration, fractional=end), neighbors) for end in ends]
    return dataclasses.replace(configuration, fractional=jnp.where(energies[0] <= energies[1], ends[0], ends[1]))
