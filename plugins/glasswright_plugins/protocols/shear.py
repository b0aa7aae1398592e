"""Athermal quasistatic shear of a packing, as a measurement."""

import dataclasses
import math
from collections.abc import Sequence

import equinox as eqx
import glasswright as gw
import jax.numpy as jnp
import numpy as np
from glasswright.relax import QuenchSchedule, box_width, natural_units
from jaxtyping import Float, PRNGKeyArray, PyTree

from ._deforming import DeformationFailed, Deforming, Event, Minimum, all_pairs
from .quench import Quench, factored_kind

# Largest force component of the minima, in units of force.
FORCE_TOLERANCE = 1e-12


class Memory(eqx.Module):
    """The cache of a deformation: that of the preparation, and the path through all minima."""

    preparation: PyTree
    path: gw.DeformationPath


class Shear(gw.AbstractProtocol):
    """Athermal quasistatic simple shear: a packing is prepared, then sheared in small steps up to a largest strain.

    After each step `x -> x + dgamma y` of the box, the particles go to the nearest minimum. Where a minimum ends in a
    fold, its strain is found to rounding, and the packing descends from there at that strain: this is the limit of
    infinitely small steps, and `strain_step` only says at which strains stresses and energies are recorded. The state
    is a `Deformation`, with the derivatives of all minima and of the strains of events (docs/preparation.md).

    Take a potential with continuous second derivatives, such as `smoothing=polynomial_3`: where they jump, minima end
    without a fold, and such events have no derivative. Their number is `kinks` of the statistics.

    Source: Maloney & Lemaître, Phys. Rev. E 74, 016118 (2006); docs/physics.md.

    **Arguments:**

    - `max_strain`: the largest strain.
    - `strain_step`: strain between two points of the curve.
    - `max_events`: room for so many events; a packing that has more of them counts as `overflow`.
    - `event_terms`: whether the strains of events carry their derivative. With false, gradients are those of the
      branches between events alone: the difference is what the events contribute.
    - `preparation`: the protocol that prepares the packing without strain, at fixed box or under a pressure.
    """

    max_strain: float = 0.05
    strain_step: float = 0.01
    max_events: int = 32
    event_terms: bool = True
    preparation: gw.AbstractProtocol = Quench()

    provides = gw.Deformation

    def __check_init__(self) -> None:
        for name in ("max_strain", "strain_step"):
            value = getattr(self, name)
            if not 0.0 < value <= 1.0:
                raise ValueError(f"shear({name}={value}): must be positive and at most 1.")
        if self.strain_step > self.max_strain:
            raise ValueError(f"shear(strain_step={self.strain_step}): must be at most max_strain={self.max_strain}.")
        if self.max_events < 1:
            raise ValueError(f"shear(max_events={self.max_events}): must be at least 1.")
        if not issubclass(type(self.preparation).provides, gw.Equilibrium):
            raise ValueError(
                f"shear(preparation={type(self.preparation).__name__}): must be a protocol that gives an Equilibrium."
            )

    @property
    def strains(self) -> Float[np.ndarray, " m1"]:
        """The strains at which stresses and energies are recorded, from zero on."""
        n = max(math.ceil(self.max_strain / self.strain_step - 1e-9), 1)
        return np.linspace(0.0, self.max_strain, n + 1)

    def prepare(self, potential: gw.AbstractPotential, start: gw.Configuration, *, key: PRNGKeyArray) -> gw.Prepared:
        """Prepare a packing, then shear it."""
        return self._deformed(potential, self.preparation.prepare(potential, start, key=key))

    def relax(
        self, potential: gw.AbstractPotential, configuration: gw.Configuration, *, key: PRNGKeyArray
    ) -> gw.Prepared:
        """Take a given packing to rest, then shear it."""
        return self._deformed(potential, self.preparation.relax(potential, configuration, key=key))

    def follow(self, potential: gw.AbstractPotential, previous: gw.Prepared, *, key: PRNGKeyArray) -> gw.Prepared:
        """Follow the packing without strain, then shear it again."""
        memory = None if previous.memory is None else previous.memory.preparation
        undeformed = dataclasses.replace(previous, memory=memory)
        return self._deformed(potential, self.preparation.follow(potential, undeformed, key=key))

    def remember(self, potential: gw.AbstractPotential, configuration: gw.Configuration) -> Memory:
        """Shear again."""
        memory = self.preparation.remember(potential, configuration)
        path, _ = self._path(potential, configuration, memory)
        return Memory(memory, path)

    def compress(self, memory: Memory) -> Memory:
        """The path, and what the preparation keeps."""
        return Memory(self.preparation.compress(memory.preparation), memory.path)

    def expand(self, potential: gw.AbstractPotential, configuration: gw.Configuration, compressed: Memory) -> Memory:
        """The cache of the preparation, made again."""
        memory = self.preparation.expand(potential, configuration, compressed.preparation)
        return Memory(memory, compressed.path)

    def attach(self, potential: gw.AbstractPotential, prepared: gw.Prepared) -> gw.Deformation:
        """The deformation as a function of the design."""
        # Constructing it anew would ask for numbers, which are traced here.
        undeformed = eqx.tree_at(lambda p: p.memory, prepared, prepared.memory.preparation)
        state = self.preparation.attach(potential, undeformed)
        assert isinstance(state, gw.Equilibrium)
        return gw.attach_deformation(state, prepared.memory.path, event_terms=self.event_terms)

    @property
    def changes_box(self) -> bool:
        """Whether the preparation changes the box."""
        return self.preparation.changes_box

    def _deformed(self, potential: gw.AbstractPotential, prepared: gw.Prepared) -> gw.Prepared:
        """A prepared packing with its deformation."""
        if not prepared.accepted:
            return prepared
        configuration = prepared.configuration
        widest = configuration.strained(self.max_strain * jnp.asarray(_direction(configuration.dimension)))
        if float(box_width(widest.box)) < 2.0 * (1.0 - 1e-9) * float(potential.reach(configuration)):
            return dataclasses.replace(prepared, outcome=gw.Outcome.narrow_box, memory=None)
        try:
            path, counts = self._path(potential, configuration, prepared.memory)
        except DeformationFailed as failure:
            return dataclasses.replace(prepared, outcome=failure.outcome, memory=None)
        outcome = gw.Outcome.overflow if counts["events"] > self.max_events else gw.Outcome.converged
        return dataclasses.replace(
            prepared,
            outcome=outcome,
            statistics={**prepared.statistics, **{f"shear_{name}": number for name, number in counts.items()}},
            memory=Memory(prepared.memory, path),
        )

    def _path(
        self, potential: gw.AbstractPotential, configuration: gw.Configuration, memory: PyTree
    ) -> tuple[gw.DeformationPath, dict[str, int]]:
        """All minima and events of a packing, and numbers about the search."""
        d, units = configuration.dimension, natural_units(potential, configuration)
        schedule = QuenchSchedule(FORCE_TOLERANCE, 1e-4, 200_000, 0.3).scaled(units)
        kind, neighbors, hessian = factored_kind(configuration), memory.neighbors, memory.hessian
        deforming = Deforming(potential, configuration, _direction(d), schedule, kind, neighbors, hessian)
        minima = [deforming.minimum]
        for strain in self.strains[1:]:
            deforming.advance(float(strain), self.max_events)
            minima.append(deforming.minimum)
        counts = deforming.counts | {
            "events": len(deforming.events),
            "kinks": sum(not event.is_fold for event in deforming.events),
        }
        return self._stacked(potential, configuration, minima, deforming.events[: self.max_events]), counts

    def _stacked(
        self,
        potential: gw.AbstractPotential,
        configuration: gw.Configuration,
        minima: Sequence[Minimum],
        events: Sequence[Event],
    ) -> gw.DeformationPath:
        """The path as arrays; unused places of events hold the packing without strain."""
        direction = _direction(configuration.dimension)
        points = [(minimum.strain, minimum.fractional) for minimum in minima]
        points += [(event.strain, event.fractional) for event in events]
        points += [(event.strain, event.landed) for event in events]
        room = self.max_events
        home = np.asarray(configuration.fractional)

        def padded(rows: list[np.ndarray], empty: np.ndarray) -> np.ndarray:
            return np.stack(rows + [empty] * (room - len(rows)))

        return gw.DeformationPath(
            direction=jnp.asarray(direction),
            strain=jnp.asarray(self.strains),
            fractional=jnp.asarray(np.stack([minimum.fractional for minimum in minima])),
            velocity=jnp.asarray(np.stack([minimum.velocity for minimum in minima])),
            events=gw.EventPath(
                strain=jnp.asarray(padded([np.asarray(e.strain) for e in events], np.zeros(()))),
                fractional=jnp.asarray(padded([e.fractional for e in events], home)),
                mode=jnp.asarray(padded([e.mode for e in events], np.zeros_like(home))),
                landed=jnp.asarray(padded([e.landed for e in events], home)),
                is_fold=jnp.asarray(padded([np.asarray(e.is_fold) for e in events], np.asarray(False))),
                n_events=jnp.asarray(len(events)),
            ),
            neighbors=all_pairs(potential, configuration, direction, points),
        )


def _direction(dimension: int) -> Float[np.ndarray, "d d"]:
    """Simple shear: `x -> x + gamma y`."""
    direction = np.zeros((dimension, dimension))
    direction[0, 1] = 1.0
    return direction
