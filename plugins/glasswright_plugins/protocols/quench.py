import dataclasses
from typing import Literal

import equinox as eqx
import glasswright as gw
import jax
import jax.numpy as jnp
import numpy as np
from glasswright.neighbors import PairList, build_pair_list
from glasswright.relax import PAPER_SETTINGS, FireSettings, NewtonEnd, factor_hessian, fire, fire_start, newton_steps

# Assembling and factoring cost n² memory and n³ time: 128 MB and about a second at 4000 coordinates.
DENSE_LIMIT = 4000
# Newton near a minimum needs two or three; more mean that it is not near one.
MAX_FACTORS = 12

_factor_hessian = eqx.filter_jit(factor_hessian)


@eqx.filter_jit
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
    - `skin`: width added to the cutoff in pair lists, in units of length.
    - `follow_limit`: a particle that moves further than this in one step of the design has rearranged.
    - `hessian`: `dense` (factored once), `matrix_free` (conjugate gradients), or `auto`: dense for pair potentials of
      up to 4000 coordinates.
    """

    method: Literal["newton", "fire"] = "newton"
    force_tolerance: float = 1e-12
    hand_over: float = 1e-4
    max_steps: int = 200_000
    skin: float = 0.3
    follow_limit: float = 0.1
    hessian: Literal["auto", "dense", "matrix_free"] = "auto"

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

    def follow(self, potential, previous, *, key=None):
        """The same minimum after a small change of the potential; a new quench from there where it is lost."""
        start = previous.configuration
        if not previous.accepted:
            # The same search from the same place would end the same way.
            kick = 1e-2 * jax.random.normal(key, start.fractional.shape)
            start = start.moved(kick)
        search = _Search(self, potential, start)
        followed = previous.accepted and search.newton(previous.memory) and search.moved() < self.follow_limit
        if not followed:
            search.restart()
            search.relax()
        lost = previous.accepted and not followed
        rearranged = lost and search.moved() >= self.follow_limit
        return search.prepared(lost=int(lost), rearranged=int(rearranged))

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
        self.counts = {"evaluations": 0, "factorisations": 0}
        self.tolerance = np.asarray(protocol.force_tolerance)
        pairwise = isinstance(potential, gw.AbstractPairPotential)
        self.dense = protocol.hessian == "dense" or (
            protocol.hessian == "auto" and pairwise and start.fractional.size <= DENSE_LIMIT
        )

    def restart(self) -> None:
        self.configuration, self.outcome = self.start, None

    def list_pairs(self) -> None:
        """Renew the pair list; the last one's capacity is the first try."""
        capacity = None if self.neighbors is None else self.neighbors.capacity
        radius = self.potential.cutoff + self.protocol.skin
        self.neighbors = build_pair_list(self.configuration, radius, capacity)

    def relax(self) -> None:
        """From anywhere to a minimum."""
        protocol = self.protocol
        newton = protocol.method == "newton" and self.dense
        tolerance = protocol.hand_over if newton else protocol.force_tolerance
        self.fire(tolerance)
        while newton and self.outcome is None and not self.newton():
            if tolerance <= protocol.force_tolerance:
                # Not even a force-free point has a positive definite Hessian.
                self.outcome = gw.Outcome.unstable
                return
            tolerance = max(0.01 * tolerance, protocol.force_tolerance)
            self.fire(tolerance)

    def fire(self, tolerance: float) -> None:
        """FIRE to max|F| < `tolerance`, renewing the pair list as often as needed."""
        settings = PAPER_SETTINGS if self.protocol.method == "fire" else FireSettings()
        state = fire_start(self.configuration)
        limit = np.asarray(self.protocol.max_steps)
        while True:
            self.list_pairs()
            state = fire(
                self.potential, self.configuration, self.neighbors, state, settings, np.asarray(tolerance), limit
            )
            self.configuration = dataclasses.replace(self.configuration, fractional=state.fractional)
            if bool(state.covered):
                break
        self.counts["evaluations"] += int(state.evaluations)
        force = float(jnp.max(jnp.abs(state.force)))
        if not force < float("inf"):
            self.outcome = gw.Outcome.nonfinite
        elif force >= tolerance:
            self.outcome = gw.Outcome.max_steps

    def newton(self, memory: Memory | None = None) -> bool:
        """Newton from here; True if it converged to a stable minimum. `memory` is that of the packing followed."""
        if not self.dense or (memory is not None and not isinstance(memory.hessian, gw.DenseHessian)):
            return False
        hessian, age = None, 1
        if memory is not None:
            self.neighbors, hessian = memory.neighbors, memory.hessian
        for _ in range(MAX_FACTORS):
            if hessian is None:
                hessian, age = self.factor(), 0
                if not bool(hessian.is_stable):
                    return False
            # NumPy's numbers: making device arrays of the host's is slower than handing them over.
            state = newton_steps(
                self.potential, self.configuration, self.neighbors, self.tolerance, hessian, np.asarray(age)
            )
            self.counts["evaluations"] += int(state.iterations)
            self.configuration = dataclasses.replace(self.configuration, fractional=state.fractional)
            end = NewtonEnd(int(state.end))
            if end == NewtonEnd.uncovered:
                # The factor stays good: it is the list that was left behind.
                self.list_pairs()
                age = 1
            elif end == NewtonEnd.stalled:
                return False
            else:
                at_the_start = end == NewtonEnd.converged and age == 0 and int(state.iterations) == 0
                hessian, age = hessian if at_the_start else self.factor(), 0
                if not bool(hessian.is_stable):
                    return False
                if end == NewtonEnd.converged:
                    self.hessian = hessian
                    return True
        return False

    def factor(self) -> gw.DenseHessian:
        self.counts["factorisations"] += 1
        return _factor_hessian(self.potential, self.configuration, self.neighbors)

    def moved(self) -> float:
        """How far the particle that moved most has moved, apart from a drift of all, in units of length."""
        return float(_largest_move(self.start, self.configuration))

    def prepared(self, **statistics: int) -> gw.Prepared:
        """The end of the search, with the Hessian at the minimum."""
        if self.outcome is None and self.hessian is None:
            if self.dense:
                self.hessian = self.factor()
                if not bool(self.hessian.is_stable):
                    self.outcome = gw.Outcome.unstable
            else:
                from glasswright.adjoint import MatrixFreeHessian

                self.hessian = MatrixFreeHessian(self.potential, self.configuration, self.neighbors)
        outcome = gw.Outcome.converged if self.outcome is None else self.outcome
        memory = Memory(self.neighbors, self.hessian) if outcome == gw.Outcome.converged else None
        return gw.Prepared(self.configuration, outcome, {**self.counts, **statistics}, memory)
