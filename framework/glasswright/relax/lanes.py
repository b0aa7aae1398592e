"""The compiled programs of batched relaxation: descents in lanes, and Newton on groups of them."""

import dataclasses
import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ..physics.configuration import Configuration
from ..physics.hessian import DenseHessian, factor_hessian
from ..physics.pair_list import PairList, find_pairs
from ..physics.pair_potential import AbstractPairPotential
from ..physics.potential import AbstractPotential
from .fire import FireSettings, FireState, begin, fire_start, step, unfinished
from .newton import NewtonEnd, newton_steps
from .push_apart import push_apart

# Most steps between two looks of the host at the lanes.
CHUNK = 100
# Pair lists are renewed for this share of the lanes at a time. Smaller blocks fill an accelerator badly, in larger ones
# lanes wait longer.
BLOCK_SHARE = 8


class Lanes(eqx.Module):
    """Descents under way, side by side.

    - `state`: where each stands.
    - `i`, `j`, `reference`, `n_pairs`: its pair list, as in `PairList`.
    - `pushes`: steps that parted particles on top of each other, before the descent.
    - `stuck`: whether a new list did not cover: too little capacity, or a position that is not a number.
    """

    state: FireState
    i: Int[Array, "w p"]
    j: Int[Array, "w p"]
    reference: Float[Array, "w n d"]
    n_pairs: Int[Array, " w"]
    pushes: Int[Array, " w"]
    stuck: Bool[Array, " w"]


class Minima(eqx.Module):
    """What is kept of each configuration; of those without a minimum: no pairs, and an identity for the factor.

    - `fractional`: where Newton's method has led.
    - `i`, `j`, `reference`, `n_pairs`: the pair list.
    - `hessian`: the factored Hessian.
    """

    fractional: Float[Array, "b n d"]
    i: Int[Array, "b p"]
    j: Int[Array, "b p"]
    reference: Float[Array, "b n d"]
    n_pairs: Int[Array, " b"]
    hessian: DenseHessian


def at_positions(configurations: Configuration, fractional) -> Configuration:
    return dataclasses.replace(configurations, fractional=fractional)


def take_rows(tree, which):
    """Rows of every array; an index past the end gives the last row."""
    return jax.tree.map(lambda x: jnp.asarray(x).at[which].get(mode="clip"), tree)


jitted_rows = eqx.filter_jit(take_rows)


def _set_rows(tree, which, rows):
    """Every array with rows replaced; an index past the end is none."""
    return jax.tree.map(lambda old, new: old.at[which].set(new, mode="drop"), tree, rows)


def select_lanes(mask, new, old):
    return jax.tree.map(lambda x, y: jnp.where(mask.reshape(-1, *(1,) * (x.ndim - 1)), x, y), new, old)


class Descent(eqx.Module):
    """What a chunk of steps is told: arrays of the host's but for `starts`."""

    potential: AbstractPotential
    starts: Configuration
    settings: FireSettings
    radius: Any
    owner: Any
    fresh: Any
    max_pushes: Any
    tolerance: Any
    max_evaluations: Any
    enough_idle: Any


@eqx.filter_jit(donate="all-except-first")
def descend_lanes(task: Descent, lanes: Lanes, fractional: Float[Array, "b n d"]):
    """At most `CHUNK` steps of every lane, fewer once `enough_idle` lanes have nothing to do.

    Lane `k` works on configuration `owner[k]` (the number of configurations: on none), from rest where `fresh`.
    `fractional` is where descents begin, and where they stand afterwards. Also returned, for each lane: force
    evaluations, pushes, pairs, whether it converged, whether it is stuck, and steps and renewals of the chunk.
    """
    potential, settings = task.potential, task.settings
    width, capacity = lanes.i.shape
    block = -(-width // BLOCK_SHARE)
    active = task.owner < fractional.shape[0]
    configuration = take_rows(at_positions(task.starts, fractional), task.owner)
    rest = jax.vmap(fire_start)(configuration)
    rest = dataclasses.replace(rest, covered=jnp.zeros(width, dtype=bool))
    lanes = dataclasses.replace(
        lanes,
        state=select_lanes(task.fresh, rest, lanes.state),
        n_pairs=jnp.where(task.fresh, 0, lanes.n_pairs),
        pushes=jnp.where(task.fresh, 0, lanes.pushes),
        stuck=lanes.stuck & ~task.fresh,
    )

    def pairs(lanes: Lanes) -> PairList:
        radius = jnp.broadcast_to(task.radius, (width,))
        return PairList(lanes.i, lanes.j, at_positions(configuration, lanes.reference), radius, lanes.n_pairs)

    def moving(lanes: Lanes):
        going = jax.vmap(unfinished, (0, None))(lanes.state, task.max_evaluations)
        return active & ~lanes.stuck & going

    def waiting(lanes: Lanes):
        s = lanes.state
        return active & ~lanes.stuck & ~s.converged & ~s.covered & (s.evaluations < task.max_evaluations)

    def go_on(lanes: Lanes, steps):
        idle = ~(moving(lanes) | waiting(lanes))
        return (steps < CHUNK) & (jnp.sum(idle) < task.enough_idle)

    def renew(lanes: Lanes) -> Lanes:
        """New pair lists for the first of the lanes that wait."""
        (which,) = jnp.nonzero(waiting(lanes), size=block, fill_value=width)
        here, old, pushes, most = take_rows((configuration, lanes.state, lanes.pushes, task.max_pushes), which)
        here = at_positions(here, old.fractional)
        listed = jax.vmap(lambda c: find_pairs(c, task.radius, capacity))(here)
        state = jax.vmap(lambda c, p, s: begin(potential, c, p, s, settings))(here, listed, old)
        stuck = ~state.covered
        if isinstance(potential, AbstractPairPotential):
            left = jnp.where(old.evaluations == 0, most - pushes, 0)
            parted, steps = jax.vmap(lambda c, p, m: push_apart(potential, c, p, m))(here, listed, left)
            # Particles that had to be parted wait for another list, to see whether all now are.
            state = select_lanes(steps > 0, dataclasses.replace(old, fractional=parted), state)
            stuck, pushes = stuck & (steps == 0), pushes + steps
        renewed = Lanes(state, listed.i, listed.j, here.fractional, listed.n_pairs, pushes, stuck)
        return _set_rows(lanes, which, renewed)

    def all_step(lanes: Lanes) -> Lanes:
        """One step of the lanes that can take one."""
        state = jax.vmap(lambda c, p, s, t: step(potential, c, p, s, settings, t))(
            configuration, pairs(lanes), lanes.state, task.tolerance
        )
        return dataclasses.replace(lanes, state=select_lanes(moving(lanes), state, lanes.state))

    def some_steps(carry):
        lanes, steps, renewals = carry
        lanes, steps = jax.lax.while_loop(
            lambda c: go_on(*c) & jnp.any(moving(c[0])) & (jnp.sum(waiting(c[0])) < block),
            lambda c: (all_step(c[0]), c[1] + 1),
            (renew(lanes), steps),
        )
        return lanes, steps, renewals + 1

    lanes, steps, renewals = jax.lax.while_loop(
        lambda c: go_on(c[0], c[1]), some_steps, (lanes, jnp.asarray(0), jnp.asarray(0))
    )
    state = lanes.state
    fractional = _set_rows(fractional, task.owner, state.fractional)
    # One array, and so one transfer.
    chunk = jnp.broadcast_to(steps, (width,)), jnp.broadcast_to(renewals, (width,))
    report = jnp.stack([state.evaluations, lanes.pushes, lanes.n_pairs, state.converged, lanes.stuck, *chunk])
    return lanes, fractional, report


class Polish(eqx.Module):
    """What a group of Newton's steps is told: arrays of the host's but for `starts` and `fractional`."""

    potential: AbstractPotential
    starts: Configuration
    fractional: Float[Array, "b n d"]
    radius: Any
    which: Any
    again: Any
    force_tolerance: Any


@eqx.filter_jit(donate="all-except-first")
def polish_minima(task: Polish, minima: Minima):
    """Newton's steps with one factor for the configurations `which`, and the Hessian of where they end.

    They start where the descent ended, `fractional`; those to be done `again`, where Newton's steps have led already.
    What is kept of the minima found is entered into `minima`. Also returned, a row of numbers for each of the group:
    pairs, steps, how the steps ended (`NewtonEnd`), whether the first and the last Hessian are positive definite.
    """
    total, capacity = minima.i.shape
    configuration = take_rows(at_positions(task.starts, task.fractional), task.which)
    reached = take_rows(minima.fractional, task.which)
    configuration = at_positions(configuration, select_lanes(task.again, reached, configuration.fractional))
    listed = jax.vmap(lambda c: find_pairs(c, task.radius, capacity))(configuration)

    def factor(c, p):
        return factor_hessian(task.potential, c, p)

    def newton(c, p, h):
        # One that is not positive definite needs no line search along its steps.
        age = jnp.where(h.is_stable, 0, 1)
        return newton_steps(task.potential, c, p, task.force_tolerance, h, age)

    first = jax.vmap(factor)(configuration, listed)
    state = jax.vmap(newton)(configuration, listed, first)
    last = jax.vmap(factor)(at_positions(configuration, state.fractional), listed)
    settled = (state.end == int(NewtonEnd.converged)) & last.is_stable
    found = Minima(state.fractional, listed.i, listed.j, configuration.fractional, listed.n_pairs, last)
    reached = _set_rows(minima.fractional, task.which, state.fractional)
    minima = _set_rows(minima, jnp.where(settled, task.which, total), found)
    report = jnp.stack([listed.n_pairs, state.iterations, state.end, first.is_stable, last.is_stable])
    return dataclasses.replace(minima, fractional=reached), report


@eqx.filter_jit(donate="all-except-first")
def enter_minimum(one, minima: Minima):
    """`minima` with the row of one configuration replaced, given its Hessian; and how many pairs it has."""
    configuration, radius, k, hessian = one
    listed = find_pairs(configuration, radius, minima.i.shape[1])
    fractional = configuration.fractional
    row = Minima(fractional, listed.i, listed.j, fractional, listed.n_pairs, hessian)
    return _set_rows(minima, k, row), listed.n_pairs


@functools.partial(jax.jit, static_argnums=1)
def no_minima(like: Float[Array, "b n d"], capacity: int) -> Minima:
    total, n, d = like.shape
    matrix = jnp.broadcast_to(jnp.eye(n * d), (total, n * d, n * d))
    hessian = DenseHessian(matrix, jnp.zeros((total, n), dtype=bool), jnp.zeros(total, dtype=bool))
    i, j = jnp.zeros((2, total, capacity), dtype=jnp.int32)
    return Minima(jnp.zeros_like(like), i, j, jnp.zeros_like(like), jnp.zeros(total, dtype=int), hessian)
