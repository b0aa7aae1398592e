"""The compiled programs of batched relaxation: descents in lanes, and Newton's steps for groups of configurations."""

import dataclasses
import functools
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ..physics.configuration import Configuration
from ..physics.hessian import AbstractHessian, DenseHessian
from ..physics.pair_list import PairList, find_pairs
from ..physics.pair_potential import AbstractPairPotential
from ..physics.potential import AbstractPotential
from .enthalpy import Enthalpy, EnthalpyHessian, factor, particles
from .fire import AnyArray, FireSettings, FireState, begin, fire_start, step, unfinished
from .newton import NewtonEnd, NewtonState, newton_steps
from .push_apart import push_apart

# Most steps before the host is asked for new work.
CHUNK = 100
# Pair lists are renewed for one of this many lanes at a time. Smaller blocks fill an accelerator badly, in larger ones
# lanes wait longer.
BLOCK_SHARE = 8


Tree = TypeVar("Tree")


class Lanes(eqx.Module):
    """Descents under way, side by side.

    - `state`: the state of each, every array with a leading axis.
    - `i`, `j`, `reference`, `n_pairs`: its pair list, as in `PairList`.
    - `pushes`: steps that pushed particles apart before the descent.
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
    """What is kept of each configuration. Without a minimum that is no pairs, and an identity for the factor.

    - `fractional`: where Newton's steps have led.
    - `i`, `j`, `reference`, `n_pairs`: the pair list.
    - `hessian`: the factored Hessian of the particles at fixed box.
    """

    fractional: Float[Array, "b n d"]
    i: Int[Array, "b p"]
    j: Int[Array, "b p"]
    reference: Float[Array, "b n d"]
    n_pairs: Int[Array, " b"]
    hessian: DenseHessian


def at_positions(configurations: Configuration, fractional: Float[AnyArray, "*b n d"]) -> Configuration:
    """The configurations at other positions."""
    moved: Configuration = eqx.tree_at(lambda c: c.fractional, configurations, fractional)
    return moved


def take_rows(tree: Tree, which: Int[AnyArray, "..."] | int) -> Tree:
    """Rows of every array; an index past the end gives the last row."""
    rows: Tree = jax.tree.map(lambda x: jnp.asarray(x).at[which].get(mode="clip"), tree)
    return rows


jitted_rows = eqx.filter_jit(take_rows)


def _set_rows(tree: Tree, which: Int[AnyArray, "..."], rows: Tree) -> Tree:
    """Every array with rows replaced; an index past the end is none."""
    result: Tree = jax.tree.map(lambda old, new: old.at[which].set(new, mode="drop"), tree, rows)
    return result


def select_lanes(mask: Bool[AnyArray, " w"], new: Tree, old: Tree) -> Tree:
    """The rows of `new` where the mask is set, else those of `old`."""
    result: Tree = jax.tree.map(lambda x, y: jnp.where(mask.reshape(-1, *(1,) * (x.ndim - 1)), x, y), new, old)
    return result


def stacked_lists(lists: Lanes | Minima, configurations: Configuration, radius: Float[Array, " w"]) -> PairList:
    """The pair lists of lanes or minima, every array with a leading axis."""
    reference = at_positions(configurations, lists.reference)
    # Under `vmap`, so that each has the shapes of a single list.
    result: PairList = jax.vmap(PairList)(lists.i, lists.j, reference, radius, lists.n_pairs)
    return result


class Descent(eqx.Module):
    """The arguments of a chunk of steps. All arrays but `starts` and the potential's are NumPy's.

    - `radius`: of the pair lists.
    - `owner`: the configuration of each lane; the number of configurations for an idle one.
    - `fresh`: which lanes begin a descent.
    - `max_pushes`: most steps of pushing particles apart, for each lane.
    - `tolerance`: the force to descend to, for each lane.
    - `max_evaluations`: most force evaluations of a descent.
    - `enough_idle`: how many idle lanes end the chunk.
    - `longest_push`: longest move of a particle in a step of pushing particles apart.
    """

    potential: AbstractPotential
    starts: Configuration
    settings: FireSettings
    radius: Float[AnyArray, ""]
    owner: Int[AnyArray, " w"]
    fresh: Bool[AnyArray, " w"]
    max_pushes: Int[AnyArray, " w"]
    tolerance: Float[AnyArray, " w"]
    max_evaluations: Int[AnyArray, ""]
    enough_idle: Int[AnyArray, ""]
    longest_push: float


@eqx.filter_jit(donate="all-except-first")
def descend_lanes(
    task: Descent, lanes: Lanes, fractional: Float[Array, "b n d"]
) -> tuple[Lanes, Float[Array, "b n d"], Int[Array, "7 w"]]:
    """Step in every lane, at most `CHUNK` times, fewer once `enough_idle` lanes have nothing to do.

    Descents begin from rest in lanes that are `fresh`, at `fractional`. Returns the lanes, where all configurations
    stand, and numbers of each lane: force evaluations, pushes, pairs, whether it converged, whether it is stuck, and
    steps and renewals of the chunk.
    """
    potential, settings = task.potential, task.settings
    width, capacity = lanes.i.shape
    block = -(-width // BLOCK_SHARE)
    active = task.owner < fractional.shape[0]
    configuration = take_rows(at_positions(task.starts, fractional), task.owner)
    rest = jax.vmap(fire_start)(configuration)
    rest = eqx.tree_at(lambda s: s.covered, rest, jnp.zeros(width, dtype=bool))
    lanes = dataclasses.replace(
        lanes,
        state=select_lanes(task.fresh, rest, lanes.state),
        n_pairs=jnp.where(task.fresh, 0, lanes.n_pairs),
        pushes=jnp.where(task.fresh, 0, lanes.pushes),
        stuck=lanes.stuck & ~task.fresh,
    )

    def pairs(lanes: Lanes) -> PairList:
        radius = jnp.broadcast_to(task.radius, (width,))
        return stacked_lists(lanes, configuration, radius)

    def moving(lanes: Lanes) -> Bool[AnyArray, " w"]:
        going = jax.vmap(unfinished, (0, None))(lanes.state, task.max_evaluations)
        return active & ~lanes.stuck & going

    def waiting(lanes: Lanes) -> Bool[AnyArray, " w"]:
        s = lanes.state
        return active & ~lanes.stuck & ~s.converged & ~s.covered & (s.evaluations < task.max_evaluations)

    def go_on(lanes: Lanes, steps: Int[Array, ""]) -> Bool[Array, ""]:
        idle = ~(moving(lanes) | waiting(lanes))
        return (steps < CHUNK) & (jnp.sum(idle) < task.enough_idle)

    def renew(lanes: Lanes) -> Lanes:
        """New pair lists for the first of the lanes that wait."""
        (which,) = jnp.nonzero(waiting(lanes), size=block, fill_value=width)
        here, old, pushes, most = take_rows((configuration, lanes.state, lanes.pushes, task.max_pushes), which)
        here = at_positions(here, old.fractional)
        listed = jax.vmap(lambda c: find_pairs(particles(potential, c), task.radius, capacity))(here)
        state = jax.vmap(lambda c, p, s: begin(potential, c, p, s, settings))(here, listed, old)
        stuck = jnp.logical_not(state.covered)
        if isinstance(potential, AbstractPairPotential):
            left = jnp.where(old.evaluations == 0, most - pushes, 0)
            parted, steps = jax.vmap(lambda c, p, m: push_apart(potential, c, p, m, task.longest_push))(
                here, listed, left
            )
            # Lanes whose particles were pushed wait for another list, to see whether that was enough.
            state = select_lanes(steps > 0, eqx.tree_at(lambda s: s.fractional, old, parted), state)
            stuck, pushes = stuck & (steps == 0), pushes + steps
        renewed = Lanes(state, listed.i, listed.j, here.fractional, listed.n_pairs, pushes, stuck)
        return _set_rows(lanes, which, renewed)

    def all_step(lanes: Lanes) -> Lanes:
        """One step of the lanes that can take one."""
        state = jax.vmap(lambda c, p, s, t: step(potential, c, p, s, settings, t))(
            configuration, pairs(lanes), lanes.state, task.tolerance
        )
        return dataclasses.replace(lanes, state=select_lanes(moving(lanes), state, lanes.state))

    def steps_with_lists(carry: tuple[Lanes, Array, Array]) -> tuple[Lanes, Array, Array]:
        """Renew a block of lists, and step until another block waits."""
        lanes, steps, renewals = carry
        lanes, steps = jax.lax.while_loop(
            lambda c: go_on(*c) & jnp.any(moving(c[0])) & (jnp.sum(waiting(c[0])) < block),
            lambda c: (all_step(c[0]), c[1] + 1),
            (renew(lanes), steps),
        )
        return lanes, steps, renewals + 1

    lanes, steps, renewals = jax.lax.while_loop(
        lambda c: go_on(c[0], c[1]), steps_with_lists, (lanes, jnp.asarray(0), jnp.asarray(0))
    )
    state = lanes.state
    fractional = _set_rows(fractional, task.owner, jnp.asarray(state.fractional))
    # One array, and so one transfer.
    chunk = jnp.broadcast_to(steps, (width,)), jnp.broadcast_to(renewals, (width,))
    report = jnp.stack([state.evaluations, lanes.pushes, lanes.n_pairs, state.converged, lanes.stuck, *chunk])
    return lanes, fractional, report


class Polish(eqx.Module):
    """The arguments of Newton's steps for a group of configurations.

    - `fractional`: where the descents of all configurations ended.
    - `radius`: of the pair lists.
    - `which`: the configurations of the group; their number for none.
    - `again`: which of them go on from where Newton's steps have led already.
    - `move_cap`: longest move of a particle in one step.
    - `stiffness`: the unit of stiffness.
    """

    potential: AbstractPotential
    starts: Configuration
    fractional: Float[Array, "b n d"]
    radius: Float[AnyArray, ""]
    which: Int[AnyArray, " g"]
    again: Bool[AnyArray, " g"]
    force_tolerance: Float[AnyArray, ""]
    move_cap: float
    stiffness: float


@eqx.filter_jit(donate="all-except-first")
def polish_minima(task: Polish, minima: Minima) -> tuple[Minima, Int[Array, "5 g"]]:
    """Take Newton's steps with one factor for each of a group, and factor the Hessian of where they end.

    Returns `minima` with those that were found, and numbers of each configuration: pairs, steps, how the steps ended
    (`NewtonEnd`), and whether the first and the last Hessian are positive definite.
    """
    total, capacity = minima.i.shape
    configuration = take_rows(at_positions(task.starts, task.fractional), task.which)
    reached = take_rows(minima.fractional, task.which)
    configuration = at_positions(configuration, select_lanes(task.again, reached, configuration.fractional))
    potential = task.potential
    listed = jax.vmap(lambda c: find_pairs(particles(potential, c), task.radius, capacity))(configuration)

    def factored(c: Configuration, p: PairList) -> tuple[DenseHessian | EnthalpyHessian, Bool[Array, ""]]:
        hessian = factor(potential, c, p, task.stiffness)
        return hessian, hessian.is_stable

    def newton(c: Configuration, p: PairList, h: AbstractHessian, stable: Bool[Array, ""]) -> NewtonState:
        # With a Hessian that is not positive definite a line search would be wasted.
        age = jnp.where(stable, 0, 1)
        tolerance = task.force_tolerance
        if isinstance(potential, Enthalpy):
            tolerance = potential.tolerance(c, tolerance)
        state: NewtonState = newton_steps(potential, c, p, tolerance, h, age, task.move_cap)
        return state

    first, first_is_stable = jax.vmap(factored)(configuration, listed)
    state = jax.vmap(newton)(configuration, listed, first, first_is_stable)
    last, last_is_stable = jax.vmap(factored)(at_positions(configuration, state.fractional), listed)
    settled = (state.end == int(NewtonEnd.converged)) & last_is_stable
    hessian = last.hessian if isinstance(last, EnthalpyHessian) else last
    assert isinstance(hessian, DenseHessian)
    entries = Minima(state.fractional, listed.i, listed.j, configuration.fractional, listed.n_pairs, hessian)
    reached = _set_rows(minima.fractional, task.which, state.fractional)
    minima = _set_rows(minima, jnp.where(settled, task.which, total), entries)
    report = jnp.stack([listed.n_pairs, state.iterations, state.end, first_is_stable, last_is_stable])
    return dataclasses.replace(minima, fractional=reached), report


@eqx.filter_jit(donate="all-except-first")
def enter_minimum(
    minimum: tuple[AbstractPotential, Configuration, Float[AnyArray, ""], Int[AnyArray, ""], DenseHessian],
    minima: Minima,
) -> tuple[Minima, Int[Array, ""]]:
    """Replace the row of a configuration, given with the radius of its pair list, its index and its factored Hessian.

    Returns the minima, and the number of pairs, which have no room if it exceeds the capacity.
    """
    potential, configuration, radius, k, hessian = minimum
    listed = find_pairs(particles(potential, configuration), radius, minima.i.shape[1])
    fractional = configuration.fractional
    entry = Minima(fractional, listed.i, listed.j, fractional, listed.n_pairs, hessian)
    return _set_rows(minima, k, entry), listed.n_pairs


@functools.partial(jax.jit, static_argnums=(1, 2))
def no_minima(like: Float[Array, "b n d"], capacity: int, n: int) -> Minima:
    """The record of configurations of `n` particles without any minimum so far."""
    total, _, d = like.shape
    factor = DenseHessian(jnp.eye(n * d), jnp.zeros(n, dtype=bool), jnp.zeros((), dtype=bool))
    hessian: DenseHessian = jax.tree.map(lambda x: jnp.broadcast_to(x, (total, *x.shape)), factor)
    i, j = jnp.zeros((2, total, capacity), dtype=jnp.int32)
    return Minima(jnp.zeros_like(like), i, j, jnp.zeros_like(like), jnp.zeros(total, dtype=int), hessian)
