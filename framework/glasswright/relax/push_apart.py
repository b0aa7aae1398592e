"""Pushing particles apart that lie on top of each other, for potentials that grow without bound."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from .._jax import fast_jit
from ..physics.configuration import Configuration
from ..physics.pair_list import PairList
from ..physics.pair_potential import AbstractPairPotential
from .fire import TINY

# One time step cannot serve a start in which a particle is held stiffer than the median by more than this factor.
UNEVEN = 1e4
# In units of length.
LONGEST_MOVE = 0.1


@fast_jit
def push_apart(
    potential: AbstractPairPotential,
    configuration: Configuration,
    neighbors: PairList,
    max_steps: Int[ArrayLike, ""],
    longest_move: float = LONGEST_MOVE,
) -> tuple[Float[Array, "n d"], Int[Array, ""]]:
    """Move each particle by its force over its stiffness, until none is held much stiffer than the median.

    Two particles that repel as `r^-n` move apart by a fraction of their distance in each step, however close they are.
    Returns the fractional positions and the number of steps; stops early where pairs may be missing.
    """
    inverse_box = jnp.linalg.inv(configuration.box)
    cutoff = potential.reach(configuration)

    def at(fractional: Float[Array, "n d"]) -> Configuration:
        return dataclasses.replace(configuration, fractional=fractional)

    def stiffness(fractional: Float[Array, "n d"]) -> Float[Array, " n"]:
        return potential.particle_stiffness(at(fractional), neighbors)

    def unfinished(carry: tuple[Array, Array, Array]) -> Bool[Array, ""]:
        fractional, stiff, steps = carry
        uneven = jnp.max(stiff) > UNEVEN * jnp.median(stiff)
        return uneven & (steps < max_steps) & neighbors.covers(at(fractional), cutoff)

    def step(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        fractional, stiff, steps = carry
        force = -potential.gradient(at(fractional), neighbors)
        move = force / (2.0 * jnp.maximum(stiff, TINY))[:, None]
        length = jnp.linalg.norm(move, axis=1, keepdims=True)
        move = move * jnp.minimum(1.0, longest_move / jnp.maximum(length, TINY))
        fractional = fractional + sum(move[:, b, None] * inverse_box[:, b][None] for b in range(move.shape[1]))
        return fractional, stiffness(fractional), steps + 1

    start = configuration.fractional
    end, _, steps = jax.lax.while_loop(unfinished, step, (start, stiffness(start), jnp.zeros((), dtype=int)))
    return end, steps
