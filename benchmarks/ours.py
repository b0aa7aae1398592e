"""Our side of the benchmark: the same three pieces of work as `paper_recipe`, through glasswright.

`known_minimum`, `fresh_configuration` and `training_step` have the names, arguments and results of their
counterparts, so that `run.py` treats both sides alike. `pieces` takes one training step apart.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import glasswright as gw
import jax
import jax.numpy as jnp
import numpy as np
import optax
from glasswright.neighbors import build_pair_list
from glasswright.relax import factor_hessian
from glasswright_plugins.potentials.harmonic_morse import HarmonicMorse
from glasswright_plugins.properties.poisson_ratio import PoissonRatio
from glasswright_plugins.protocols.quench import Quench
from packing import Measurement, Packing


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainingState:
    """What one training step hands to the next: the engine's own state, and the numbers of the last step."""

    engine: Any
    loss: float
    force_evaluations: int


class Ours:
    """glasswright on packings like the one given (same particles, species and box)."""

    name = "glasswright"
    # The pieces that a training step runs one after another; the others are parts of these.
    in_sequence = ("following, new factor included", "loss, gradient, optimizer and metrics")

    def __init__(self, packing: Packing, target: float):
        self.packing, self.target = packing, target
        self.potential = HarmonicMorse(
            n_species=len(packing.diameter),
            diameter=packing.diameter,
            binding_energy=packing.binding_energy,
            inverse_range=packing.inverse_range,
            stiffness=packing.stiffness,
        )
        self.protocol = Quench()
        self.configuration = self._configuration(packing.position)
        self._key = jax.random.key(0)
        self._measure = eqx.filter_jit(self._value_and_gradient)
        self._factor_and_measure = eqx.filter_jit(self._factor_value_and_gradient)

    def known_minimum(self) -> Measurement:
        """Poisson's ratio and all derivatives at the reference packing's minimum, pair list included."""
        # No skin: nothing moves.
        neighbors = build_pair_list(self.configuration, self.potential.cutoff)
        value, gradient, max_force = self._factor_and_measure(self.potential, self.configuration, neighbors)
        return _measurement(value, gradient, self.configuration, max_force, 1)

    def quench(self, position: np.ndarray) -> gw.Prepared:
        """The relaxation alone, with the factored Hessian that it ends with."""
        prepared = self.protocol.prepare(self.potential, self._configuration(position), key=self._key)
        _check(prepared)
        return prepared

    def max_force(self, position: np.ndarray) -> float:
        """Largest force component at the given positions."""
        configuration = self._configuration(position)
        neighbors = build_pair_list(configuration, self.potential.cutoff)
        return float(jnp.max(jnp.abs(self.potential.gradient(configuration, neighbors))))

    def fresh_configuration(self, position: np.ndarray) -> Measurement:
        """Quench from the given positions, then Poisson's ratio and all derivatives."""
        prepared = self.quench(position)
        value, gradient, max_force = self._measure(self.potential, prepared)
        evaluations = int(prepared.statistics["evaluations"])
        return _measurement(value, gradient, prepared.configuration, max_force, evaluations)

    @functools.cached_property
    def experiment(self) -> gw.Experiment:
        """The training run whose steps are timed."""
        # Here and below: only training steps need the engine and the components of a run.
        from glasswright_plugins.objectives.target import Target
        from glasswright_plugins.optimizers.hypergradient import hypergradient
        from glasswright_plugins.samplers.tracked import Tracked

        packing = self.packing
        return gw.Experiment(
            potential=self.potential,
            system=gw.System(
                n_particles=packing.n_particles,
                n_species=len(packing.diameter),
                dimension=packing.dimension,
                density=packing.n_particles / packing.box_length**packing.dimension,
            ),
            protocol=self.protocol,
            sampler=Tracked(size=1),
            terms={"poisson_ratio": gw.Term(PoissonRatio(), Target(self.target))},
            design={"diameter": (0.1, 3.0), "binding_energy": (0.0, 10.0)},
            optimizer=hypergradient(optax.rmsprop(1.0)),
        )

    @functools.cached_property
    def _training(self):
        # The engine's step as `glasswright train` runs it, bookkeeping included: what a user pays for, no public piece.
        from glasswright.jobs import train as _train

        return _train

    def initial_training_state(self) -> TrainingState:
        """Start of a training run from the reference packing.

        The engine finds value and gradient at a design before it moves it. So the gradient at the first
        design is part of the preparation here, and a step ends with the value at the new design.
        """
        prepared = self.protocol.prepare(self.potential, self.configuration, key=self._key)
        _check(prepared)
        state = self._training.initial_state(self.experiment)
        return self._step(dataclasses.replace(state, prepared={0: prepared}))

    def training_step(self, state: TrainingState) -> TrainingState:
        """One step of the design and of its learning rate: all that `glasswright train` does in a step but write."""
        return self._step(state.engine)

    def pieces(self, state: TrainingState) -> dict[str, Callable[[], Any]]:
        """The parts of the training step from `state`, each as something to be timed alone."""
        engine, before = state.engine, state.engine.prepared[0]
        potential = self.experiment.problem.at(engine.values).potential
        prepared = self.protocol.follow(potential, before, key=self._key)
        configuration, neighbors = prepared.configuration, prepared.memory.neighbors
        hessian = prepared.memory.hessian
        matrix = eqx.filter_jit(lambda c: potential.hessian(c, neighbors))
        n, d = configuration.fractional.shape
        pinned = matrix(configuration) + jnp.tile(jnp.eye(d), (n, n)) / n
        n_strains = d * (d + 1) // 2
        right = jax.random.normal(self._key, (n_strains, n, d), dtype=float)
        force = eqx.filter_jit(lambda c: potential.gradient(c, neighbors))
        cholesky = jax.jit(lambda m: jnp.linalg.cholesky(m, symmetrize_input=False))
        solve = eqx.filter_jit(hessian.solve)
        return {
            "force": lambda: force(configuration),
            "assembly": lambda: matrix(configuration),
            "Cholesky": lambda: cholesky(pinned),
            f"solves, {n_strains} strains": lambda: solve(right),
            "solve, one force": lambda: solve(right[0]),
            "neighbour list, when renewed": lambda: build_pair_list(
                configuration, potential.cutoff + self.protocol.skin, neighbors.capacity
            ),
            "value and gradient pass": lambda: self._measure(potential, prepared),
            "following, new factor included": lambda: self.protocol.follow(potential, before, key=self._key),
            "loss, gradient, optimizer and metrics": lambda: self._finish(engine, prepared),
        }

    @functools.cached_property
    def _executor(self):
        from glasswright.execution.executor import Executor

        return Executor(1)

    def _step(self, engine) -> TrainingState:
        samples, evaluation = self._training.evaluate_step(self.experiment, self._executor, engine)
        return self._moved(engine, samples, evaluation)

    def _finish(self, engine, prepared) -> TrainingState:
        """What a step does with a packing that has been followed."""
        from glasswright.evaluation.loss import evaluate
        from glasswright.evaluation.measurement import measure_sample

        problem, values = self.experiment.problem, engine.values
        samples = [measure_sample(problem, values, prepared)]
        evaluation = evaluate(problem, values, self.experiment.sampler, samples, self._executor)
        return self._moved(engine, samples, evaluation)

    def _moved(self, engine, samples, evaluation) -> TrainingState:
        for sample in samples:
            _check(sample.prepared)
        after = self._training.update(self.experiment, engine, samples, evaluation)
        line = self._training.step_metrics(engine, after, samples, evaluation, seconds=0.0)
        return TrainingState(after, line["loss"], line["search"]["evaluations"])

    def _configuration(self, position) -> gw.Configuration:
        return gw.Configuration(
            fractional=jnp.asarray(position) / self.packing.box_length,
            box=self.packing.box_length * jnp.eye(self.packing.dimension),
            species=jnp.asarray(self.packing.species),
        )

    def _value_and_gradient(self, potential, prepared):
        def value(potential):
            return PoissonRatio().measure(self.protocol.attach(potential, prepared))

        measured, gradient = eqx.filter_value_and_grad(value)(potential)
        force = potential.gradient(prepared.configuration, prepared.memory.neighbors)
        return measured, (gradient.diameter, gradient.binding_energy), jnp.max(jnp.abs(force))

    def _factor_value_and_gradient(self, potential, configuration, neighbors):
        hessian = factor_hessian(potential, configuration, neighbors)

        def value(potential):
            return PoissonRatio().measure(gw.attach_equilibrium(potential, configuration, neighbors, hessian))

        measured, gradient = eqx.filter_value_and_grad(value)(potential)
        force = potential.gradient(configuration, neighbors)
        return measured, (gradient.diameter, gradient.binding_energy), jnp.max(jnp.abs(force))


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
        raise RuntimeError(f"A preparation ended as {gw.Outcome(int(prepared.outcome)).name}, not at a minimum.")
