import dataclasses
from typing import Any

import optax

from ._configuration import box_width
from ._design import Design, resolve_design
from ._errors import RequestError
from ._objective import Term
from ._potential import AbstractPotential
from ._property import AbstractProperty
from ._protocol import AbstractProtocol
from ._sampler import AbstractSampler
from ._state import State
from ._system import System


@dataclasses.dataclass(frozen=True, repr=False)
class Experiment:
    """Everything a training run is made of: built from a configuration by `config.build`, or by hand.

    **Arguments:**

    - `design`: path of a parameter (`"potential.diameter"`, or `"diameter"` while that is unique) → its bounds.
    - `steps`: most training steps.
    - `tolerance`: stop when the loss is below it (populations only); zero never stops.
    - `seed`: seed of all randomness; configuration `i` of the run is drawn from it and `i`.
    - `checkpoint_interval`: steps between checkpoints.
    - `rejection_limit`: largest share of rejected configurations over the last 20 steps; beyond it the run ends.
    - `clip`: longest gradient of a property that a single packing contributes, in typical lengths; None sets no limit.
    - `devices`: how many cores (or accelerators) to use; None takes all.
    - `chunk_size`: how many configurations are in work at a time; None lets memory decide. No result depends on it.
    - `config`: the resolved configuration this was built from, kept with the results.
    """

    potential: AbstractPotential
    system: System
    protocol: AbstractProtocol
    sampler: AbstractSampler
    terms: dict[str, Term]
    design: dict[str, tuple[float, float]]
    optimizer: optax.GradientTransformation
    steps: int = 1000
    tolerance: float = 1e-6
    seed: int = 0
    checkpoint_interval: int = 100
    rejection_limit: float = 0.5
    clip: float | None = None
    devices: int | None = None
    chunk_size: int | None = None
    config: Any = None

    def __repr__(self) -> str:
        terms = ", ".join(
            f"{name}: {term.weight:g} x {term.objective} of {term.property}" for name, term in self.terms.items()
        )
        bounds = ", ".join(f"{name} in [{lower:g}, {upper:g}]" for name, (lower, upper) in self.design.items())
        return (
            f"Experiment(\n  potential: {self.potential}\n  system: {self.system}\n  protocol: {self.protocol}\n"
            f"  sampler: {self.sampler}\n  terms: {terms}\n  design: {bounds}\n"
            f"  at most {self.steps} steps, tolerance {self.tolerance:g}, seed {self.seed}\n)"
        )

    @property
    def world(self) -> dict[str, Any]:
        """What design variables can be found in."""
        return {"potential": self.potential, "system": self.system, "protocol": self.protocol}


def check_experiment(experiment: Experiment) -> Design:
    """Everything that can be known to be wrong before the run starts, as a `RequestError`; returns the design."""
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
    check_cutoff(experiment.potential, experiment.system.box, f"system.n_particles={experiment.system.n_particles}")
    provided = type(experiment.protocol).provides
    for name, term in experiment.terms.items():
        check_provided(name, term.property, provided)
        try:
            term.objective.check(experiment.sampler)
        except ValueError as error:
            raise RequestError(f"terms.{name}.objective: {error}") from error
    return resolve_design(experiment.world, experiment.design)


def check_provided(name: str, wanted: AbstractProperty, provided: type[State]) -> None:
    """A property can only read a state that the protocol gives."""
    if not issubclass(provided, type(wanted).requires):
        raise RequestError(
            f"property {name}: needs {type(wanted).requires.__name__}, which the protocol does not give "
            f"(it gives {provided.__name__})"
        )


def check_cutoff(potential: AbstractPotential, box, given: str) -> None:
    """Twice the cutoff has to fit into the box, or a particle would meet another one twice."""
    width, cutoff = float(box_width(box)), float(potential.cutoff)
    if 2.0 * cutoff > width:
        raise RequestError(
            f"{given}: the box is {width:.6g} wide, less than twice the cutoff {cutoff:.6g} of the potential; "
            "take more particles, a lower density or a shorter range"
        )
