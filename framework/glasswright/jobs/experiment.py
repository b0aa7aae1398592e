import dataclasses
import functools
import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, PyTree

from .._errors import RequestError, named
from .._jax import check_64_bit, prepare_jax
from ..components.combination import AbstractCombination
from ..components.executor import AbstractExecutor, check_executor
from ..components.objective import Term
from ..components.property import AbstractProperty
from ..components.protocol import AbstractProtocol
from ..components.sampler import AbstractSampler
from ..components.system import AbstractSystem, System
from ..components.tracker import AbstractTracker
from ..evaluation.design import Design, resolve_design
from ..evaluation.estimator import COMPOSITION, Variable
from ..evaluation.problem import Model, Problem
from ..evaluation.value_shape import value_shape
from ..physics.configuration import Configuration, check_box_width
from ..physics.disorder import FIELDS
from ..physics.potential import AbstractPotential
from ..physics.state import State
from ..plots.options import DEFAULT_PLOTS, PlotOptions
from .memory import check_memory

# Packings that the score function needs: an unbiased loss is made of two, and each packing is left out once.
LEAST_FOR_A_BASELINE = 3


@dataclasses.dataclass(frozen=True, repr=False)
class Experiment:
    """All that a training is made of, built from a configuration by `glasswright.build` or by hand.

    **Arguments:**

    - `design`: path of a parameter (`"potential.diameter"`, or `"diameter"` while that is unique) → its bounds, or a
      `Variable`, which also says how its gradient is obtained.
    - `combination`: how the terms become one gradient; None is their weighted sum.
    - `steps`: most training steps.
    - `tolerance`: stop when the loss is below it (populations only); zero never stops.
    - `seed`: seed of all randomness; configuration `i` of the run is drawn from it and `i`.
    - `checkpoint_interval`: steps between checkpoints.
    - `rejection_limit`: largest share of rejected configurations over the last 20 steps; beyond it the run ends.
    - `clip`: longest gradient of a property that a single packing contributes, in typical lengths; None sets no limit.
    - `devices`: how many cores (or accelerators) to use; None takes all.
    - `chunk_size`: how many configurations are in work at a time; None lets memory decide. No result depends on it.
    - `plots`: how pictures are drawn.
    - `keep_packings`: how many packings of the last step a run leaves whose packings are not followed.
    - `trajectory_interval`: steps between the followed packings that are kept as a trajectory; None keeps none.
    - `trackers`: what follows the training, by name: see `AbstractTracker`.
    - `executor`: where configurations are prepared and measured; None is this machine. No result depends on it.
    - `config`: the resolved configuration this was built from, kept with the results.
    """

    potential: AbstractPotential
    system: AbstractSystem
    protocol: AbstractProtocol
    sampler: AbstractSampler
    terms: dict[str, Term]
    design: Mapping[str, tuple[float, float] | Variable]
    optimizer: optax.GradientTransformation
    combination: AbstractCombination | None = None
    steps: int = 1000
    tolerance: float = 1e-6
    seed: int = 0
    checkpoint_interval: int = 100
    rejection_limit: float = 0.5
    clip: float | None = None
    devices: int | None = None
    chunk_size: int | None = None
    plots: PlotOptions = DEFAULT_PLOTS
    keep_packings: int = 0
    trajectory_interval: int | None = None
    trackers: Mapping[str, AbstractTracker] = dataclasses.field(default_factory=dict)
    executor: AbstractExecutor | None = None
    config: str | None = None

    def __repr__(self) -> str:
        terms = ", ".join(
            f"{name}: {term.weight:g} x {term.objective} of {term.property}" for name, term in self.terms.items()
        )
        variables = {name: v.bounds if isinstance(v, Variable) else v for name, v in self.design.items()}
        bounds = ", ".join(f"{name} in [{lower:g}, {upper:g}]" for name, (lower, upper) in variables.items())
        return (
            f"Experiment(\n  potential: {self.potential}\n  system: {self.system}\n  protocol: {self.protocol}\n"
            f"  sampler: {self.sampler}\n  terms: {terms}\n  design: {bounds}\n"
            f"  at most {self.steps} steps, tolerance {self.tolerance:g}, seed {self.seed}\n)"
        )

    @property
    def model(self) -> Model:
        """Potential, system and protocol, whose arrays are the candidates for design variables.

        The species of particles are drawn where their fractions are a design variable.
        """
        system = self.system
        if isinstance(system, System) and {COMPOSITION, COMPOSITION.rsplit(".", 1)[-1]} & set(self.design):
            system = system.drawing_species()
        return Model(self.potential, system, self.protocol)

    @functools.cached_property
    def problem(self) -> Problem:
        """The model with its design variables and terms, once all that can be known to be wrong has been checked.

        Raises `RequestError` with one line that names the key for whatever is wrong.
        """
        return check_experiment(self)

    @property
    def can_succeed(self) -> bool:
        """Whether a loss below the tolerance means success: every packing counts, and zero is the least loss."""
        return self.sampler.is_population and all(term.objective.least_is_zero for term in self.terms.values())


def check_experiment(experiment: Experiment) -> Problem:
    """The problem of an experiment; everything that can be known to be wrong before the run is a `RequestError`."""
    prepare_jax()
    for name, number, least in (
        ("train.steps", experiment.steps, 1),
        ("train.checkpoint_interval", experiment.checkpoint_interval, 1),
        ("train.tolerance", experiment.tolerance, 0.0),
        ("seed", experiment.seed, 0),
        ("train.rejection_limit", experiment.rejection_limit, 0.0),
    ):
        if not least <= number < float("inf"):
            raise RequestError(f"{name}={number}: must be finite and at least {least:g}")
    if experiment.clip is not None and not 0.0 < experiment.clip < float("inf"):
        raise RequestError(f"train.clip={experiment.clip}: must be positive and finite, or null for no limit")
    if not experiment.terms:
        raise RequestError("property=[]: nothing is asked for; name at least one property")
    check_executor(experiment.executor, experiment.devices)
    system = experiment.system
    check_memory(f"system.n_particles={system.n_particles}", system.n_particles, system.dimension, experiment.protocol)
    check_64_bit(experiment.model, "")
    check_disorder(experiment.potential, jax.eval_shape(system.start, jax.random.key(0)), "system", system)
    check_number(system, experiment.sampler)
    check_kept(experiment)
    check_start(experiment.potential, system, experiment.sampler)
    check_cutoff(experiment.potential, system.largest_particles, f"system.n_particles={system.n_particles}")
    provided = type(experiment.protocol).provides
    model = experiment.model
    design = resolve_design(model, experiment.design)
    check_estimators(experiment, design)
    for name, term in experiment.terms.items():
        check_provided(name, term.property, provided)
        key = f"terms.{name}.property"
        # Estimators need values only, which may jump.
        trained = term.is_trained and design.has_exact
        try:
            if trained:
                term.property.check_trained()
        except ValueError as error:
            raise RequestError(f"{key}: {error}") from error
        shape = value_shape(key, term.property, experiment.potential, experiment.system, provided, trained=trained)
        try:
            term.objective.check(experiment.sampler)
            if shape is not None:
                term.objective.check_property(term.property, shape)
        except ValueError as error:
            raise RequestError(f"terms.{name}.objective: {error}") from error
    try:
        if experiment.combination is not None:
            experiment.combination.check(list(experiment.terms))
    except ValueError as error:
        raise RequestError(f"combination: {error}") from error
    endless = [name for name, term in experiment.terms.items() if not term.objective.least_is_zero]
    if endless and getattr(experiment.optimizer.update, "needs_least_loss", False):
        objective = type(experiment.terms[endless[0]].objective).__name__
        raise RequestError(
            f"optimizer: takes its step from the distance to a loss of zero, and that of terms.{endless[0]} "
            f"({objective}) has no least value; take another, for instance optimizer=rmsprop"
        )
    check_optimizer(experiment.optimizer, design.values(model))
    if experiment.protocol.changes_box and "system.density" in design.paths:
        raise RequestError(
            "design.density: under a constant pressure the density follows from the interactions; train "
            "protocol.pressure instead, or fix the box with protocol.pressure=null"
        )
    return Problem(model, design, experiment.terms)


def check_optimizer(optimizer: optax.GradientTransformation, values: dict[str, Array]) -> None:
    """An optimizer takes a step with the gradient, the design and the loss; line searches, for instance, want more."""

    def step(values: dict[str, Array]) -> PyTree:
        state = optimizer.init(values)
        return optax.with_extra_args_support(optimizer).update(values, state, values, value=jnp.zeros(()))[0]

    try:
        updates = jax.eval_shape(step, values)
    except Exception as error:  # an optimizer raises what it likes
        raise RequestError(
            "optimizer: a step of a training has the gradient, the design and the loss, and it cannot do with them: "
            f"{named(error, 200)}"
        ) from error
    if jax.tree.map(lambda x: x.shape, updates) != jax.tree.map(jnp.shape, values):
        raise RequestError("optimizer: its update has not the shapes of the design")


def check_estimators(experiment: Experiment, design: Design) -> None:
    """Estimators of gradients compare packings that are prepared anew, several of them, and not all at the design."""
    sampler = experiment.sampler
    for name, estimator in design.estimator_of.items():
        if estimator.name == "exact":
            continue
        what = f"design.{name}: its gradient is estimated ({estimator.name})"
        if sampler.is_population:
            raise RequestError(
                f"{what} from packings that are prepared anew, and {type(sampler).__name__} follows the same ones; "
                "choose sampler=fresh"
            )
        if estimator.name == "score" and sampler.size < LEAST_FOR_A_BASELINE:
            raise RequestError(
                f"{what} by comparing each packing with the others: sampler.size={sampler.size} must be at least "
                f"{LEAST_FOR_A_BASELINE}"
            )
        if estimator.name == "evolution" and experiment.keep_packings:
            raise RequestError(
                f"train.keep_packings={experiment.keep_packings}: the packings of this training are prepared on both "
                f"sides of its design (design.{name}), none at it; leave it out"
            )


def check_provided(name: str, wanted: AbstractProperty, provided: type[State]) -> None:
    """A property can only read a state that the protocol gives."""
    if not issubclass(provided, wanted.requires):
        raise RequestError(
            f"property {name}: needs {wanted.requires.__name__}, which the protocol does not give "
            f"(it gives {provided.__name__})"
        )


def check_disorder(
    potential: AbstractPotential, configuration: Configuration, given: str, system: AbstractSystem | None = None
) -> None:
    """Disorder that the potential knows nothing of would be ignored silently."""
    for field in configuration.disorder:
        if not potential.knows_disorder(field):
            key = FIELDS.get(field, field)
            own = getattr(system, key, None)
            what = f"{given}: has the disorder {field}" if own is None else f"{given}.{key}={own:g}"
            raise RequestError(f"{what}, which the potential {type(potential).__name__} does not know")


def check_number(system: AbstractSystem, sampler: AbstractSampler) -> None:
    """A system with a limited number of configurations needs a sampler that asks for no others."""
    available = system.n_configurations
    if available is None:
        return
    there_are = f"the system has {available} configuration{'s' if available > 1 else ''}"
    if not sampler.is_population:
        raise RequestError(
            f"sampler: {type(sampler).__name__} draws others in every step, and {there_are}; choose sampler=tracked"
        )
    if max(sampler.indices(0)) >= available:
        raise RequestError(f"sampler.size={sampler.size}: {there_are} and no more")


def check_kept(experiment: Experiment) -> None:
    """Packings that are followed are left anyway, and only they have a trajectory."""
    sampler = experiment.sampler
    if sampler.is_population and experiment.keep_packings:
        raise RequestError(
            f"train.keep_packings={experiment.keep_packings}: the packings of this run are followed, and all of them "
            "are left in final.extxyz; leave it out"
        )
    if experiment.keep_packings > sampler.size:
        raise RequestError(
            f"train.keep_packings={experiment.keep_packings}: a step has {sampler.size} packings (sampler.size)"
        )
    if not sampler.is_population and experiment.trajectory_interval is not None:
        raise RequestError(
            f"train.trajectory_interval={experiment.trajectory_interval}: no packings are followed from step to step; "
            "choose sampler=tracked, or keep the last packings with train.keep_packings"
        )


def check_start(potential: AbstractPotential, system: AbstractSystem, sampler: AbstractSampler) -> None:
    """A potential that belongs to one packing needs the system of that packing, and a sampler that follows it."""
    start = potential.start
    if start is None:
        return
    name = type(potential).__name__
    if not (sampler.is_population and sampler.size == 1):
        raise RequestError(
            f"sampler: {name} belongs to the one packing that it was made from, and there are no others to draw; "
            "choose sampler=tracked sampler.size=1"
        )
    density = float(start.n_particles / start.volume)
    for key, given, needed in (
        ("n_particles", system.n_particles, start.n_particles),
        ("dimension", system.dimension, start.dimension),
        ("density", float(system.density), density),
    ):
        if not math.isclose(given, needed, rel_tol=1e-12):
            raise RequestError(f"system.{key}={given}: the packing that {name} was made from has {key} {needed}")
    if not np.allclose(start.box, system.box, rtol=0.0, atol=2e-12 * float(np.max(np.abs(start.box)))):
        raise RequestError(
            f"system.box: is not that of the packing that {name} was made from; give system.box={start.box.tolist()}"
        )


def check_cutoff(potential: AbstractPotential, configuration: Configuration, given: str) -> None:
    """Twice the cutoff has to fit into the box, or a particle would meet another one twice."""
    check_box_width(configuration.box, potential.reach(configuration), given)
