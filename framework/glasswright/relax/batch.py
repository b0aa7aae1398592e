"""Minima of many configurations at once, in programs as wide as an accelerator needs them.

Descents run side by side in lanes. The host sees a few numbers of each lane between chunks of steps, takes the finished
ones out and gives their lanes to the next configurations; shapes never change, so nothing is compiled anew. Pair lists
are renewed a block of lanes at a time: a lane whose list has been left behind waits until enough others do. So when a
list is renewed, and with it everything about a descent, depends on its own lane alone, not on which others run beside.
"""

import collections
import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .._configuration import Configuration, box_width
from .._hessian import DenseHessian, factor_hessian
from .._potential import AbstractPairPotential, AbstractPotential
from .._protocol import Outcome, Prepared
from ..neighbors import PairList, find_pairs
from ..neighbors.pair_list import round_capacity
from .fire import FireSettings, FireState, begin, fire_start, step, unfinished
from .newton import NewtonEnd, newton_steps
from .push_apart import push_apart

# Most steps between two looks of the host at the lanes.
CHUNK = 100
# Pair lists are renewed for this share of the lanes at a time. Smaller blocks fill an accelerator badly, in larger ones
# lanes wait longer.
BLOCK_SHARE = 8
# The host is asked for new work as soon as this share of the lanes has none: an idle lane costs as much as a busy one.
IDLE_SHARE = 8
# Where so few are left, the lanes become fewer by this factor: the last descents take three times as many steps as the
# average. Less than the second number would not make a step any faster.
NARROW, NARROWEST = 4, 32
# Pair lists of descents reach so many skins beyond the cutoff, and on to what their capacity has room for. Making one
# from all distances costs several force evaluations, so that they should last: in two dimensions, twice the skin needs
# half as many, and holds a fifth more pairs (N = 368: a dozen for a quench of 430 evaluations).
SKINS = 2.0
# Newton's groups are at most this share of all configurations, so that their matrices need no more memory together than
# the result does.
GROUP_SHARE = 4
# Newton near a minimum needs one or two factors; more mean that it is not near one.
MAX_FACTORS = 12


def expected_pairs(n_particles: int, dimension: int, volume: float, radius: float) -> float:
    """How many pairs there are within `radius` if particles are independent: within a tenth, those of a packing."""
    ball = math.pi ** (dimension / 2) / math.gamma(dimension / 2 + 1) * radius**dimension
    return 0.5 * n_particles * (n_particles - 1) * min(ball / volume, 1.0)


def bytes_per_configuration(n_particles: int, dimension: int, n_pairs: float) -> int:
    """An estimate from above of the memory that each configuration of a batch needs, in bytes.

    That is its share of the result, and of the work on it: `prepare_many` with a width up to the number of
    configurations, then a property and its gradient measured for all of them together. `n_pairs` is the number of pairs
    within the cutoff and a skin (`expected_pairs`).
    """
    # The factored Hessian; a copy for the solver; one more for the Hessians that are in work, and for all distances.
    matrices = 3 * 8 * (n_particles * dimension) ** 2
    # Two lists; all that is worked out for each pair at a time in a gradient of elastic constants (58 numbers in two
    # dimensions, 131 in three).
    pairs = round_capacity(n_pairs) * (16 + 8 * 15 * dimension**2)
    return matrices + pairs


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


def _at(configurations: Configuration, fractional) -> Configuration:
    return dataclasses.replace(configurations, fractional=fractional)


def _rows(tree, which):
    """Rows of every array; an index past the end gives the last row."""
    return jax.tree.map(lambda x: jnp.asarray(x).at[which].get(mode="clip"), tree)


_jitted_rows = eqx.filter_jit(_rows)


def _set_rows(tree, which, rows):
    """Every array with rows replaced; an index past the end is none."""
    return jax.tree.map(lambda old, new: old.at[which].set(new, mode="drop"), tree, rows)


def _select(mask, new, old):
    return jax.tree.map(lambda x, y: jnp.where(mask.reshape(-1, *(1,) * (x.ndim - 1)), x, y), new, old)


class _Descent(eqx.Module):
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
def _descend(task: _Descent, lanes: Lanes, fractional: Float[Array, "b n d"]):
    """At most `CHUNK` steps of every lane, fewer once `enough_idle` lanes have nothing to do.

    Lane `k` works on configuration `owner[k]` (the number of configurations: on none), from rest where `fresh`.
    `fractional` is where descents begin, and where they stand afterwards. Also returned, for each lane: force
    evaluations, pushes, pairs, whether it converged, whether it is stuck, and steps and renewals of the chunk.
    """
    potential, settings = task.potential, task.settings
    width, capacity = lanes.i.shape
    block = -(-width // BLOCK_SHARE)
    active = task.owner < fractional.shape[0]
    configuration = _rows(_at(task.starts, fractional), task.owner)
    rest = jax.vmap(fire_start)(configuration)
    rest = dataclasses.replace(rest, covered=jnp.zeros(width, dtype=bool))
    lanes = dataclasses.replace(
        lanes,
        state=_select(task.fresh, rest, lanes.state),
        n_pairs=jnp.where(task.fresh, 0, lanes.n_pairs),
        pushes=jnp.where(task.fresh, 0, lanes.pushes),
        stuck=lanes.stuck & ~task.fresh,
    )

    def pairs(lanes: Lanes) -> PairList:
        radius = jnp.broadcast_to(task.radius, (width,))
        return PairList(lanes.i, lanes.j, _at(configuration, lanes.reference), radius, lanes.n_pairs)

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
        here, old, pushes, most = _rows((configuration, lanes.state, lanes.pushes, task.max_pushes), which)
        here = _at(here, old.fractional)
        listed = jax.vmap(lambda c: find_pairs(c, task.radius, capacity))(here)
        state = jax.vmap(lambda c, p, s: begin(potential, c, p, s, settings))(here, listed, old)
        stuck = ~state.covered
        if isinstance(potential, AbstractPairPotential):
            left = jnp.where(old.evaluations == 0, most - pushes, 0)
            parted, steps = jax.vmap(lambda c, p, m: push_apart(potential, c, p, m))(here, listed, left)
            # Particles that had to be parted wait for another list, to see whether all now are.
            state = _select(steps > 0, dataclasses.replace(old, fractional=parted), state)
            stuck, pushes = stuck & (steps == 0), pushes + steps
        renewed = Lanes(state, listed.i, listed.j, here.fractional, listed.n_pairs, pushes, stuck)
        return _set_rows(lanes, which, renewed)

    def all_step(lanes: Lanes) -> Lanes:
        """One step of the lanes that can take one."""
        state = jax.vmap(lambda c, p, s, t: step(potential, c, p, s, settings, t))(
            configuration, pairs(lanes), lanes.state, task.tolerance
        )
        return dataclasses.replace(lanes, state=_select(moving(lanes), state, lanes.state))

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


class _Polish(eqx.Module):
    """What a group of Newton's steps is told: arrays of the host's but for `starts` and `fractional`."""

    potential: AbstractPotential
    starts: Configuration
    fractional: Float[Array, "b n d"]
    radius: Any
    which: Any
    again: Any
    force_tolerance: Any


@eqx.filter_jit(donate="all-except-first")
def _polish(task: _Polish, minima: Minima):
    """Newton's steps with one factor for the configurations `which`, and the Hessian of where they end.

    They start where the descent ended, `fractional`; those to be done `again`, where Newton's steps have led already.
    What is kept of the minima found is entered into `minima`. Also returned, a row of numbers for each of the group:
    pairs, steps, how the steps ended (`NewtonEnd`), whether the first and the last Hessian are positive definite.
    """
    total, capacity = minima.i.shape
    configuration = _rows(_at(task.starts, task.fractional), task.which)
    reached = _rows(minima.fractional, task.which)
    configuration = _at(configuration, _select(task.again, reached, configuration.fractional))
    listed = jax.vmap(lambda c: find_pairs(c, task.radius, capacity))(configuration)

    def factor(c, p):
        return factor_hessian(task.potential, c, p)

    def newton(c, p, h):
        # One that is not positive definite needs no line search along its steps.
        age = jnp.where(h.is_stable, 0, 1)
        return newton_steps(task.potential, c, p, task.force_tolerance, h, age)

    first = jax.vmap(factor)(configuration, listed)
    state = jax.vmap(newton)(configuration, listed, first)
    last = jax.vmap(factor)(_at(configuration, state.fractional), listed)
    settled = (state.end == int(NewtonEnd.converged)) & last.is_stable
    found = Minima(state.fractional, listed.i, listed.j, configuration.fractional, listed.n_pairs, last)
    reached = _set_rows(minima.fractional, task.which, state.fractional)
    minima = _set_rows(minima, jnp.where(settled, task.which, total), found)
    report = jnp.stack([listed.n_pairs, state.iterations, state.end, first.is_stable, last.is_stable])
    return dataclasses.replace(minima, fractional=reached), report


@eqx.filter_jit(donate="all-except-first")
def _enter(one, minima: Minima):
    """`minima` with the row of one configuration replaced, given its Hessian; and how many pairs it has."""
    configuration, radius, k, hessian = one
    listed = find_pairs(configuration, radius, minima.i.shape[1])
    fractional = configuration.fractional
    row = Minima(fractional, listed.i, listed.j, fractional, listed.n_pairs, hessian)
    return _set_rows(minima, k, row), listed.n_pairs


@functools.partial(jax.jit, static_argnums=1)
def _no_minima(like: Float[Array, "b n d"], capacity: int) -> Minima:
    total, n, d = like.shape
    matrix = jnp.broadcast_to(jnp.eye(n * d), (total, n * d, n * d))
    hessian = DenseHessian(matrix, jnp.zeros((total, n), dtype=bool), jnp.zeros(total, dtype=bool))
    i, j = jnp.zeros((2, total, capacity), dtype=jnp.int32)
    return Minima(jnp.zeros_like(like), i, j, jnp.zeros_like(like), jnp.zeros(total, dtype=int), hessian)


def _wider(lists, capacity: int):
    """Lanes or minima with room for more pairs."""
    more = ((0, 0), (0, capacity - lists.i.shape[1]))
    return dataclasses.replace(lists, i=jnp.pad(lists.i, more), j=jnp.pad(lists.j, more))


class Relaxation:
    """The minima that many starts belong to: the state of the host's loop.

    FIRE to `hand_over`, then Newton; those that Newton loses go back to FIRE, to a hundredth of that force, and so on.
    What is left then is force-free, but on a saddle or with zero modes: `rescue` is asked to prepare it, each by itself.

    **Arguments:**

    - `starts`: configurations, every array with a leading axis.
    - `width`: how many descents run side by side.
    - `force_tolerance`, `hand_over`: largest force components, in energy per length, of a minimum and of where Newton
        takes over.
    - `max_steps`: most force evaluations of one descent.
    - `max_pushes`: most steps before it that part particles on top of each other (pair potentials only).
    - `skin`: width beyond the cutoff of the pair lists that are kept, in units of length.

    **Attributes:**

    - `outcome`, `counts`: how each search ended, and numbers about it, each of shape `(b,)`.
    - `totals`: steps of all lanes, idle ones included; renewals of pair lists (of a block of lanes each); chunks of
        steps; groups of Newton's.
    """

    def __init__(
        self,
        potential: AbstractPotential,
        starts: Configuration,
        *,
        width: int,
        force_tolerance: float,
        hand_over: float,
        max_steps: int,
        max_pushes: int,
        skin: float,
        rescue: Callable[[Configuration], Prepared],
    ):
        self.potential, self.starts = potential, jax.tree.map(jnp.asarray, starts)
        self.force_tolerance, self.hand_over, self.rescue = force_tolerance, hand_over, rescue
        self.max_steps, self.max_pushes = max_steps, max_pushes
        total, n, d = starts.fractional.shape
        self.total, self.width = total, min(width, total)
        self.group = min(self.width, -(-total // GROUP_SHARE))
        self.settings = FireSettings()
        cutoff, box = float(potential.cutoff), np.asarray(starts.box)
        volume = float(np.min(np.abs(np.linalg.det(box))))
        # As many pairs as independent particles would have: lists grow where a packing has more of them.
        expected = functools.partial(expected_pairs, n, d, volume)
        kept = cutoff + skin
        # Beyond half the narrowest width of the box, the nearest image need not be the one that a list knows.
        widest = max(kept, 0.5 * float(jnp.min(jax.vmap(box_width)(self.starts.box))))
        radius = min(cutoff + SKINS * skin, widest)
        capacity = round_capacity(expected(radius))
        # Padding costs as much as pairs: better that it makes the lists last longer.
        radius = min(radius * max(capacity / (1.05 * expected(radius)), 1.0) ** (1.0 / d), widest)
        self.radius, self.kept_radius = np.asarray(radius), np.asarray(kept)
        # Where descents stand. Copied: it is handed over to the programs, which write into it.
        self.fractional = jnp.array(self.starts.fractional, copy=True)
        self.minima = _no_minima(self.fractional, round_capacity(expected(kept)))
        self.lanes = self._lanes(capacity)
        self.owner = np.full(self.width, total)
        self.fresh = np.zeros(self.width, dtype=bool)
        self.tolerance = np.full(total, hand_over)
        self.outcome = np.full(total, -1)
        names = ("evaluations", "factorisations", "saddles", "zero_modes", "rattlers")
        self.counts = {name: np.zeros(total, dtype=int) for name in names}
        self.totals = dict.fromkeys(("lane_steps", "renewals", "chunks", "groups"), 0)
        # Configurations to descend; for Newton (with the factors they have had since the descent); force-free, and no
        # stable minimum.
        self.to_descend = collections.deque(range(total))
        self.to_polish: collections.deque[int] = collections.deque()
        self.factors = np.zeros(total, dtype=int)
        self.unstable: list[int] = []

    def run(self) -> None:
        """Everything, until each configuration has its outcome."""
        self._search()
        # Leaving a saddle and pinning zero modes take all eigenvectors: not worth a program for many.
        for k in self.unstable:
            prepared = self.rescue(_rows(_at(self.starts, self.fractional), k))
            for name in self.counts:
                self.counts[name][k] += int(prepared.statistics[name])
            self.outcome[k] = int(prepared.outcome)
            self.fractional = self.fractional.at[k].set(prepared.configuration.fractional)
            if prepared.accepted:
                self._enter(k, prepared)
        rattlers = np.sum(np.asarray(self.minima.hessian.rattler), axis=1)
        self.counts["rattlers"] = np.where(self.outcome == Outcome.converged, rattlers, 0)

    def _enter(self, k: int, prepared: Prepared) -> None:
        """What is kept of a minimum found elsewhere."""
        hessian = prepared.memory.hessian
        while True:
            self.minima, n_pairs = _enter(
                (prepared.configuration, self.kept_radius, np.asarray(k), hessian), self.minima
            )
            if int(n_pairs) <= self.minima.i.shape[1]:
                return
            self.minima = _wider(self.minima, round_capacity(int(n_pairs)))

    @property
    def configuration(self) -> Configuration:
        """Where each search ended."""
        found = jnp.asarray(self.outcome == int(Outcome.converged))
        return _at(self.starts, _select(found, self.minima.fractional, self.fractional))

    @property
    def neighbors(self) -> PairList:
        """The pairs of each minimum."""
        m = self.minima
        radius = jnp.full(self.total, self.kept_radius)
        return PairList(m.i, m.j, _at(self.starts, m.reference), radius, m.n_pairs)

    @property
    def hessian(self) -> DenseHessian:
        """The factored Hessian of each minimum."""
        return self.minima.hessian

    def _lanes(self, capacity: int) -> Lanes:
        width = self.width
        i, j = jnp.zeros((2, width, capacity), dtype=jnp.int32)
        state = jax.vmap(fire_start)(jax.tree.map(lambda x: x[:width], self.starts))
        place = jnp.zeros_like(state.fractional)
        none = jnp.zeros(width, dtype=int)
        return Lanes(state, i, j, place, none, none.copy(), jnp.zeros(width, dtype=bool))

    def _search(self) -> None:
        while True:
            narrowed = self._refill()
            if self._busy:
                self._descend()
            # Whole groups, and what is left of them only where those that Newton loses can fill lanes.
            fewest = 1 if narrowed or not self._busy else self.group
            while len(self.to_polish) >= fewest:
                self._polish()
            if not self._busy and not self.to_descend and not self.to_polish:
                return

    @property
    def _busy(self) -> int:
        """How many lanes have a configuration."""
        return int(np.sum(self.owner < self.total))

    def _refill(self) -> bool:
        """Give idle lanes to the next configurations; with fewer lanes, and True, where most would stay idle."""
        idle = np.flatnonzero(self.owner == self.total)[: len(self.to_descend)]
        self.fresh[:] = False
        self.owner[idle] = [self.to_descend.popleft() for _ in idle]
        self.fresh[idle] = True
        narrow = self.width // NARROW
        if self.to_descend or narrow < NARROWEST or self._busy > narrow:
            return False
        kept = np.argsort(self.owner, kind="stable")[:narrow]
        self.lanes = _jitted_rows(self.lanes, kept)
        self.owner, self.fresh = self.owner[kept], self.fresh[kept]
        self.width = narrow
        return True

    def _descend(self) -> None:
        """A chunk of steps, and what becomes of the lanes that have finished."""
        narrow = self.width // NARROW
        if self.to_descend:
            enough = max(self.width // IDLE_SHARE, 1)
        else:
            enough = self.width - (narrow if narrow >= NARROWEST else 0)
        own = np.minimum(self.owner, self.total - 1)
        task = _Descent(
            self.potential,
            self.starts,
            self.settings,
            self.radius,
            self.owner,
            self.fresh,
            np.where(self.tolerance[own] == self.hand_over, self.max_pushes, 0),
            self.tolerance[own],
            np.asarray(self.max_steps),
            np.asarray(enough),
        )
        self.lanes, self.fractional, report = _descend(task, self.lanes, self.fractional)
        evaluations, pushes, n_pairs, converged, stuck, steps, renewals = np.asarray(report)
        self.totals["chunks"] += 1
        self.totals["lane_steps"] += int(np.sum(steps))
        self.totals["renewals"] += int(renewals[0])
        busy, converged, stuck = self.owner < self.total, converged != 0, stuck != 0
        overflow = busy & stuck & (n_pairs > self.lanes.i.shape[1])
        if np.any(overflow):
            self._grow_lanes(int(np.max(n_pairs[overflow])), overflow)
        broken = busy & stuck & ~overflow
        exhausted = busy & ~stuck & ~converged & (evaluations >= self.max_steps)
        converged = busy & converged
        ended = broken | exhausted | converged
        self.counts["evaluations"][self.owner[ended]] += (evaluations + pushes)[ended]
        self.outcome[self.owner[broken]] = int(Outcome.nonfinite)
        self.outcome[self.owner[exhausted]] = int(Outcome.max_steps)
        self.factors[self.owner[converged]] = 0
        self.to_polish.extend(self.owner[converged].tolist())
        self.owner[ended] = self.total

    def _grow_lanes(self, n_pairs: int, which: np.ndarray) -> None:
        """More room for the pairs of all lanes; those whose pairs did not fit try again."""
        lanes = _wider(self.lanes, round_capacity(n_pairs))
        self.lanes = dataclasses.replace(lanes, stuck=lanes.stuck & ~jnp.asarray(which))

    def _polish(self) -> None:
        """Newton's steps for one group, and what becomes of its configurations."""
        group = [self.to_polish.popleft() for _ in range(min(self.group, len(self.to_polish)))]
        which = np.full(self.group, self.total)
        which[: len(group)] = group
        again = np.zeros(self.group, dtype=bool)
        again[: len(group)] = self.factors[group] > 0
        task = _Polish(
            self.potential,
            self.starts,
            self.fractional,
            self.kept_radius,
            which,
            again,
            np.asarray(self.force_tolerance),
        )
        self.minima, report = _polish(task, self.minima)
        self.totals["groups"] += 1
        which = np.asarray(group)
        n_pairs, iterations, end, first, last = np.asarray(report)[:, : len(group)]
        overflow = n_pairs > self.minima.i.shape[1]
        if np.any(overflow):
            self.minima = _wider(self.minima, round_capacity(int(np.max(n_pairs))))
            self.to_polish.extendleft(which[overflow].tolist())
        self.counts["evaluations"][which[~overflow]] += iterations[~overflow]
        # As many as its own search asked for: the last is that of a minimum.
        self.counts["factorisations"][which[~overflow]] += 1 + (end == NewtonEnd.converged)[~overflow]
        self.factors[which[~overflow]] += 1
        settled = ~overflow & (end == NewtonEnd.converged) & (last != 0)
        self.outcome[which[settled]] = int(Outcome.converged)
        going = (end == NewtonEnd.factor_wanted) | (end == NewtonEnd.uncovered)
        further = ~overflow & going & (first != 0) & (self.factors[which] < MAX_FACTORS)
        self.to_polish.extend(which[further].tolist())
        for k in which[~overflow & ~settled & ~further].tolist():
            if self.tolerance[k] > self.force_tolerance:
                self.tolerance[k] = max(0.01 * self.tolerance[k], self.force_tolerance)
                self.to_descend.append(k)
            else:
                self.unstable.append(k)
