"""Our side of the benchmark: the same three pieces of work as `paper_recipe`, through glasswright.

`known_minimum`, `fresh_configuration` and `training_step` have the names, arguments and results of their counterparts,
so that `run.py` treats both sides alike. `profile` takes one training step apart.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import glasswright as gw
import jax
import jax.numpy as jnp
import numpy as np
import optax
from glasswright.neighbors import build_pair_list
from glasswright.relax import factor_hessian, newton
from glasswright_plugins.potentials.harmonic_morse import HarmonicMorse
from glasswright_plugins.properties.poisson_ratio import PoissonRatio
from glasswright_plugins.protocols.quench import Quench
from packing import Packing

META_LEARNING_RATE = 3e-3


@dataclasses.dataclass(frozen=True)
class Measurement:
    """Poisson's ratio of one relaxed configuration, and its derivatives by diameter, then binding energy."""

    poisson_ratio: float
    gradient: np.ndarray
    position: Any
    max_force: float
    force_evaluations: int


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainingState:
    """What one training step hands to the next; `gradient` is that of the loss at `design`, not yet used."""

    design: tuple[jax.Array, jax.Array]
    prepared: gw.Prepared
    gradient: tuple[jax.Array, jax.Array]
    rate_parameter: jax.Array
    optimizer: Any
    meta_optimizer: Any
    loss: jax.Array
    poisson_ratio: jax.Array
    force_evaluations: int


class Ours:
    """glasswright on packings like the one given (same particles, species and box)."""

    name = "glasswright"

    def __init__(self, packing: Packing):
        self.packing = packing
        self.protocol = Quench()
        self.property = PoissonRatio()
        self.potential = self._potential(jnp.asarray(packing.diameter), jnp.asarray(packing.binding_energy))
        self.configuration = self._configuration(packing.position)
        self._key = jax.random.key(0)
        self._direction = optax.scale_by_rms(decay=0.9, eps=1e-8)
        self._meta_optimizer = optax.adam(META_LEARNING_RATE)
        self._measure = eqx.filter_jit(self._value_and_gradient)
        self._factor_and_measure = eqx.filter_jit(self._factor_value_and_gradient)
        self._propose = jax.jit(self._proposed_design)
        self._learn = jax.jit(self._learned_rate)

    @property
    def design(self) -> tuple[jax.Array, jax.Array]:
        """The packing's own diameters and packed binding energies."""
        return self.potential.diameter, self.potential.binding_energy

    def known_minimum(self) -> Measurement:
        """Poisson's ratio and all derivatives at the reference packing's minimum, pair list included."""
        neighbors = build_pair_list(self.configuration, self.potential.cutoff + self.protocol.skin)
        value, gradient, max_force = self._factor_and_measure(self.potential, self.configuration, neighbors)
        return _measurement(value, gradient, self.configuration, max_force, 1)

    def fresh_configuration(self, position: np.ndarray) -> Measurement:
        """Quench from the given positions, then Poisson's ratio and all derivatives."""
        prepared = self.protocol.prepare(self.potential, self._configuration(position), key=self._key)
        _check(prepared)
        value, gradient, max_force = self._measure(self.potential, prepared)
        evaluations = int(prepared.statistics["evaluations"])
        return _measurement(value, gradient, prepared.configuration, max_force, evaluations)

    def initial_training_state(self, learning_rate: float = 1e-3, target: float = 0.0) -> TrainingState:
        """Start of a training run from the reference packing; the rate is `sigmoid(rate_parameter)`.

        Unlike the recipe, a step here evaluates only once, at the new design: the value at the first design belongs
        to the preparation.
        """
        prepared = self.protocol.prepare(self.potential, self.configuration, key=self._key)
        _check(prepared)
        value, gradient, _ = self._measure(self.potential, prepared)
        rate_parameter = jnp.log(learning_rate / (1.0 - learning_rate))
        return TrainingState(
            design=self.design,
            prepared=prepared,
            gradient=jax.tree.map(lambda leaf: 2.0 * (value - target) * leaf, gradient),
            rate_parameter=rate_parameter,
            optimizer=self._direction.init(self.design),
            meta_optimizer=self._meta_optimizer.init(rate_parameter),
            loss=(value - target) ** 2,
            poisson_ratio=value,
            force_evaluations=0,
        )

    def training_step(self, state: TrainingState, target: float) -> TrainingState:
        """One step of the design and of its learning rate, towards `target`.

        The new design depends on the rate only through the step's length, so the hypergradient is a scalar product
        with the gradient at the new design, which the next step needs anyway.
        """
        design, direction, optimizer = self._propose(
            state.design, state.gradient, state.optimizer, state.rate_parameter
        )
        potential = self._potential(*design)
        prepared = self.protocol.follow(potential, state.prepared, key=self._key)
        _check(prepared)
        value, slope, _ = self._measure(potential, prepared)
        loss, gradient, rate_parameter, meta_optimizer = self._learn(
            value, slope, target, direction, state.rate_parameter, state.meta_optimizer
        )
        return TrainingState(
            design=design,
            prepared=prepared,
            gradient=gradient,
            rate_parameter=rate_parameter,
            optimizer=optimizer,
            meta_optimizer=meta_optimizer,
            loss=loss,
            poisson_ratio=value,
            force_evaluations=int(prepared.statistics["evaluations"]),
        )

    def pieces(self, state: TrainingState, target: float) -> dict[str, Callable[[], Any]]:
        """The parts of one training step from `state`, each as something to be timed alone."""
        potential = self._potential(*state.design)
        configuration, memory = state.prepared.configuration, state.prepared.memory
        neighbors, hessian = memory.neighbors, memory.hessian
        matrix = eqx.filter_jit(lambda: potential.hessian(configuration, neighbors))
        translations = jnp.full((matrix().shape[0],) * 2, 1.0 / configuration.n_particles)
        pinned = matrix() + translations * jnp.tile(
            jnp.eye(configuration.dimension), (configuration.n_particles,) * 2
        )
        n_strains = configuration.dimension * (configuration.dimension + 1) // 2
        shape = configuration.fractional.shape
        right = jax.random.normal(self._key, (n_strains, *shape), dtype=float)
        design, _, _ = self._propose(state.design, state.gradient, state.optimizer, state.rate_parameter)
        moved = self._potential(*design)
        tolerance = jnp.asarray(self.protocol.force_tolerance)
        return {
            "force": eqx.Partial(eqx.filter_jit(lambda c: potential.gradient(c, neighbors)), configuration),
            "assembly": matrix,
            "Cholesky": eqx.Partial(
                jax.jit(lambda m: jnp.linalg.cholesky(m, symmetrize_input=False)), pinned
            ),
            f"solves, {n_strains} strains": eqx.Partial(eqx.filter_jit(hessian.solve), right),
            "solve, one force": eqx.Partial(eqx.filter_jit(hessian.solve), right[0]),
            "following (chord iterations and new factor)": lambda: newton(
                moved, configuration, neighbors, tolerance, hessian
            ),
            "value and gradient pass": lambda: self._measure(potential, state.prepared),
            "neighbour list, when renewed": lambda: build_pair_list(
                configuration, potential.cutoff + self.protocol.skin, neighbors.capacity
            ),
            "optimizer and hypergradient": lambda: (
                self._propose(state.design, state.gradient, state.optimizer, state.rate_parameter),
                self._learn(
                    state.poisson_ratio,
                    state.gradient,
                    target,
                    state.gradient,
                    state.rate_parameter,
                    state.meta_optimizer,
                ),
            ),
        }

    def _potential(self, diameter, binding_energy) -> HarmonicMorse:
        return HarmonicMorse(
            n_species=len(self.packing.diameter),
            diameter=diameter,
            binding_energy=binding_energy,
            inverse_range=self.packing.inverse_range,
            stiffness=self.packing.stiffness,
        )

    def _configuration(self, position) -> gw.Configuration:
        return gw.Configuration(
            fractional=jnp.asarray(position) / self.packing.box_length,
            box=self.packing.box_length * jnp.eye(self.packing.dimension),
            species=jnp.asarray(self.packing.species),
        )

    def _value_and_gradient(self, potential, prepared):
        def value(potential):
            return self.property.measure(self.protocol.attach(potential, prepared))

        measured, gradient = eqx.filter_value_and_grad(value)(potential)
        force = potential.gradient(prepared.configuration, prepared.memory.neighbors)
        return measured, (gradient.diameter, gradient.binding_energy), jnp.max(jnp.abs(force))

    def _factor_value_and_gradient(self, potential, configuration, neighbors):
        hessian = factor_hessian(potential, configuration, neighbors)

        def value(potential):
            return self.property.measure(gw.attach_equilibrium(potential, configuration, neighbors, hessian))

        measured, gradient = eqx.filter_value_and_grad(value)(potential)
        force = potential.gradient(configuration, neighbors)
        return measured, (gradient.diameter, gradient.binding_energy), jnp.max(jnp.abs(force))

    def _proposed_design(self, design, gradient, optimizer, rate_parameter):
        direction, optimizer = self._direction.update(gradient, optimizer)
        rate = jax.nn.sigmoid(rate_parameter)
        diameter, binding_energy = jax.tree.map(lambda leaf, along: leaf - rate * along, design, direction)
        return (diameter, jnp.maximum(binding_energy, 0.0)), direction, optimizer

    def _learned_rate(self, value, slope, target, direction, rate_parameter, meta_optimizer):
        gradient = jax.tree.map(lambda leaf: 2.0 * (value - target) * leaf, slope)
        along = sum(jax.tree.leaves(jax.tree.map(jnp.vdot, gradient, direction)))
        rate = jax.nn.sigmoid(rate_parameter)
        hypergradient = -along * rate * (1.0 - rate)
        update, meta_optimizer = self._meta_optimizer.update(hypergradient, meta_optimizer)
        return (value - target) ** 2, gradient, rate_parameter + update, meta_optimizer


def _measurement(value, gradient, configuration, max_force, evaluations) -> Measurement:
    return Measurement(
        poisson_ratio=float(value),
        gradient=np.concatenate([np.asarray(leaf) for leaf in gradient]),
        position=configuration.position,
        max_force=float(max_force),
        force_evaluations=evaluations,
    )


def _check(prepared: gw.Prepared) -> None:
    if not prepared.accepted:
        raise RuntimeError(
            f"A preparation ended as {gw.Outcome(int(prepared.outcome)).name}, not at a minimum."
        )
