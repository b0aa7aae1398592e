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

import jax
import jax.numpy as jnp
import numpy as np

from ..components.protocol import Outcome, Prepared
from ..physics.configuration import Configuration, box_width
from ..physics.hessian import DenseHessian
from ..physics.pair_list import PairList, round_capacity
from ..physics.potential import AbstractPotential
from .fire import FireSettings, fire_start
from .lanes import (
    Descent,
    Lanes,
    Polish,
    at_positions,
    descend_lanes,
    enter_minimum,
    jitted_rows,
    no_minima,
    polish_minima,
    select_lanes,
    take_rows,
)
from .newton import NewtonEnd

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


def _wider(lists, capacity: int):
    """Lanes or minima with room for more pairs."""
    more = ((0, 0), (0, capacity - lists.i.shape[1]))
    return dataclasses.replace(lists, i=jnp.pad(lists.i, more), j=jnp.pad(lists.j, more))


class Relaxation:
    """The minima that many starts belong to: the state of the host's loop.

    FIRE to `hand_over`, then Newton; those that Newton loses go back to FIRE, to a hundredth of that force, and so on.
    What is left then is force-free, but on a saddle or with zero modes: `rescue` prepares it, each by itself.

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
        cutoff = float(jnp.max(jax.vmap(potential.reach)(self.starts)))
        box = np.asarray(starts.box)
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
        self.minima = no_minima(self.fractional, round_capacity(expected(kept)))
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
            prepared = self.rescue(take_rows(at_positions(self.starts, self.fractional), k))
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
            self.minima, n_pairs = enter_minimum(
                (prepared.configuration, self.kept_radius, np.asarray(k), hessian), self.minima
            )
            if int(n_pairs) <= self.minima.i.shape[1]:
                return
            self.minima = _wider(self.minima, round_capacity(int(n_pairs)))

    @property
    def configuration(self) -> Configuration:
        """Where each search ended."""
        found = jnp.asarray(self.outcome == int(Outcome.converged))
        return at_positions(self.starts, select_lanes(found, self.minima.fractional, self.fractional))

    @property
    def neighbors(self) -> PairList:
        """The pairs of each minimum."""
        m = self.minima
        radius = jnp.full(self.total, self.kept_radius)
        return PairList(m.i, m.j, at_positions(self.starts, m.reference), radius, m.n_pairs)

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
        self.lanes = jitted_rows(self.lanes, kept)
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
        task = Descent(
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
        task = Polish(
            self.potential,
            self.starts,
            self.fractional,
            self.kept_radius,
            which,
            again,
            np.asarray(self.force_tolerance),
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
