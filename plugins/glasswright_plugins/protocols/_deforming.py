"""The search for the minima and events of a quasistatic deformation: a loop on the host."""

import dataclasses

import glasswright as gw
import jax.numpy as jnp
import numpy as np
from glasswright.neighbors import PairList, build_pair_list, round_capacity
from glasswright.relax import Curve, CurveEnd, HessianKind, QuenchSchedule, Search, fast_jit
from jaxtyping import Array, Float

# A minimum at the next strain is on the same branch if particles moved as their velocities at both ends say, to this
# share of the motion, and if the energy changed as the stresses at both ends say, to this share of what a strain costs.
MOTION_ERROR, ENERGY_ERROR = 0.2, 0.02
# Displacement along the soft mode that a packing leaves a fold with, of the particle that moves most, in units of
# length. The force there has to be one that FIRE does not take for none.
KICK = 1e-2
# A minimum that is left without a fold is left at a strain that is larger by this share of the step.
OVERSHOOT = 1e-3


@dataclasses.dataclass(frozen=True)
class Minimum:
    """A minimum under strain: where it is, and how it goes on.

    - `velocity`: change of its fractional coordinates per unit of strain.
    - `slope`, `curvature`: first and second derivative of its energy in the strain.
    """

    strain: float
    fractional: np.ndarray
    velocity: np.ndarray
    energy: float
    slope: float
    curvature: float
    neighbors: PairList
    hessian: gw.AbstractHessian


@dataclasses.dataclass(frozen=True)
class Event:
    """Where a minimum ended (see `CurvePoint`), and the minimum `landed` that the packing went to."""

    strain: float
    fractional: np.ndarray
    mode: np.ndarray
    is_fold: bool
    landed: np.ndarray


@fast_jit
def _rates(
    potential: gw.AbstractPotential,
    packing: gw.Configuration,
    neighbors: PairList,
    hessian: gw.AbstractHessian,
    rate: Float[Array, "d d"],
) -> tuple[Array, Array, Array, Array]:
    """Energy, its first two derivatives along the branch, and the velocity of a minimum under a growing strain."""
    energy, _, virial = potential.energy_gradient_and_virial(packing, neighbors)
    force = -potential.strain_gradient(packing, neighbors, rate[None])
    response = hessian.solve(force)
    curvature = potential.second_variation(packing, neighbors, rate[None], response)[0, 0]
    velocity = response[0] @ jnp.linalg.inv(packing.box).T
    return energy, jnp.sum(virial * rate), curvature, velocity


def strained_packing(
    configuration: gw.Configuration, direction: Float[np.ndarray, "d d"], fractional: np.ndarray, strain: float
) -> gw.Configuration:
    """The particles of a configuration at other fractional coordinates, in its box under a strain."""
    packing = dataclasses.replace(configuration, fractional=jnp.asarray(fractional))
    return packing.strained(jnp.asarray(strain * direction))


class DeformationFailed(Exception):
    """The packing could not be followed; `outcome` says why."""

    def __init__(self, outcome: gw.Outcome):
        super().__init__(outcome.name)
        self.outcome = outcome


class Deforming:
    """Quasistatic deformation of one packing, from its minimum without strain.

    **Arguments:**

    - `potential`, `configuration`: the interactions and the minimum without strain, in its box.
    - `direction`: what is multiplied by the strain.
    - `schedule`: tolerances, in the user's units.
    - `kind`: how Hessians are held.

    **Attributes:**

    - `events`: those so far.
    - `counts`: force evaluations, factorisations, points of curves that were followed to their folds.
    """

    def __init__(
        self,
        potential: gw.AbstractPotential,
        configuration: gw.Configuration,
        direction: Float[np.ndarray, "d d"],
        schedule: QuenchSchedule,
        kind: HessianKind,
        neighbors: PairList,
        hessian: gw.AbstractHessian,
    ):
        self.potential, self.configuration, self.direction = potential, configuration, direction
        self.schedule, self.kind = schedule, kind
        self.events: list[Event] = []
        self.counts = {"evaluations": 0, "factorisations": 0, "curve_points": 0}
        self._capacity: int | None = None
        self.minimum = self._described(np.asarray(configuration.fractional), 0.0, neighbors, hessian)

    def advance(self, strain: float, most_events: int) -> None:
        """Go to a larger strain, through every event before it, as long as there are no more than `most_events`."""
        while self.minimum.strain < strain and len(self.events) <= most_events:
            there = self._on_branch(self.minimum, strain)
            if there is not None:
                self.minimum = there
                return
            self._walk(strain)

    def _walk(self, strain: float) -> None:
        """Follow the branch to its end or to a strain, whichever comes first, and go on to where it leads."""
        here = self.minimum
        curve = Curve(
            self.potential,
            self.configuration,
            self.direction,
            self.schedule.units,
            self.schedule.force_tolerance,
            self._capacity,
        )
        end = curve.follow(here.fractional, here.strain, here.velocity, strain)
        self._capacity = curve.capacity
        self.counts["curve_points"] += curve.evaluations
        if end.end == CurveEnd.reached:
            landed = self._relaxed(end.fractional, strain, follow=True)
            if landed is not None:
                self.minimum = landed
                return
        at = end.strain
        if end.end == CurveEnd.fold:
            start = end.fractional + end.mode * (KICK * self.schedule.units.length / self._largest(end.mode))
        else:
            start, at = end.fractional, min(end.strain + OVERSHOOT * (strain - here.strain), strain)
        landed = self._relaxed(start, at)
        assert landed is not None
        if end.end == CurveEnd.fold or self._has_left(here, landed):
            is_fold = end.end == CurveEnd.fold
            self.events.append(Event(at, end.fractional, end.mode, is_fold, landed.fractional))
        self.minimum = landed

    def _on_branch(self, here: Minimum, strain: float) -> Minimum | None:
        """The minimum at another strain, if it certainly belongs to the same branch."""
        step = strain - here.strain
        there = self._relaxed(here.fractional + step * here.velocity, strain, follow=True, near=here)
        return None if there is None or self._has_left(here, there) else there

    def _has_left(self, here: Minimum, there: Minimum) -> bool:
        """Whether two minima at different strains do not belong to one branch."""
        step = there.strain - here.strain
        moved = there.fractional - here.fractional
        moved = (moved - moved.mean(axis=0)) @ np.asarray(self.configuration.box).T
        expected = 0.5 * step * (here.velocity + there.velocity) @ np.asarray(self.configuration.box).T
        size = np.linalg.norm(moved) + np.linalg.norm(expected)
        if not np.linalg.norm(moved - expected) <= 0.5 * MOTION_ERROR * size:
            return True
        # Integrated by the formula of Hermite, which is exact for a cubic stress.
        work = 0.5 * step * (here.slope + there.slope) + step**2 / 12.0 * (here.curvature - there.curvature)
        cost = 0.5 * step**2 * max(abs(here.curvature), abs(there.curvature))
        return not abs(there.energy - here.energy - work) <= ENERGY_ERROR * cost

    def _relaxed(
        self, fractional: np.ndarray, strain: float, *, follow: bool = False, near: Minimum | None = None
    ) -> Minimum | None:
        """The minimum near a point; with `follow`, None if Newton's method does not go to one.

        Raises `DeformationFailed` where a descent fails.
        """
        start = strained_packing(self.configuration, self.direction, fractional, strain)
        last = self.minimum if near is None else near
        search = Search(self.potential, start, self.schedule, hessian=self.kind, like=last.neighbors)
        if follow:
            factor = last.hessian if near is not None else search.hessian()
            if near is None and not bool(factor.is_stable):  # type: ignore[attr-defined]
                return None
            if not search.follow(search.neighbors(), factor, np.inf):
                self._count(search)
                return None
        else:
            search.relax()
        self._count(search)
        if search.factor is None:
            raise DeformationFailed(search.outcome or gw.Outcome.unstable)
        where = np.asarray(search.configuration.fractional)
        return self._described(where, strain, search.neighbors(), search.factor)

    def _count(self, search: Search) -> None:
        for name in ("evaluations", "factorisations"):
            self.counts[name] += search.counts[name]

    def _described(
        self, fractional: np.ndarray, strain: float, neighbors: PairList, hessian: gw.AbstractHessian
    ) -> Minimum:
        """A minimum with its derivatives in the strain."""
        packing = strained_packing(self.configuration, self.direction, fractional, strain)
        rate = self.direction @ np.linalg.inv(np.eye(len(self.direction)) + strain * self.direction)
        energy, slope, curvature, velocity = _rates(self.potential, packing, neighbors, hessian, jnp.asarray(rate))
        return Minimum(
            strain,
            fractional,
            np.asarray(velocity),
            float(energy),
            float(slope),
            float(curvature),
            neighbors,
            hessian,
        )

    def _largest(self, mode: np.ndarray) -> float:
        """The largest displacement of a particle in a mode of fractional coordinates, in units of length."""
        return float(np.max(np.linalg.norm(mode @ np.asarray(self.configuration.box).T, axis=1)))


def all_pairs(
    potential: gw.AbstractPotential,
    configuration: gw.Configuration,
    direction: Float[np.ndarray, "d d"],
    points: list[tuple[float, np.ndarray]],
) -> PairList:
    """Every pair that interacts at any of the points (strain and fractional coordinates) of a deformation."""
    n, reach = configuration.n_particles, float(potential.reach(configuration))
    numbers = np.zeros(0, dtype=np.int64)
    for strain, fractional in points:
        pairs = build_pair_list(strained_packing(configuration, direction, fractional, strain), reach)
        count = int(pairs.n_pairs)
        first, second = np.asarray(pairs.i[:count]), np.asarray(pairs.j[:count])
        numbers = np.union1d(numbers, first.astype(np.int64) * n + second)
    i, j = np.zeros((2, round_capacity(len(numbers))), dtype=np.int32)
    i[: len(numbers)], j[: len(numbers)] = numbers // n, numbers % n
    return PairList(
        i=jnp.asarray(i),
        j=jnp.asarray(j),
        reference=configuration,
        radius=jnp.asarray(reach),
        n_pairs=jnp.asarray(len(numbers)),
    )
