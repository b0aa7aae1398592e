"""The search for the minima of many packings at once, in programs as wide as an accelerator needs them.

Descents run side by side, each in a lane of the program. Between chunks of steps the host sees a few numbers of each
lane and gives the lanes of finished descents to the next configurations. Shapes never change, so nothing is compiled
anew. Pair lists are renewed for a block of lanes at a time: a lane whose list no longer covers its positions waits
until enough others do. When a list is renewed therefore depends on its own lane alone, and so does everything else
about a descent.
"""

import collections
import dataclasses
import functools
import math
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from ..components.protocol import Outcome
from ..physics.configuration import Configuration, box_width, check_box_width
from ..physics.hessian import DenseHessian
from ..physics.pair_list import PairList, complete_radius, round_capacity
from ..physics.potential import AbstractPotential
from .enthalpy import Enthalpy
from .fire import fire_start
from .lanes import (
    Descent,
    Lanes,
    Minima,
    Polish,
    at_positions,
    descend_lanes,
    enter_minimum,
    jitted_rows,
    no_minima,
    polish_minima,
    select_lanes,
    stacked_lists,
    take_rows,
)
from .newton import NewtonEnd
from .schedule import MAX_FACTORS, MAX_PUSHES_IN_BATCH, WIDEST_SKIN, QuenchSchedule
from .search import Search

Lists = TypeVar("Lists", Lanes, Minima)
# The host gives out new work as soon as one of this many lanes has none: an idle lane costs as much as a busy one.
IDLE_SHARE = 8
# Once few enough descents are left, the lanes become fewer by this factor: the last descents take three times as many
# steps as the average. Fewer lanes than the second number would not make a step any faster.
NARROW, NARROWEST = 4, 32
# Newton's groups hold at most one of this many configurations, so that the matrices of a group need less memory than
# the result.
GROUP_SHARE = 4


def expected_pairs(n_particles: int, dimension: int, volume: float, radius: float) -> float:
    """The number of pairs within `radius` of independent particles, which is that of a packing within a tenth."""
    ball: float = math.pi ** (dimension / 2) / math.gamma(dimension / 2 + 1) * radius**dimension
    return 0.5 * n_particles * (n_particles - 1) * min(ball / volume, 1.0)


def bytes_per_configuration(n_particles: int, dimension: int, n_pairs: float) -> int:
    """An estimate from above of the memory that each configuration of a batch needs, in bytes.

    It covers the result and the work on it: `prepare_many` with a width up to the number of configurations, then a
    property and its gradient measured for all of them together. `n_pairs` is the number of pairs within the cutoff and
    a skin (`expected_pairs`).
    """
    # The factored Hessian; a copy for the solver; another for the Hessians being assembled and for all distances.
    matrices = 3 * 8 * (n_particles * dimension) ** 2
    # Two lists; what a gradient of elastic constants holds for each pair at a time (58 numbers in two dimensions, 131
    # in three).
    pairs = round_capacity(n_pairs) * (16 + 8 * 15 * dimension**2)
    return matrices + pairs


def _wider(lists: Lists, capacity: int) -> Lists:
    """The lanes or minima with room for more pairs."""
    more = ((0, 0), (0, capacity - lists.i.shape[1]))
    return dataclasses.replace(lists, i=jnp.pad(lists.i, more), j=jnp.pad(lists.j, more))


class Relaxation:
    """The search for the minima that many starts belong to: the state of the host's loop.

    Every configuration goes through the same schedule as `Search`. Saddles and zero modes are left to `Search`, which
    takes them one by one. With an `Enthalpy` for the potential, the boxes are relaxed as well; the starts are extended
    configurations then.

    **Arguments:**

    - `starts`: configurations, every array with a leading axis.
    - `width`: how many descents run side by side.
    - `schedule`: tolerances and limits; its method must be `newton`.

    **Attributes:**

    - `outcome`, `counts`: how each search ended, and numbers about it, each of shape `(b,)`.
    - `totals`: steps of all lanes, idle ones included; renewals of pair lists (of a block of lanes each); chunks of
      steps; groups of configurations that Newton's method worked on.
    """

    def __init__(self, potential: AbstractPotential, starts: Configuration, schedule: QuenchSchedule, *, width: int):
        self.potential, self.starts = potential, jax.tree.map(jnp.asarray, starts)
        self.schedule = schedule
        total, n, d = starts.fractional.shape
        self.total, self.width = total, min(width, total)
        self.group = min(self.width, -(-total // GROUP_SHARE))
        self.settings = schedule.fire_settings
        cutoffs = jax.vmap(potential.reach)(self.starts)
        box = np.asarray(starts.box)
        check_box_width(box, cutoffs, f"packings of {n} particles")
        cutoff = float(jnp.max(cutoffs))
        volume = float(np.min(np.abs(np.linalg.det(box))))
        # The number of pairs of independent particles: lists grow where a packing has more.
        expected = functools.partial(expected_pairs, n, d, volume)
        kept = float(np.min([complete_radius(lattice, cutoff + schedule.skin) for lattice in box.reshape(-1, d, d)]))
        # Beyond half the narrowest width of the box, the nearest image need not be the one that a list knows.
        widest = max(kept, 0.5 * float(jnp.min(jax.vmap(box_width)(self.starts.box))))
        radius = min(cutoff + WIDEST_SKIN * schedule.skin, widest)
        capacity = round_capacity(expected(radius))
        # Padding costs as much as pairs: better that it makes the lists last longer.
        radius = min(radius * max(capacity / (1.05 * expected(radius)), 1.0) ** (1.0 / d), widest)
        self.radius, self.kept_radius = np.asarray(radius), np.asarray(kept)
        # Where descents stand. Copied: it is handed over to the programs, which write into it.
        self.fractional = jnp.array(self.starts.fractional, copy=True)
        n_particles = n - d if isinstance(potential, Enthalpy) else n
        self.minima: Minima = no_minima(self.fractional, round_capacity(expected(kept)), n_particles)
        self.lanes = self._lanes(capacity)
        self.owner = np.full(self.width, total)
        self.fresh = np.zeros(self.width, dtype=bool)
        self.tolerance = np.full(total, schedule.hand_over)
        self.outcome = np.full(total, -1)
        names = ("evaluations", "factorisations", "saddles", "zero_modes", "rattlers")
        self.counts = {name: np.zeros(total, dtype=int) for name in names}
        self.totals = dict.fromkeys(("lane_steps", "renewals", "chunks", "groups"), 0)
        # Configurations for descents; for Newton, with the number of factors since the descent; and those that are
        # force-free but at no stable minimum.
        self.to_descend = collections.deque(range(total))
        self.to_polish: collections.deque[int] = collections.deque()
        self.factors = np.zeros(total, dtype=int)
        self.unstable: list[int] = []

    def approach(self) -> None:
        """Go to where max|F| is below that of the hand-over, whether or not there is a minimum near."""
        while True:
            self._refill()
            if not self._busy:
                return
            self._descend()

    def leave_out(self, outcomes: Int[np.ndarray, " b"]) -> None:
        """Take the outcomes of an earlier search that failed; -1 stands for none. These are not searched for again."""
        self.outcome[:] = outcomes
        self.to_descend = collections.deque(np.flatnonzero(outcomes == -1).tolist())

    def run(self) -> None:
        """Search until each configuration has its outcome."""
        self._search()
        # Leaving a saddle and pinning zero modes take all eigenvectors: not worth a program for many.
        for k in self.unstable:
            start = take_rows(at_positions(self.starts, self.fractional), k)
            search = Search(self.potential, start, self.schedule, hessian="dense")
            search.relax()
            for name in self.counts:
                self.counts[name][k] += search.counts[name]
            self.outcome[k] = int(Outcome.converged if search.outcome is None else search.outcome)
            self.fractional = self.fractional.at[k].set(search.configuration.fractional)
            if isinstance(search.factor, DenseHessian):
                self._enter(k, search.configuration, search.factor)
        rattlers = np.sum(np.asarray(self.minima.hessian.rattler), axis=1)
        self.counts["rattlers"] = np.where(self.outcome == Outcome.converged, rattlers, 0)

    def _enter(self, k: int, configuration: Configuration, factor: DenseHessian) -> None:
        """Enter a minimum that `Search` has found."""
        while True:
            self.minima, n_pairs = enter_minimum(
                (self.potential, configuration, self.kept_radius, np.asarray(k), factor), self.minima
            )
            if int(n_pairs) <= self.minima.i.shape[1]:
                return
            self.minima = _wider(self.minima, round_capacity(int(n_pairs)))

    @property
    def configuration(self) -> Configuration:
        """The particles where each search ended, in their boxes."""
        converged = jnp.asarray(self.outcome == int(Outcome.converged))
        return self._particles(
            at_positions(self.starts, select_lanes(converged, self.minima.fractional, self.fractional))
        )

    def _particles(self, configurations: Configuration) -> Configuration:
        if not isinstance(self.potential, Enthalpy):
            return configurations
        of_each: Configuration = jax.vmap(self.potential.particles)(configurations)
        return of_each

    @property
    def neighbors(self) -> PairList:
        """The pairs of each minimum."""
        lists = stacked_lists(self.minima, self.starts, jnp.full(self.total, self.kept_radius))
        # Not by the constructor, whose arrays are those of one configuration.
        of_particles: PairList = eqx.tree_at(lambda p: p.reference, lists, self._particles(lists.reference))
        return of_particles

    @property
    def hessian(self) -> DenseHessian:
        """The factored Hessian of each minimum."""
        factors: DenseHessian = self.minima.hessian
        return factors

    def _lanes(self, capacity: int) -> Lanes:
        width = self.width
        i, j = jnp.zeros((2, width, capacity), dtype=jnp.int32)
        # Copied: what is handed over to the programs must not be the caller's.
        state = jax.vmap(fire_start)(jax.tree.map(lambda x: jnp.array(x[:width], copy=True), self.starts))
        place = jnp.zeros_like(state.fractional)
        none = jnp.zeros(width, dtype=int)
        return Lanes(state, i, j, place, none, none.copy(), jnp.zeros(width, dtype=bool))

    def _search(self) -> None:
        while True:
            narrowed = self._refill()
            if self._busy:
                self._descend()
            # Whole groups; a smaller one only if those that Newton fails on can fill idle lanes.
            fewest = 1 if narrowed or not self._busy else self.group
            while len(self.to_polish) >= fewest:
                self._polish()
            if not self._busy and not self.to_descend and not self.to_polish:
                return

    @property
    def _busy(self) -> int:
        """The number of lanes that have a configuration."""
        return int(np.sum(self.owner < self.total))

    def _refill(self) -> bool:
        """Give idle lanes to the next configurations; where most would stay idle, drop lanes and return True."""
        idle = np.flatnonzero(self.owner == self.total)[: len(self.to_descend)]
        self.fresh[:] = False
        self.owner[idle] = [self.to_descend.popleft() for _ in idle]
        self.fresh[idle] = True
        narrow = self.width // NARROW
        if self.to_descend or narrow < NARROWEST or self._busy > narrow:
            return False
        kept = np.argsort(self.owner, kind="stable")[:narrow]
        self.lanes = jitted_rows(self.lanes, kept)
        self.owner, self.fresh = self.owner[kept], self.fresh[kept]
        self.width = narrow
        return True

    def _descend(self) -> None:
        """Run a chunk of steps and take the finished descents out of their lanes."""
        narrow = self.width // NARROW
        if self.to_descend:
            enough = max(self.width // IDLE_SHARE, 1)
        else:
            enough = self.width - (narrow if narrow >= NARROWEST else 0)
        own = np.minimum(self.owner, self.total - 1)
        task = Descent(
            self.potential,
            self.starts,
            self.settings,
            self.radius,
            self.owner,
            self.fresh,
            np.where(self.tolerance[own] == self.schedule.hand_over, MAX_PUSHES_IN_BATCH, 0),
            self.tolerance[own],
            np.asarray(self.schedule.max_steps),
            np.asarray(enough),
            self.schedule.longest_push,
        )
        self.lanes, self.fractional, report = descend_lanes(task, self.lanes, self.fractional)
        evaluations, pushes, n_pairs, converged, stuck, steps, renewals = np.asarray(report)
        self.totals["chunks"] += 1
        self.totals["lane_steps"] += int(np.sum(steps))
        self.totals["renewals"] += int(renewals[0])
        busy, converged, stuck = self.owner < self.total, converged != 0, stuck != 0
        overflow = busy & stuck & (n_pairs > self.lanes.i.shape[1])
        if np.any(overflow):
            self._grow_lanes(int(np.max(n_pairs[overflow])), overflow)
        broken = busy & stuck & ~overflow
        exhausted = busy & ~stuck & ~converged & (evaluations >= self.schedule.max_steps)
        converged = busy & converged
        ended = broken | exhausted | converged
        self.counts["evaluations"][self.owner[ended]] += (evaluations + pushes)[ended]
        self.outcome[self.owner[broken]] = int(Outcome.nonfinite)
        self.outcome[self.owner[exhausted]] = int(Outcome.max_steps)
        self.factors[self.owner[converged]] = 0
        self.to_polish.extend(self.owner[converged].tolist())
        self.owner[ended] = self.total

    def _grow_lanes(self, n_pairs: int, which: np.ndarray) -> None:
        """Make room for more pairs in all lanes; those whose pairs did not fit try again."""
        lanes = _wider(self.lanes, round_capacity(n_pairs))
        self.lanes = dataclasses.replace(lanes, stuck=lanes.stuck & ~jnp.asarray(which))

    def _polish(self) -> None:
        """Run Newton's steps with one factor for a group, and sort its configurations by how they ended."""
        group = [self.to_polish.popleft() for _ in range(min(self.group, len(self.to_polish)))]
        which = np.full(self.group, self.total)
        which[: len(group)] = group
        again = np.zeros(self.group, dtype=bool)
        again[: len(group)] = self.factors[group] > 0
        task = Polish(
            self.potential,
            self.starts,
            self.fractional,
            self.kept_radius,
            which,
            again,
            np.asarray(self.schedule.force_tolerance),
            self.schedule.move_cap,
            self.schedule.units.stiffness,
        )
        self.minima, report = polish_minima(task, self.minima)
        self.totals["groups"] += 1
        which = np.asarray(group)
        n_pairs, iterations, end, first, last = np.asarray(report)[:, : len(group)]
        overflow = n_pairs > self.minima.i.shape[1]
        if np.any(overflow):
            self.minima = _wider(self.minima, round_capacity(int(np.max(n_pairs))))
            self.to_polish.extendleft(which[overflow].tolist())
        self.counts["evaluations"][which[~overflow]] += iterations[~overflow]
        # Counted as in `Search`: the last factor is that of a minimum.
        self.counts["factorisations"][which[~overflow]] += 1 + (end == NewtonEnd.converged)[~overflow]
        self.factors[which[~overflow]] += 1
        settled = ~overflow & (end == NewtonEnd.converged) & (last != 0)
        self.outcome[which[settled]] = int(Outcome.converged)
        going = (end == NewtonEnd.factor_wanted) | (end == NewtonEnd.uncovered)
        further = ~overflow & going & (first != 0) & (self.factors[which] < MAX_FACTORS)
        self.to_polish.extend(which[further].tolist())
        for k in which[~overflow & ~settled & ~further].tolist():
            tolerance = self.schedule.next_hand_over(self.tolerance[k])
            if tolerance is None:
                self.unstable.append(k)
            else:
                self.tolerance[k] = tolerance
                self.to_descend.append(k)
