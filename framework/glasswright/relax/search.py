"""The search for the minimum of one packing: a loop on the host that calls compiled programs."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Literal, cast

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._jax import fast_jit
from ..components.protocol import Outcome
from ..physics.configuration import Configuration, box_width, check_box_width
from ..physics.hessian import AbstractFactoredHessian, AbstractHessian, factor_hessian, factor_pinning_zero_modes
from ..physics.pair_list import PairList, build_pair_list
from ..physics.pair_potential import AbstractPairPotential
from ..physics.potential import AbstractPotential
from .enthalpy import (
    Enthalpy,
    EnthalpyHessian,
    enthalpy_hessian,
    largest_move,
    leave_box_saddle,
    particles_of,
    tolerance_of,
)
from .fire import fire, fire_start
from .newton import NewtonEnd, newton_steps
from .push_apart import push_apart
from .saddle import leave_along, leave_saddle
from .schedule import MAX_FACTORS, MAX_PUSHES, MAX_SADDLES, WIDEST_SKIN, QuenchSchedule
from .spline_table import DescentKind, SplineTable, table_for_descent

# How the Hessian of a packing is held: factored as a dense or as a sparse matrix, or known by its products alone.
HessianKind = Literal["dense", "sparse", "matrix_free"]
# Native descents go to this share of the force at which Newton takes over; XLA's go on from there.
NATIVE_SHARE = 0.01

_factor_hessian = fast_jit(factor_hessian)
_factor_pinning_zero_modes = fast_jit(factor_pinning_zero_modes)


class Search:
    """The search for the minimum that a start belongs to.

    `relax` descends from anywhere, `follow` goes to the near minimum of a slightly different potential. Afterwards
    either `factor` is set, or `outcome` says why there is no minimum. With an `Enthalpy` for the potential, the box is
    relaxed as well; configurations are extended ones then, and `packing` are the particles.

    **Arguments:**

    - `schedule`: tolerances and limits.
    - `hessian`: how Hessians are held. Those that are known by their products alone (`matrix_free`) cannot be factored,
      and FIRE descends all the way.
    - `descent`: which loop descends (`table_for_descent`).
    - `like`: a pair list whose capacity is kept where it is of use, so that no program is compiled anew.

    **Attributes:**

    - `configuration`: where the search stands.
    - `factor`: the factored Hessian of the minimum, of the particles at fixed box; None until there is one.
    - `outcome`: why the search failed; None unless it did. A start or cutoff that is not finite is `nonfinite` at once.
    - `counts`: force evaluations, factorisations, saddles left, zero modes pinned, rattlers; `native`, where there is
      a native descent: those of the evaluations that are its own.
    """

    def __init__(
        self,
        potential: AbstractPotential,
        start: Configuration,
        schedule: QuenchSchedule,
        *,
        hessian: HessianKind,
        descent: DescentKind = "xla",
        like: PairList | None = None,
    ):
        self.potential, self.start, self.schedule, self.kind = potential, start, schedule, hessian
        self.descent: DescentKind = descent
        self.configuration = start
        self.factor: AbstractHessian | None = None
        self.outcome: Outcome | None = None
        self.counts = {"evaluations": 0, "factorisations": 0, "saddles": 0, "zero_modes": 0, "rattlers": 0}
        self.uses_newton = hessian != "matrix_free" and schedule.method == "newton"
        self._cutoff = float(potential.reach(start))
        self._neighbors: PairList | None = None
        # Where the pair list was made, if this search has made it.
        self._listed: Configuration | None = None
        # No pair list holds the pairs of what is not a number; infinite cutoffs are refused below.
        if np.isnan(self._cutoff) or not all(np.all(np.isfinite(x)) for x in (start.fractional, start.box)):
            self.outcome = Outcome.nonfinite
        else:
            check_box_width(start.box, np.asarray(self._cutoff), f"a packing of {start.n_particles} particles")
            if like is not None:
                self._neighbors = like
                self._renew_neighbors()

    def again(self) -> "Search":
        """A new search from the same start that keeps the pair list and goes on counting."""
        search = Search(self.potential, self.start, self.schedule, hessian=self.kind, descent=self.descent)
        search._neighbors, search.counts = self._neighbors, self.counts
        return search

    @property
    def packing(self) -> Configuration:
        """The particles where the search stands, in their box."""
        return self._particles_of(self.configuration)

    def approach(self, tolerance: float) -> None:
        """Go from anywhere to where max|F| < `tolerance`, whether or not there is a minimum near."""
        if self.outcome is None:
            self._push_apart()
            self._descend_to(tolerance)

    def relax(self) -> None:
        """Go from anywhere to a minimum."""
        if self.outcome is not None:
            return
        self._push_apart()
        for _ in range(MAX_SADDLES):
            self._descend()
            if self.outcome is not None or self.factor is not None:
                return
            self.counts["saddles"] += 1
            self._leave_saddle()
        self.outcome = Outcome.unstable

    def follow(self, neighbors: PairList, factor: AbstractHessian, limit: float) -> bool:
        """Go from the minimum of a slightly different potential to the near one; whether it is the same packing.

        `neighbors` and `factor` are those of the start, `limit` is the length of a move that counts as rearranging.
        """
        if self.outcome is not None:
            return False
        self._neighbors = neighbors
        if not isinstance(factor, AbstractFactoredHessian):
            return self._newton() and self.moved() < limit
        near = self._with_box(factor) if isinstance(self.potential, Enthalpy) else factor
        return self._newton(near) and self.moved() < limit

    def neighbors(self) -> PairList:
        """The pair list, made at first use."""
        return self._renew_neighbors() if self._neighbors is None else self._neighbors

    def hessian(self) -> AbstractHessian:
        """The Hessian of where the search stands, at fixed box: factored, or known by its products."""
        if self.kind != "matrix_free":
            return self._factorise_particles()
        from ..physics.adjoint import MatrixFreeHessian  # Slow to load, and seldom needed.

        return MatrixFreeHessian(
            self.of_particles, self.packing, self.neighbors(), stiffness=self.schedule.units.stiffness
        )

    def hessian_of_minimum(self, neighbors: PairList) -> AbstractHessian:
        """The Hessian of the start, which is a minimum, from this pair list, as a search that ends there leaves it."""
        self._neighbors = neighbors
        self._accept()
        return self.hessian() if self.factor is None else self.factor

    def moved(self) -> float:
        """The largest distance of a particle from its start, apart from a drift of all, in units of length."""
        return largest_move(self.potential, self.start, self.configuration)

    @functools.cached_property
    def _table(self) -> SplineTable | None:
        return table_for_descent(self.potential, self.start, self.descent)

    @property
    def of_particles(self) -> AbstractPotential:
        """The energy of the particles at fixed box."""
        return self.potential.potential if isinstance(self.potential, Enthalpy) else self.potential

    def _particles_of(self, configuration: Configuration) -> Configuration:
        if not isinstance(self.potential, Enthalpy):
            return configuration
        packing: Configuration = particles_of(self.potential, configuration)
        return packing

    def _with_box(self, hessian: AbstractHessian) -> EnthalpyHessian:
        """The factored Hessian of the enthalpy, from that of the particles."""
        assert isinstance(self.potential, Enthalpy)
        with_box: EnthalpyHessian = enthalpy_hessian(self.potential, hessian, self.configuration, self.neighbors())
        return with_box

    def _renew_neighbors(self) -> PairList:
        """A pair list for where the search stands, with as wide a skin as the last list's capacity has room for."""
        last, skin = self._neighbors, self.schedule.skin
        packing, self._listed = self.packing, self.configuration
        if last is None:
            self._neighbors = build_pair_list(packing, self._cutoff + skin)
        else:
            # Padding costs as much as pairs: better that it makes the list last longer.
            room = 0.97 * last.capacity / max(int(last.n_pairs), 1)
            radius = float(last.radius) * room ** (1.0 / self.start.dimension)
            radius = min(max(radius, self._cutoff + skin), self._cutoff + WIDEST_SKIN * skin)
            self._neighbors = build_pair_list(packing, radius, last.capacity)
        return self._neighbors

    def _push_apart(self) -> None:
        """Push particles apart that lie on top of each other, if that makes them much stiffer than most."""
        if not isinstance(self.potential, AbstractPairPotential):
            return
        for _ in range(MAX_PUSHES):
            fractional, steps = push_apart(
                self.potential,
                self.configuration,
                self.neighbors(),
                np.asarray(MAX_PUSHES),
                self.schedule.longest_push,
            )
            if int(steps) == 0:
                return
            self.counts["evaluations"] += int(steps)
            self.configuration = dataclasses.replace(self.configuration, fractional=fractional)
            self._renew_neighbors()

    def _descend(self) -> None:
        """Go to a force-free point; `factor` is set if it is a minimum."""
        if not self.uses_newton:
            self._descend_to(self.schedule.force_tolerance)
            if self.outcome is None:
                self._accept()
            return
        # A sparse factor takes as long as hundreds of native evaluations.
        share = NATIVE_SHARE if self.kind == "sparse" and self._table is not None else 1.0
        tolerance: float | None = share * self.schedule.hand_over
        while tolerance is not None:
            self._descend_to(tolerance)
            at_hand_over = self.configuration
            if self.outcome is not None or self._newton():
                return
            self.configuration = at_hand_over
            tolerance = self.schedule.next_hand_over(tolerance)
        self._pin_zero_modes()

    def _accept(self) -> None:
        """Take the Hessian of where the search stands, if it is a minimum."""
        hessian = self.hessian()
        # Without a factor, stable by assumption: a descent that has converged found a minimum, and products alone show
        # nothing else.
        if isinstance(hessian, AbstractFactoredHessian) and not bool(hessian.is_stable):
            self._pin_zero_modes()
        elif self._box_is_stable(hessian):
            self.factor = hessian

    def _box_is_stable(self, hessian: AbstractHessian) -> bool:
        """Whether strains raise the enthalpy, where the box is free."""
        if not isinstance(self.potential, Enthalpy):
            return True
        return bool(self._with_box(hessian).response.is_stable)

    def _leave_saddle(self) -> None:
        """Go downhill from a force-free point that is no minimum."""
        distance = np.asarray(self.schedule.saddle_step)
        if not isinstance(self.potential, Enthalpy):
            self.configuration = self._left_saddle(self.configuration)
            return
        packing, neighbors = self.packing, self.neighbors()
        hessian: AbstractHessian = self.hessian()
        if isinstance(hessian, AbstractFactoredHessian) and not bool(hessian.is_stable):
            hessian, _ = self._factorise_pinning_zero_modes()
        if not isinstance(hessian, AbstractFactoredHessian) or bool(hessian.is_stable):
            # It is the box that gives way.
            self.configuration = leave_box_saddle(
                self.potential, self.configuration, neighbors, self._with_box(hessian), distance
            )
        else:
            packing = self._left_saddle(packing)
            rows = self.configuration.fractional[-packing.dimension :]
            fractional = jnp.concatenate([packing.fractional, rows])
            self.configuration = dataclasses.replace(self.configuration, fractional=fractional)

    def _pin_zero_modes(self) -> None:
        """Take the Hessian of a force-free point that Cholesky refused, if only zero modes made it do so."""
        factor, zero_modes = self._factorise_pinning_zero_modes()
        self.counts["factorisations"] += 1
        if bool(factor.is_stable) and self._box_is_stable(factor):
            self.factor = factor
            self.counts["zero_modes"] = int(zero_modes)

    def _factorise(self) -> AbstractFactoredHessian | EnthalpyHessian:
        """The factored Hessian of what is minimised, where the search stands."""
        hessian = self._factorise_particles()
        return self._with_box(hessian) if isinstance(self.potential, Enthalpy) else hessian

    def _factorise_particles(self) -> AbstractFactoredHessian:
        """The factored Hessian of the particles at fixed box."""
        self.counts["factorisations"] += 1
        function: Callable[..., AbstractFactoredHessian] = _factor_hessian
        if self.kind == "sparse":
            # Here and below: SciPy is imported where somebody needs it, and not wherever there are components.
            from ..physics.sparse_hessian import factor_sparse_hessian as function
        return function(self.of_particles, self.packing, self.neighbors(), self.schedule.units.stiffness)

    def _factorise_pinning_zero_modes(self) -> tuple[AbstractFactoredHessian, Array | int]:
        """The same, with zero modes pinned, and their number."""
        function: Callable[..., tuple[AbstractFactoredHessian, Array | int]] = _factor_pinning_zero_modes
        if self.kind == "sparse":
            from ..physics.sparse_hessian import factor_sparse_pinning_zero_modes as function
        return function(self.of_particles, self.packing, self.neighbors(), self.schedule.units.stiffness)

    def _left_saddle(self, packing: Configuration) -> Configuration:
        """The particles after a step downhill along their softest mode."""
        here = self.of_particles, packing, self.neighbors()
        distance, stiffness = np.asarray(self.schedule.saddle_step), self.schedule.units.stiffness
        if self.kind == "sparse":
            from ..physics.sparse_hessian import softest_mode

            return leave_along(*here, softest_mode(*here, stiffness), distance)
        left: Configuration = leave_saddle(*here, distance, stiffness)
        return left

    def _descend_to(self, tolerance: float) -> None:
        """Descend to max|F| < `tolerance`: natively as far as tables reach, where that is asked for."""
        least = NATIVE_SHARE * self.schedule.hand_over
        if self._table is not None:
            from .native import descend_natively  # Numba takes a while to import.

            end = descend_natively(self._table, self.configuration, self.schedule, max(tolerance, least))
            # The pair list is that of where the descent began.
            self.configuration, self.outcome, self._neighbors = end.configuration, end.outcome, None
            self.counts["evaluations"] += end.evaluations
            self.counts["native"] = self.counts.get("native", 0) + end.evaluations
        if self.outcome is None and (self._table is None or tolerance < least):
            self._fire(tolerance)

    def _fire(self, tolerance: float) -> None:
        """FIRE to max|F| < `tolerance`, renewing the pair list as often as needed."""
        settings = self.schedule.fire_settings
        # NumPy's numbers here and below: making device arrays of the host's is slower.
        limits = np.asarray(tolerance), np.asarray(self.schedule.max_steps)
        state = fire_start(self.configuration)
        while True:
            current = self._neighbors is not None and (
                self._neighbors.reference is self.configuration or self._listed is self.configuration
            )
            neighbors = self.neighbors() if current else self._renew_neighbors()
            before = int(state.evaluations)
            state = fire(self.potential, self.configuration, neighbors, state, settings, *limits)
            self.configuration = dataclasses.replace(self.configuration, fractional=cast(Array, state.fractional))
            if bool(state.covered):
                break
            if int(state.evaluations) == before or not np.all(np.isfinite(state.fractional)):
                # No list covers what is not a number, and without a step the next one would do no better.
                self.outcome = Outcome.narrow_box if self.is_narrow() else Outcome.nonfinite
                return
        self.counts["evaluations"] += int(state.evaluations)
        if not bool(state.converged):
            self.outcome = Outcome.max_steps

    def _tolerance(self) -> Float[np.ndarray, ""]:
        """The force tolerance, as derivatives of what is minimised are compared with it."""
        tolerance = np.asarray(self.schedule.force_tolerance)
        if isinstance(self.potential, Enthalpy):
            tolerance = np.asarray(tolerance_of(self.potential, self.configuration, tolerance))
        return tolerance

    def is_narrow(self) -> bool:
        """Whether a box that is free has become narrower than twice the cutoff."""
        free = isinstance(self.potential, Enthalpy)
        return free and not float(box_width(self.packing.box)) >= 2.0 * self._cutoff * (1.0 - 1e-9)

    def _newton(self, factor: AbstractFactoredHessian | EnthalpyHessian | None = None) -> bool:
        """Newton from here, with the factor of somewhere near if one is given; whether it ends at a stable minimum."""
        age = 1
        for _ in range(MAX_FACTORS):
            if factor is None:
                factor, age = self._factorise(), 0
            if not bool(factor.is_stable):
                return False
            tolerance = self._tolerance()
            state = newton_steps(
                self.potential,
                self.configuration,
                self.neighbors(),
                tolerance,
                factor,
                np.asarray(age),
                self.schedule.move_cap,
            )
            self.counts["evaluations"] += int(state.iterations)
            self.configuration = dataclasses.replace(self.configuration, fractional=state.fractional)
            end = NewtonEnd(int(state.end))
            if end == NewtonEnd.converged:
                # The factor of where the steps started serves on only if there were none.
                if age != 0 or int(state.iterations) != 0:
                    factor = self._factorise()
                if bool(factor.is_stable):
                    self.factor = factor.hessian if isinstance(factor, EnthalpyHessian) else factor
                return bool(factor.is_stable)
            if end == NewtonEnd.stalled:
                return False
            if end == NewtonEnd.uncovered:
                # The factor stays good: it is the list that was left behind.
                self._renew_neighbors()
                age = 1
            else:
                factor = None
        return False
