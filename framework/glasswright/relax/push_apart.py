"""Random starts of potentials that grow without bound: particles on top of each other have to be parted first."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .._jax import fast_jit
from ..physics.configuration import Configuration
from ..physics.pair_list import PairList
from ..physics.pair_potential import AbstractPairPotential

# A start in which some particle is held so much stiffer than most is no place to begin a dynamics with one time step.
UNEVEN = 1e4
LONGEST_MOVE = 0.1


@fast_jit
def push_apart(
    potential: AbstractPairPotential,
    configuration: Configuration,
    neighbors: PairList,
    max_steps: ArrayLike,
) -> tuple[Float[Array, "n d"], Array]:
    """Move each particle along its force by force over stiffness, until none is held much stiffer than most.

    Two particles that repel as `r^-n` part by a share of their distance in each step, however close they are. Returns
    the fractional positions and the number of steps; stops early where pairs may be missing.
    """
    inverse_box = jnp.linalg.inv(configuration.box)
    cutoff = potential.reach(configuration)

    def at(fractional):
        return eqx.tree_at(lambda c: c.fractional, configuration, fractional)

    def stiffness(fractional):
        return potential.particle_stiffness(at(fractional), neighbors)

    def unfinished(carry):
        fractional, stiff, steps = carry
        uneven = jnp.max(stiff) > UNEVEN * jnp.median(stiff)
        return uneven & (steps < max_steps) & neighbors.covers(at(fractional), cutoff)

    def step(carry):
        fractional, stiff, steps = carry
        force = -potential.gradient(at(fractional), neighbors)
        move = force / (2.0 * jnp.maximum(stiff, jnp.finfo(stiff.dtype).tiny))[:, None]
        length = jnp.linalg.norm(move, axis=1, keepdims=True)
        move = move * jnp.minimum(1.0, LONGEST_MOVE / jnp.maximum(length, jnp.finfo(length.dtype).tiny))
        fractional = fractional + sum(move[:, b, None] * inverse_box[:, b][None] for b in range(move.shape[1]))
        return fractional, stiffness(fractional), steps + 1

    start = configuration.fractional
    end, _, steps = jax.lax.while_loop(unfinished, step, (start, stiffness(start), jnp.zeros((), dtype=int)))
    return end, steps
