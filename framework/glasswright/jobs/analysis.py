"""What is to be analysed: the request of `analyse`, and what can be known to be wrong with it."""

import dataclasses
from collections.abc import Mapping

from .._errors import RequestError, suggestion
from ..components.executor import AbstractExecutor
from ..evaluation.problem import Problem
from ..evaluation.value_shape import value_shape
from ..physics.configuration import Configuration
from ..physics.pair_potential import AbstractPairPotential
from ..physics.state import Equilibrium
from ..physics.vibrations import MOST_COORDINATES
from ..plots.options import DEFAULT_PLOTS, PlotOptions

PARTS = ("tunability", "predictiveness", "bonds", "vibrations")
# What a change of a property, and a step of a design variable, can be measured in.
PROPERTY_SCALES = ("magnitude", "standard_deviation")
DESIGN_SCALES = ("magnitude", "bounds")


@dataclasses.dataclass(frozen=True)
class Analysis:
    """What is to be analysed, and how.

    **Arguments:**

    - `problem`: the model at the design that is analysed, its design variables, and the properties as terms, where an
      objective with a target says which change is wanted.
    - `parts`: some of `tunability`, `predictiveness`, `bonds`, `vibrations`.
    - `packing`: the packing to analyse, and `source`, where it is from; None takes fresh ones.
    - `n_configurations`: fresh packings whose mean tunability is taken; zero takes that of `packing`.
    - `property_scale`, `design_scale`, `average`, `clip`: see `glasswright.jobs.tunability`.
    - `change`: wanted changes by property; empty takes the way to the targets.
    - `steps`: lengths of the steps of predictiveness, in scales of the design, the shortest first.
    - `implicit`: nobody named the properties: those that are arrays are left out.
    - `seed`, `devices`, `chunk_size`, `plots`, `executor`, `config`: as in a training.
    - `further`: the same for more packings of the same file.
    """

    problem: Problem
    parts: tuple[str, ...] = PARTS
    packing: Configuration | None = None
    source: str = "fresh"
    n_configurations: int = 0
    property_scale: str | Mapping[str, float] = "magnitude"
    design_scale: str = "magnitude"
    average: str = "mean"
    clip: float = 4.0
    change: Mapping[str, float] = dataclasses.field(default_factory=dict)
    steps: tuple[float, ...] = ()
    implicit: bool = False
    seed: int = 0
    devices: int | None = None
    chunk_size: int | None = None
    plots: PlotOptions = DEFAULT_PLOTS
    executor: AbstractExecutor | None = None
    config: str | None = None
    further: tuple["Analysis", ...] = ()


def check_analysis(request: Analysis) -> None:
    """Everything that can be known to be wrong before anything is written, as a `RequestError`."""
    for another in request.further:
        check_analysis(another)
    model, terms = request.problem.model, request.problem.terms
    potential, box = model.potential, model.system.box
    n = request.packing.n_particles if request.packing is not None else model.system.n_particles
    coordinates = n * box.shape[0]
    if "bonds" in request.parts and not isinstance(potential, AbstractPairPotential):
        raise RequestError(
            f"parts: bonds needs a sum over pairs, which {type(potential).__name__} is not; leave it out"
        )
    provided = type(model.protocol).provides
    if {"bonds", "vibrations"} & set(request.parts) and not issubclass(provided, Equilibrium):
        raise RequestError(
            f"parts: bonds and vibrations need a minimum, which the protocol does not give (it gives "
            f"{provided.__name__}); leave them out"
        )
    if "vibrations" in request.parts and coordinates > MOST_COORDINATES:
        raise RequestError(
            f"parts: vibrations needs all modes, and {n} particles have {coordinates} coordinates; at most "
            f"{MOST_COORDINATES} are possible; leave it out, or take fewer particles"
        )
    if request.problem.design.has_exact and {"tunability", "predictiveness"} & set(request.parts):
        # Both are made of gradients.
        for name, term in terms.items():
            value_shape(f"terms.{name}.property", term.property, potential, model.system, provided, trained=True)
    for name in request.change:
        if name.partition("[")[0] not in terms:
            raise RequestError(f"change.{name}: no such property here; {suggestion(name, list(terms))}")
    if isinstance(request.property_scale, Mapping):
        for name in request.property_scale:
            if name.partition("[")[0] not in terms:
                known = suggestion(name, list(terms))
                raise RequestError(f"property_scale.{name}: no such property here; {known}")
    if request.property_scale == "standard_deviation" and request.n_configurations < 2:
        raise RequestError("property_scale=standard_deviation: needs several packings; set n_configurations")
