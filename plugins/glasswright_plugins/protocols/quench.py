"""Athermal quenches at fixed box and at constant pressure."""

import dataclasses
from collections.abc import Mapping
from typing import Literal

import equinox as eqx
import glasswright as gw
import jax
import jax.numpy as jnp
import numpy as np
from glasswright.neighbors import PairList
from glasswright.relax import (
    Enthalpy,
    HessianKind,
    QuenchSchedule,
    Relaxation,
    Search,
    box_response,
    box_strains,
    box_width,
    extended,
    fast_jit,
    natural_units,
)
from glasswright.relax.batch import bytes_per_configuration, expected_pairs
from jaxtyping import Array, ArrayLike, Bool, Float, Key, PRNGKeyArray

# A dense Hessian is factored about as fast as a sparse one up to this many coordinates (docs/performance.md).
DENSE_LIMIT = {2: 1500, 3: 3000}
# A sparse factor of this many coordinates takes 4 GB in two dimensions, and half a minute in three.
SPARSE_LIMIT = {2: 400_000, 3: 45_000}


# What a packing that could not be prepared is shaken by before the next attempt: the standard deviation of
# displacements, in units of length.
RESTART_KICK = 1e-2


# The box of a quench at constant pressure is held fixed until max|F| is below this, in units of force. The pressure of
# a random start says nothing about that of the packing it leads to.
RELEASE = 1e-2
# Where particles only just touch, forces are as small as the pressure, and Newton's method can take over only below
# that: at this share of the force that the pressure exerts on a particle.
HAND_OVER_SHARE = 1e-3
# The least shares of `hand_over` and of the force tolerance: below, rounding hides the minimum.
LEAST_HAND_OVER, LEAST_TOLERANCE = 1e-4, 0.01


class Memory(eqx.Module):
    """The cache of a quench: pairs and Hessian of a minimum, which `attach` and `follow` use again."""

    neighbors: PairList
    hessian: gw.AbstractHessian


def _elastically_stable(
    potential: gw.AbstractPotential,
    configuration: gw.Configuration,
    memory: Memory,
    pressure: Float[Array, ""] | None,
) -> Bool[Array, ""]:
    """Whether no strain lowers the energy of a minimum, or its enthalpy under a pressure."""
    if pressure is not None:
        strains = box_strains("flexible", configuration.dimension)
        response = box_response(potential, configuration, memory.neighbors, memory.hessian, pressure, strains)
        return response.is_stable
    state = gw.attach_equilibrium(potential, configuration, memory.neighbors, memory.hessian)
    stable: Bool[Array, ""] = gw.eigenmoduli(state.elastic_tensor)[0] > 0.0
    return stable


_is_elastically_stable = fast_jit(_elastically_stable)


@fast_jit
def _are_elastically_stable(
    potential: gw.AbstractPotential,
    configurations: gw.Configuration,
    memories: Memory,
    pressure: Float[Array, ""] | None,
) -> Bool[Array, " b"]:
    """`_elastically_stable` for each of many minima with a leading axis."""
    stable: Bool[Array, " b"] = jax.vmap(lambda c, m: _elastically_stable(potential, c, m, pressure))(
        configurations, memories
    )
    return stable


def _are_narrow(potential: gw.AbstractPotential, configurations: gw.Configuration) -> np.ndarray:
    """Which boxes are narrower than twice the range of the interactions."""
    slack = jax.vmap(lambda c: box_width(c.box) - 2.0 * (1.0 - 1e-9) * potential.reach(c))(configurations)
    return np.asarray(slack) < 0.0


def factored_kind(configuration: gw.Configuration) -> Literal["dense", "sparse"]:
    """Whether a Hessian of this many coordinates is factored faster as a dense or as a sparse matrix."""
    return "dense" if configuration.fractional.size <= DENSE_LIMIT[configuration.dimension] else "sparse"


class Quench(gw.AbstractProtocol):
    """Athermal quench: relaxation to the minimum of the energy that the start belongs to.

    The box is fixed, or free under a constant `pressure`: then it is the enthalpy `U + p V` that is minimised, over the
    particles and the strain of the box. The density follows from the interactions; that of the system is that of the
    start, whose particles are relaxed before the box is released.

    FIRE 2.0 runs until max|F| falls below `hand_over`; guarded Newton steps finish. Where those lose the basin (Hessian
    not positive definite, no progress), FIRE goes on to a hundredth of that force, and so on. The minimiser is part of
    the ensemble's definition: `method=fire` is the paper's, without the constant inside its norm.

    Arguments that are forces and lengths are in units of the potential's own (`natural_units`). For packings that
    resemble those of the paper in spacing and stiffness, these are the user's units. For all others they make the
    arguments the same fractions of stiffness and spacing as for those.

    Source: Zu & Goodrich, Commun. Mater. 5 (2024), Methods; docs/physics.md.

    **Arguments:**

    - `method`: `newton` (FIRE, then Newton) or `fire` (the paper's FIRE all the way).
    - `force_tolerance`: largest force component of an accepted minimum, in units of force (1 in the paper's units).
    - `hand_over`: force at which Newton takes over, in units of force.
    - `max_steps`: most force evaluations of FIRE.
    - `skin`: least width added to the cutoff in pair lists, in units of length (1 in the paper's units).
    - `follow_limit`: a particle that moves further than this in one step of the design has rearranged; in units of
      length.
    - `hessian`: `dense` or `sparse` (factored once), `matrix_free` (conjugate gradients), or `auto`. For pair
      potentials that is dense up to 1500 coordinates in two dimensions and 3000 in three, and sparse above; for others,
      and above 400 000 coordinates in two dimensions or 45 000 in three, matrix-free.
    - `descent`: the loop that FIRE runs in, as far as the hand-over: `native` (compiled by Numba, with the forces from
      tables; for sums over pairs that depend on species alone, on CPUs), `xla` (compiled by XLA, with the potential
      itself), or `auto`: native from 5000 particles on where possible. Both take the same steps, but rounding differs,
      and quenching is chaotic: a start may lead to another minimum of the same ensemble. A box that is released is
      relaxed by XLA's loop.
    - `stability`: what a minimum has to be stable against: `fixed_box`, motions of the particles in their box, as in
      the paper; `elastic`, strains of the box as well (all `eigenmoduli` positive), without which Poisson's ratio has
      no bounds and its mean need not exist. A packing that is not counts as `unstable`. Under a pressure, packings are
      stable against the strains that the box is free to undergo in any case, and `elastic` means all strains.
    - `pressure`: in energy per volume, positive for compression; null keeps the box fixed. It can be a design variable.
    - `box`: `fixed`, `isotropic` (its size is free) or `flexible` (its size and its shape are free, so that the stress
      is `-p` in every direction). null is `isotropic` if there is a pressure, else `fixed`.
    - `treatments`: what is done to a random start before it is quenched, in this order; each is added with
      `+treatment@protocol.treatments.NAME=…`.
    """

    method: Literal["newton", "fire"] = "newton"
    force_tolerance: float = 1e-12
    hand_over: float = 1e-4
    max_steps: int = 200_000
    skin: float = 0.3
    follow_limit: float = 0.1
    hessian: Literal["auto", "dense", "sparse", "matrix_free"] = "auto"
    descent: Literal["auto", "native", "xla"] = "auto"
    stability: Literal["fixed_box", "elastic"] = "fixed_box"
    pressure: Float[Array, ""] | None = eqx.field(
        converter=lambda p: None if p is None else jnp.asarray(p, dtype=float), default=None
    )
    box: Literal["fixed", "isotropic", "flexible"] | None = None
    treatments: Mapping[str, gw.AbstractTreatment] = eqx.field(converter=gw.Treatments, default=gw.Treatments())

    provides = gw.Equilibrium

    def __check_init__(self) -> None:
        for name in ("force_tolerance", "hand_over", "max_steps", "skin", "follow_limit"):
            value = getattr(self, name)
            if not 0.0 < value < float("inf"):
                raise ValueError(f"quench({name}={value}): must be positive and finite.")
        if self.descent == "native" and self.method == "fire":
            raise ValueError("quench(descent=native, method=fire): the paper's FIRE runs in XLA's loop; leave one out.")
        if self.pressure is None:
            if self.box not in (None, "fixed"):
                raise ValueError(f"quench(box={self.box}): a free box needs a pressure, for instance pressure=0.")
            return
        if self.box == "fixed":
            raise ValueError("quench(box=fixed): under a pressure the box is isotropic or flexible; leave it out.")
        if jnp.ndim(self.pressure) != 0:
            raise ValueError(f"quench(pressure={self.pressure}): must be a single number.")
        if gw.is_concrete(self.pressure) and not abs(float(self.pressure)) < float("inf"):
            raise ValueError(f"quench(pressure={float(self.pressure)}): must be finite.")

    def prepare(
        self, potential: gw.AbstractPotential, start: gw.Configuration, *, key: PRNGKeyArray | None = None
    ) -> gw.Prepared:
        """Treat the start in all ways that are asked for, then relax it to a minimum."""
        statistics: dict[str, ArrayLike] = {}
        for number, (name, treatment) in enumerate(self.treatments.items()):
            own = jax.random.fold_in(jax.random.key(0) if key is None else key, number)
            treated = treatment.apply(potential, start, key=own)
            start = treated.configuration
            statistics |= {f"{name}_{what}": number for what, number in treated.statistics.items()}
        prepared = self.relax(potential, start, key=key)
        return dataclasses.replace(prepared, statistics={**prepared.statistics, **statistics})

    def relax(
        self, potential: gw.AbstractPotential, configuration: gw.Configuration, *, key: PRNGKeyArray | None = None
    ) -> gw.Prepared:
        """Relax to a minimum, without treatment."""
        start = configuration
        search = self._search(potential, start)
        if self.pressure is None:
            search.relax()
            return self._prepared(search)
        search.approach(RELEASE * search.schedule.units.force)
        if search.outcome is None:
            counts = search.counts
            search = self._released(potential, search.configuration)
            search.counts = counts
            search.relax()
        return self._prepared(search)

    def prepare_many(
        self,
        potential: gw.AbstractPotential,
        starts: gw.Configuration,
        *,
        width: int,
        keys: Key[Array, " b"] | None = None,
    ) -> gw.Prepared | None:
        """Relax many starts side by side; None where they need another method than FIRE and Newton on dense Hessians.

        Which minimum a start leads to can differ from what `prepare` finds: rounding does, and quenching is chaotic.
        """
        first = self._search(potential, jax.tree.map(lambda x: x[0], starts))
        # What is not a number is refused one by one, without a program for many.
        if self.descent == "native" or not first.uses_newton or first.kind != "dense" or first.outcome is not None:
            return None
        starts, treated = self._treat_many(potential, starts, keys)
        relaxation = self._relaxation(potential, starts, first.schedule, width)
        relaxation.run()
        memory = Memory(relaxation.neighbors, relaxation.hessian)
        outcome = np.asarray(relaxation.outcome)
        if self.pressure is not None:
            # Where a box became so narrow that no pair list served, the search has ended as not finite.
            ended = (outcome == gw.Outcome.converged) | (outcome == gw.Outcome.nonfinite)
            narrow = ended & _are_narrow(potential, relaxation.configuration)
            outcome = np.where(narrow, gw.Outcome.narrow_box, outcome)
        if self.stability == "elastic":
            stable = np.asarray(_are_elastically_stable(potential, relaxation.configuration, memory, self.pressure))
            outcome = np.where((outcome == gw.Outcome.converged) & ~stable, gw.Outcome.unstable, outcome)
        return gw.Prepared(relaxation.configuration, outcome, relaxation.counts | treated, memory)

    def _treat_many(
        self, potential: gw.AbstractPotential, starts: gw.Configuration, keys: Key[Array, " b"] | None
    ) -> tuple[gw.Configuration, dict[str, ArrayLike]]:
        """Many starts after all treatments, and the statistics of these."""
        statistics: dict[str, ArrayLike] = {}
        if not self.treatments:
            return starts, statistics
        count = starts.fractional.shape[0]
        keys = jax.random.split(jax.random.key(0), count) if keys is None else keys
        for number, (name, treatment) in enumerate(self.treatments.items()):
            own = jax.vmap(lambda key, number=number: jax.random.fold_in(key, number))(keys)
            treated = treatment.apply_many(potential, starts, keys=own)
            if treated is None:
                # One at a time.
                rows = [jax.tree.map(lambda x, k=k: x[k], starts) for k in range(count)]
                each = [treatment.apply(potential, row, key=own[k]) for k, row in enumerate(rows)]
                treated = jax.tree.map(lambda *x: jnp.stack([jnp.asarray(y) for y in x]), *each)
            starts = treated.configuration
            statistics |= {f"{name}_{what}": np.asarray(numbers) for what, numbers in treated.statistics.items()}
        return starts, statistics

    def _relaxation(
        self, potential: gw.AbstractPotential, starts: gw.Configuration, schedule: QuenchSchedule, width: int
    ) -> Relaxation:
        """The search for many minima; under a pressure it begins where the boxes are released."""
        if self.pressure is None:
            return Relaxation(potential, starts, schedule, width=width)
        release = dataclasses.replace(schedule, hand_over=RELEASE * schedule.units.force)
        approach = Relaxation(potential, starts, release, width=width)
        approach.approach()
        enthalpy = self._enthalpy(potential, jax.tree.map(lambda x: x[0], starts))
        released = jax.vmap(extended)(dataclasses.replace(approach.starts, fractional=approach.fractional))
        relaxation = Relaxation(enthalpy, released, schedule, width=width)
        for name in relaxation.counts:
            relaxation.counts[name] += approach.counts[name]
        relaxation.leave_out(approach.outcome)
        return relaxation

    def memory_per_configuration(
        self, potential: gw.AbstractPotential, n_particles: int, largest_particles: gw.Configuration
    ) -> int:
        """Bytes for factored Hessians and pair lists of a batch, and for the gradient of elastic constants."""
        dimension, volume = largest_particles.dimension, float(largest_particles.volume)
        reach = 1.3 * float(potential.reach(largest_particles))
        n_pairs = expected_pairs(n_particles, dimension, volume, reach)
        return bytes_per_configuration(n_particles, dimension, n_pairs)

    def follow(
        self, potential: gw.AbstractPotential, previous: gw.Prepared, *, key: PRNGKeyArray | None = None
    ) -> gw.Prepared:
        """Go to the same minimum after a small change of the potential; where it is lost, quench from there."""
        start = previous.configuration
        if not previous.accepted:
            # The same search from the same place would end the same way.
            key = jax.random.key(0) if key is None else key
            kick = RESTART_KICK * natural_units(potential, start).length
            start = start.moved(kick * jax.random.normal(key, start.fractional.shape))
            return self.relax(potential, start, key=key)
        search, memory = self._released(potential, start), previous.memory
        limit = self.follow_limit * search.schedule.units.length
        followed = search.uses_newton and search.follow(memory.neighbors, memory.hessian, limit)
        if not followed:
            search = search.again()
            search.relax()
        lost = search.uses_newton and not followed
        rearranged = not followed and search.moved() >= limit
        return self._prepared(search, lost=int(lost), rearranged=int(rearranged))

    def remember(self, potential: gw.AbstractPotential, configuration: gw.Configuration) -> Memory:
        """Make the cache anew from the configuration alone."""
        search = self._search(potential, configuration)
        return Memory(search.neighbors(), search.hessian())

    def compress(self, memory: Memory) -> PairList:
        """The pairs, which set the order of all sums. The Hessian is as large as all other parts of a run together."""
        return memory.neighbors

    def expand(self, potential: gw.AbstractPotential, configuration: gw.Configuration, compressed: PairList) -> Memory:
        """The pairs with the Hessian of the minimum, factored again."""
        return Memory(compressed, self._search(potential, configuration).hessian_of_minimum(compressed))

    def attach(self, potential: gw.AbstractPotential, prepared: gw.Prepared) -> gw.Equilibrium:
        """The minimum with its linear response, and its derivative by the implicit function theorem."""
        minimum = potential, prepared.configuration, prepared.memory.neighbors, prepared.memory.hessian
        if self.pressure is None:
            return gw.attach_equilibrium(*minimum)
        return gw.attach_enthalpy_minimum(*minimum, self.pressure, self._freedom)

    @property
    def changes_box(self) -> bool:
        """Whether the box is free."""
        return self.pressure is not None

    @property
    def _freedom(self) -> Literal["isotropic", "flexible"]:
        """What a box under a pressure is free to do."""
        return "flexible" if self.box == "flexible" else "isotropic"

    def _schedule(self, potential: gw.AbstractPotential, start: gw.Configuration) -> QuenchSchedule:
        schedule = QuenchSchedule(self.force_tolerance, self.hand_over, self.max_steps, self.skin, self.method)
        schedule = schedule.scaled(natural_units(potential, start))
        if self.pressure is None or not float(self.pressure):
            return schedule
        area = float(start.volume / start.n_particles) ** (1.0 - 1.0 / start.dimension)
        share = HAND_OVER_SHARE * abs(float(self.pressure)) * area / schedule.hand_over
        share = min(max(share, LEAST_HAND_OVER), 1.0)
        return dataclasses.replace(
            schedule,
            hand_over=share * schedule.hand_over,
            force_tolerance=max(share, LEAST_TOLERANCE) * schedule.force_tolerance,
        )

    def _search(self, potential: gw.AbstractPotential, start: gw.Configuration) -> Search:
        """A search from the start, with the kind of Hessian that suits its size."""
        schedule, kind = self._schedule(potential, start), self._kind(potential, start)
        descent = "xla" if self.method == "fire" else self.descent
        return Search(potential, start, schedule, hessian=kind, descent=descent)

    def _kind(self, potential: gw.AbstractPotential, start: gw.Configuration) -> HessianKind:
        """How the Hessian is held: as asked for, or as suits the potential and the number of coordinates."""
        if self.hessian != "auto":
            return self.hessian
        size = start.fractional.size
        if not isinstance(potential, gw.AbstractPairPotential) or size > SPARSE_LIMIT[start.dimension]:
            return "matrix_free"
        return factored_kind(start)

    def _released(self, potential: gw.AbstractPotential, start: gw.Configuration) -> Search:
        """A search from the start in which the box is free if there is a pressure."""
        if self.pressure is None:
            return self._search(potential, start)
        first = self._search(potential, start)
        enthalpy = self._enthalpy(potential, start)
        return Search(enthalpy, extended(start), first.schedule, hessian=first.kind)

    def _enthalpy(self, potential: gw.AbstractPotential, start: gw.Configuration) -> Enthalpy:
        """The enthalpy, in which the rows of a deformation are about as stiff as particles."""
        n, d = start.fractional.shape
        length = np.sqrt(n) * float(start.volume / n) ** (1.0 / d)
        return Enthalpy(potential, np.asarray(self.pressure), np.asarray(length), self._freedom)

    def _prepared(self, search: Search, **statistics: int) -> gw.Prepared:
        """The result of a search that has ended."""
        counts, configuration = search.counts, search.packing
        if search.factor is None or search.is_narrow():
            outcome = gw.Outcome.narrow_box if search.factor is not None else search.outcome
            assert outcome is not None  # without a factor the search has failed
            return gw.Prepared(configuration, outcome, counts | statistics)
        memory = Memory(search.neighbors(), search.factor)
        if isinstance(search.factor, gw.AbstractFactoredHessian):
            counts["rattlers"] = int(search.factor.n_rattlers)
        outcome = gw.Outcome.converged
        if self.stability == "elastic" and not _is_elastically_stable(
            search.of_particles, configuration, memory, self.pressure
        ):
            outcome = gw.Outcome.unstable
        return gw.Prepared(configuration, outcome, counts | statistics, memory)
