import dataclasses
from typing import Literal

import equinox as eqx
import glasswright as gw
import jax
import jax.numpy as jnp
import numpy as np
from glasswright.neighbors import PairList, build_pair_list
from glasswright.relax import (
    PAPER_SETTINGS,
    FireSettings,
    NewtonEnd,
    factor_hessian,
    factor_pinning_zero_modes,
    fast_jit,
    fire,
    fire_start,
    leave_saddle,
    newton_steps,
    push_apart,
)
from glasswright.relax.batch import Relaxation

# Assembling and factoring cost n² memory and n³ time: 200 MB and about two seconds at 5000 coordinates, where solving
# with products alone takes as long and says nothing about stability.
DENSE_LIMIT = 5000
# Newton near a minimum needs two or three; more mean that it is not near one.
MAX_FACTORS = 12
# How often a search may come to rest on a saddle before it is given up.
MAX_SADDLES = 8
# Rounds of parting particles, and steps in each.
MAX_PUSHES = 200
# Pair lists are made wider than asked for where there is room, up to so many skins.
WIDEST_SKIN = 2.0

_factor_hessian = fast_jit(factor_hessian)


def _elastically_stable(potential, configuration: gw.Configuration, memory: "Memory"):
    """Whether no strain lowers the energy of a minimum."""
    state = gw.attach_equilibrium(potential, configuration, memory.neighbors, memory.hessian)
    return gw.eigenmoduli(state.elastic_tensor)[0] > 0.0


_is_elastically_stable = fast_jit(_elastically_stable)


@fast_jit
def _are_elastically_stable(potential, configurations: gw.Configuration, memories: "Memory"):
    """The same for many minima, stacked."""
    return jax.vmap(lambda one, memory: _elastically_stable(potential, one, memory))(configurations, memories)


_factor_pinning_zero_modes = fast_jit(factor_pinning_zero_modes)


@fast_jit
def _largest_move(start: gw.Configuration, end: gw.Configuration):
    shift = end.position - start.position
    return jnp.max(jnp.linalg.norm(shift - jnp.mean(shift, axis=0), axis=1))


class Memory(eqx.Module):
    """What a quench keeps of a minimum: `attach` and `follow` use its pairs and its Hessian again."""

    neighbors: PairList
    hessian: gw.AbstractHessian


class Quench(gw.AbstractProtocol):
    """Athermal quench: relaxation at fixed box to the minimum of the energy that the start belongs to.

    FIRE 2.0 runs until max|F| falls below `hand_over`; guarded Newton steps finish. Where those lose the basin (Hessian
    not positive definite, no progress), FIRE goes on to a hundredth of that force, and so on. The minimiser is part of
    the ensemble's definition: `method=fire` is the paper's, without the constant inside its norm.

    Source: Zu & Goodrich, Commun. Mater. 5 (2024), Methods; docs/physics.md.

    **Arguments:**

    - `method`: `newton` (FIRE, then Newton) or `fire` (the paper's FIRE all the way).
    - `force_tolerance`: largest force component of an accepted minimum, in energy per length.
    - `hand_over`: force at which Newton takes over.
    - `max_steps`: most force evaluations of FIRE.
    - `skin`: least width added to the cutoff in pair lists, in units of length.
    - `follow_limit`: a particle that moves further than this in one step of the design has rearranged.
    - `hessian`: `dense` (factored once), `matrix_free` (conjugate gradients), or `auto`: dense for pair potentials of
      up to 5000 coordinates.
    - `stability`: what a minimum has to be stable against: `fixed_box`, motions of the particles in their box, as in
      the paper; `elastic`, strains of the box as well (all `eigenmoduli` positive), without which Poisson's ratio has
      no bounds and its mean need not exist. A packing that is not counts as `unstable`.
    """

    method: Literal["newton", "fire"] = "newton"
    force_tolerance: float = 1e-12
    hand_over: float = 1e-4
    max_steps: int = 200_000
    skin: float = 0.3
    follow_limit: float = 0.1
    hessian: Literal["auto", "dense", "matrix_free"] = "auto"
    stability: Literal["fixed_box", "elastic"] = "fixed_box"

    provides = gw.Equilibrium

    def __check_init__(self) -> None:
        for name in ("force_tolerance", "hand_over", "max_steps", "skin", "follow_limit"):
            value = getattr(self, name)
            if not 0.0 < value < float("inf"):
                raise ValueError(f"quench({name}={value}): must be positive and finite.")

    def prepare(self, potential, start, *, key=None):
        """Relax to a minimum."""
        search = _Search(self, potential, start)
        search.relax()
        return search.prepared()

    def prepare_many(self, potential, starts, *, width):
        """Relax many starts side by side; None where they need another method than FIRE and Newton on dense Hessians.

        Which minimum a start leads to can differ from what `prepare` finds: rounding does, and quenching is chaotic.
        """
        if not _Search(self, potential, jax.tree.map(lambda x: x[0], starts)).uses_newton:
            return None
        relaxation = Relaxation(
            potential,
            starts,
            width=width,
            force_tolerance=self.force_tolerance,
            hand_over=self.hand_over,
            max_steps=self.max_steps,
            max_pushes=5 * MAX_PUSHES,
            skin=self.skin,
            rescue=lambda configuration: self.prepare(potential, configuration),
        )
        relaxation.run()
        memory = Memory(relaxation.neighbors, relaxation.hessian)
        outcome = np.asarray(relaxation.outcome)
        if self.stability == "elastic":
            stable = np.asarray(_are_elastically_stable(potential, relaxation.configuration, memory))
            outcome = np.where((outcome == gw.Outcome.converged) & ~stable, gw.Outcome.unstable, outcome)
        return gw.Prepared(relaxation.configuration, outcome, relaxation.counts, memory)

    def follow(self, potential, previous, *, key=None):
        """The same minimum after a small change of the potential; a new quench from there where it is lost."""
        start = previous.configuration
        if not previous.accepted:
            # The same search from the same place would end the same way.
            key = jax.random.key(0) if key is None else key
            start = start.moved(1e-2 * jax.random.normal(key, start.fractional.shape))
            return self.prepare(potential, start, key=key)
        search = _Search(self, potential, start)
        followed = search.uses_newton and search.follow(previous.memory)
        if not followed:
            search = search.again()
            search.relax()
        lost = search.uses_newton and not followed
        rearranged = not followed and search.moved() >= self.follow_limit
        return search.prepared(lost=int(lost), rearranged=int(rearranged))

    def remember(self, potential, configuration):
        """Pairs and Hessian, from the configuration alone."""
        search = _Search(self, potential, configuration)
        return Memory(search.pairs(), search.factor() if search.dense else search.products())

    def attach(self, potential, prepared):
        """The minimum with its linear response, and its derivative by the implicit function theorem."""
        memory = prepared.memory
        return gw.attach_equilibrium(potential, prepared.configuration, memory.neighbors, memory.hessian)


class _Search:
    """One search for a minimum: the state of the host's loop."""

    def __init__(self, protocol: Quench, potential: gw.AbstractPotential, start: gw.Configuration):
        self.protocol, self.potential, self.start = protocol, potential, start
        self.configuration = start
        self.neighbors: PairList | None = None
        self.hessian: gw.AbstractHessian | None = None
        self.outcome: gw.Outcome | None = None
        self.counts = {"evaluations": 0, "factorisations": 0, "saddles": 0, "zero_modes": 0, "rattlers": 0}
        self.tolerance = protocol.force_tolerance
        self.cutoff = float(potential.reach(start))
        pairwise = isinstance(potential, gw.AbstractPairPotential)
        self.dense = protocol.hessian == "dense" or (
            protocol.hessian == "auto" and pairwise and start.fractional.size <= DENSE_LIMIT
        )
        self.uses_newton = self.dense and protocol.method == "newton"

    def again(self) -> "_Search":
        """A new search from the same start, that goes on counting."""
        search = _Search(self.protocol, self.potential, self.start)
        search.neighbors, search.counts = self.neighbors, self.counts
        return search

    def pairs(self) -> PairList:
        """The pair list, made at first use."""
        return self.renew_pairs() if self.neighbors is None else self.neighbors

    def renew_pairs(self) -> PairList:
        """A pair list for where the search stands, with as wide a skin as the last list's capacity has room for."""
        last, skin = self.neighbors, self.protocol.skin
        if last is None:
            self.neighbors = build_pair_list(self.configuration, self.cutoff + skin)
        else:
            # Padding costs as much as pairs: better that it makes the list last longer.
            room = 0.97 * last.capacity / max(int(last.n_pairs), 1)
            radius = float(last.radius) * room ** (1.0 / self.start.dimension)
            radius = min(max(radius, self.cutoff + skin), self.cutoff + WIDEST_SKIN * skin)
            self.neighbors = build_pair_list(self.configuration, radius, last.capacity)
        return self.neighbors

    def push_apart(self) -> None:
        """Part particles that lie on top of each other, if that makes them much stiffer than most."""
        if not isinstance(self.potential, gw.AbstractPairPotential):
            return
        for _ in range(MAX_PUSHES):
            fractional, steps = push_apart(self.potential, self.configuration, self.pairs(), np.asarray(MAX_PUSHES))
            if int(steps) == 0:
                return
            self.counts["evaluations"] += int(steps)
            self.configuration = dataclasses.replace(self.configuration, fractional=fractional)
            self.renew_pairs()

    def relax(self) -> None:
        """From anywhere to a minimum."""
        self.push_apart()
        for _ in range(MAX_SADDLES):
            self.descend()
            if self.outcome is not None or self.hessian is not None:
                return
            self.counts["saddles"] += 1
            self.configuration = leave_saddle(self.potential, self.configuration, self.pairs(), np.asarray(1e-2))
        self.outcome = gw.Outcome.unstable

    def descend(self) -> None:
        """To a force-free point; `hessian` is set if it is a minimum."""
        if not self.uses_newton:
            self.fire(self.tolerance)
            if self.outcome is None:
                self.accept()
            return
        tolerance = self.protocol.hand_over
        while True:
            self.fire(tolerance)
            at_hand_over = self.configuration
            if self.outcome is not None or self.newton():
                return
            self.configuration = at_hand_over
            if tolerance <= self.tolerance:
                self.pin_zero_modes()
                return
            tolerance = max(0.01 * tolerance, self.tolerance)

    def accept(self) -> None:
        """Take the Hessian of where the search stands, if it is a minimum."""
        if self.dense:
            hessian = self.factor()
            if bool(hessian.is_stable):
                self.hessian = hessian
            else:
                self.pin_zero_modes()
        else:
            # Stable by assumption: a descent that has converged found a minimum, and products alone show nothing else.
            self.hessian = self.products()

    def pin_zero_modes(self) -> None:
        """Take the Hessian of a force-free point that Cholesky refused, if only zero modes made it do so."""
        hessian, zero_modes = _factor_pinning_zero_modes(self.potential, self.configuration, self.pairs())
        self.counts["factorisations"] += 1
        if bool(hessian.is_stable):
            self.hessian = hessian
            self.counts["zero_modes"] = int(zero_modes)

    def products(self) -> gw.AbstractHessian:
        """The Hessian of where the search stands, known by its products alone."""
        from glasswright.physics.adjoint import MatrixFreeHessian

        return MatrixFreeHessian(self.potential, self.configuration, self.pairs())

    def follow(self, memory: Memory) -> bool:
        """Newton from the minimum of a slightly different potential; True if it leads to the same packing."""
        self.neighbors = memory.neighbors
        hessian = memory.hessian if isinstance(memory.hessian, gw.DenseHessian) else None
        return self.newton(hessian) and self.moved() < self.protocol.follow_limit

    def fire(self, tolerance: float) -> None:
        """FIRE to max|F| < `tolerance`, renewing the pair list as often as needed."""
        settings = PAPER_SETTINGS if self.protocol.method == "fire" else FireSettings()
        # NumPy's numbers here and below: making device arrays of the host's is slower than handing them over.
        limits = np.asarray(tolerance), np.asarray(self.protocol.max_steps)
        state = fire_start(self.configuration)
        while True:
            here = self.neighbors is not None and self.neighbors.reference is self.configuration
            pairs = self.pairs() if here else self.renew_pairs()
            state = fire(self.potential, self.configuration, pairs, state, settings, *limits)
            self.configuration = dataclasses.replace(self.configuration, fractional=state.fractional)
            if bool(state.covered):
                break
            if not np.all(np.isfinite(state.fractional)):
                # No list covers what is not a number.
                self.outcome = gw.Outcome.nonfinite
                return
        self.counts["evaluations"] += int(state.evaluations)
        if not bool(state.converged):
            self.outcome = gw.Outcome.max_steps

    def newton(self, hessian: gw.DenseHessian | None = None) -> bool:
        """Newton from here, with the factor of somewhere near if one is given; True at a stable minimum."""
        age = 1
        for _ in range(MAX_FACTORS):
            if hessian is None:
                hessian, age = self.factor(), 0
            if not bool(hessian.is_stable):
                return False
            state = newton_steps(
                self.potential, self.configuration, self.pairs(), np.asarray(self.tolerance), hessian, np.asarray(age)
            )
            self.counts["evaluations"] += int(state.iterations)
            self.configuration = dataclasses.replace(self.configuration, fractional=state.fractional)
            end = NewtonEnd(int(state.end))
            if end == NewtonEnd.converged:
                # The factor of where the steps started serves on only if there were none.
                if age != 0 or int(state.iterations) != 0:
                    hessian = self.factor()
                if bool(hessian.is_stable):
                    self.hessian = hessian
                return bool(hessian.is_stable)
            if end == NewtonEnd.stalled:
                return False
            if end == NewtonEnd.uncovered:
                # The factor stays good: it is the list that was left behind.
                self.renew_pairs()
                age = 1
            else:
                hessian = None
        return False

    def factor(self) -> gw.DenseHessian:
        """The factored Hessian of where the search stands."""
        self.counts["factorisations"] += 1
        return _factor_hessian(self.potential, self.configuration, self.pairs())

    def moved(self) -> float:
        """How far the particle that moved most has moved, apart from a drift of all, in units of length."""
        return float(_largest_move(self.start, self.configuration))

    def prepared(self, **statistics: int) -> gw.Prepared:
        """The end of the search, with the Hessian at the minimum."""
        if self.outcome is not None:
            return gw.Prepared(self.configuration, self.outcome, self.counts | statistics)
        assert self.hessian is not None
        memory = Memory(self.pairs(), self.hessian)
        if isinstance(self.hessian, gw.DenseHessian):
            self.counts["rattlers"] = int(self.hessian.n_rattlers)
        outcome = gw.Outcome.converged
        if self.protocol.stability == "elastic" and not _is_elastically_stable(
            self.potential, self.configuration, memory
        ):
            outcome = gw.Outcome.unstable
        return gw.Prepared(self.configuration, outcome, self.counts | statistics, memory)
