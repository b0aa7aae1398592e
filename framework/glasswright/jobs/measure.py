"""Measuring properties of an existing packing, and their gradients in the parameters of its potential."""

import dataclasses
import functools
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NotRequired, TypedDict

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .._errors import RequestError, RunError
from .._jax import check_64_bit, prepare_jax
from .._types import Numbers
from ..components.objective import NoObjective, Term
from ..components.property import AbstractProperty
from ..components.protocol import AbstractProtocol, Outcome, Prepared
from ..evaluation.design import Design, DesignValues, resolve_design, trainable_leaves
from ..evaluation.diagnosis import NOT_RIGID, describe_failure
from ..evaluation.measurement import gradients_of_given, is_rigid, values_of_given
from ..evaluation.model import GivenPacking, Model
from ..evaluation.problem import Problem
from ..evaluation.statistics import standard_error
from ..evaluation.value_shape import UnusableProperty, value_shape
from ..physics.configuration import Configuration
from ..physics.pair_list import build_pair_list
from ..physics.potential import AbstractPotential
from ..physics.state import Equilibrium
from ..physics.units import natural_units
from ..run.files import make_folder, write_json
from .experiment import check_cutoff, check_disorder, check_provided
from .memory import check_memory

logger = logging.getLogger(__name__)
# A packing counts as a minimum up to this force, in the potential's own units (`natural_units`): coordinates written
# with 12 digits reach it, values are then good to about the same relative accuracy.
FORCE_LIMIT = 1e-9
# A free box counts as at rest up to this change, relative to its longest lattice vector.
BOX_LIMIT = 1e-8


@dataclasses.dataclass(frozen=True)
class MeasureRequest:
    """An existing packing, its interactions, and what is to be measured.

    **Arguments:**

    - `relax`: prepare the packing first (a quench from where it stands); otherwise one not at a minimum is refused.
    - `gradient`: also give the gradient of every scalar property in the potential's parameters.
    - `further`: more packings of the same file, which are measured as the first.
    """

    configuration: Configuration
    potential: AbstractPotential
    protocol: AbstractProtocol
    properties: dict[str, AbstractProperty]
    relax: bool = False
    gradient: bool = False
    further: tuple[Configuration, ...] = ()

    @property
    def frames(self) -> list["MeasureRequest"]:
        """A request for each of the packings."""
        every = (self.configuration, *self.further)
        return [dataclasses.replace(self, configuration=frame, further=()) for frame in every]

    @functools.cached_property
    def is_measurable(self) -> bool:
        """True, once all that can be known to be wrong has been checked. Raises `RequestError` for whatever is."""
        check_measurable(self)
        return True


class PropertyReport(TypedDict):
    """The value of a property, and its gradient by parameter: numbers or nested lists of numbers.

    A property that could not be measured has no value, and an `error` that says why. One without derivative has a
    gradient of None. Of several packings, values and gradients are means, `standard_error` is that of the mean value.
    """

    value: Numbers | None
    standard_error: NotRequired[Numbers | None]
    gradient: NotRequired[dict[str, Numbers] | None]
    error: NotRequired[str]


class MeasureReport(TypedDict):
    """The content of `measure.json`.

    `largest_displacement`: how far the particle that moved most was moved by `relax`, in units of length. Of several
    packings, both lengths and forces are the largest, and `frames` has a report for each packing.
    """

    max_force: float
    largest_displacement: NotRequired[float]
    properties: dict[str, PropertyReport]
    frames: NotRequired[list["MeasureReport"]]


def max_force(potential: AbstractPotential, configuration: Configuration) -> float:
    """Largest force component on any particle, in energy per length."""
    neighbors = build_pair_list(configuration, potential.reach(configuration))
    return float(jnp.max(jnp.abs(potential.gradient(configuration, neighbors))))


def check_measurable(request: MeasureRequest) -> None:
    """Refuse what cannot be measured, before anything is written."""
    if not request.further:
        return _check_one(request)
    for number, frame in enumerate(request.frames):
        try:
            _check_one(frame)
        except RequestError as error:
            raise type(error)(f"packing {number} of the file: {error}") from error


def _check_one(request: MeasureRequest) -> None:
    prepare_jax()
    n = request.configuration.n_particles
    check_memory(f"configuration with {n} particles", n, request.configuration.dimension, request.protocol)
    check_64_bit(request.potential, "potential")
    check_64_bit(request.configuration, "configuration")
    check_disorder(request.potential, request.configuration, "configuration")
    start = request.potential.start
    if start is not None and start.n_particles != n:
        raise RequestError(
            f"configuration with {n} particles: {type(request.potential).__name__} was made from a packing of "
            f"{start.n_particles}"
        )
    check_cutoff(request.potential, request.configuration, f"configuration with {n} particles")
    if not request.properties:
        raise RequestError("property=[]: no registered property fits this protocol")
    for name, wanted in request.properties.items():
        check_provided(name, wanted, type(request.protocol).provides)
    refused = [error for name in request.properties if (error := _refusal(request, name)) is not None]
    # One that fails does not take the others with it, but what can never be kept is refused.
    for error in refused:
        if isinstance(error, UnusableProperty) or len(refused) == len(request.properties):
            raise error
    if issubclass(type(request.protocol).provides, Equilibrium) and not request.relax:
        force = max_force(request.potential, request.configuration)
        limit = FORCE_LIMIT * natural_units(request.potential, request.configuration).force
        if not force <= limit:
            raise RequestError(
                f"configuration: not at a minimum of this potential: max|F| = {force:.3e}, at most {limit:g} is "
                "accepted; give the parameters it was made with, or relax=true to relax it first"
            )


def _refusal(request: MeasureRequest, name: str, *, trained: bool = False) -> RequestError | None:
    """What is known to be wrong with a property before it is measured, or differentiated where it is `trained`."""
    packing = GivenPacking(request.configuration.box, request.configuration)
    measured, provided = request.properties[name], type(request.protocol).provides
    try:
        value_shape(f"terms.{name}.property", measured, request.potential, packing, provided, trained=trained)
    except RequestError as error:
        return error
    return None


def measure(request: MeasureRequest, directory: str | Path | None = None) -> MeasureReport:
    """Measure a packing, or several; returns what `measure.json` holds."""
    _ = request.is_measurable
    reports = [_measure_one(frame) for frame in request.frames]
    report = _summary(reports) if request.further else reports[0]
    if directory is not None:
        make_folder(Path(directory))
        write_json(Path(directory) / "measure.json", report)
    return report


def _summary(frames: list[MeasureReport]) -> MeasureReport:
    """The report of several packings: means and standard errors of what could be measured, and each packing's own."""
    report: MeasureReport = {"max_force": max(frame["max_force"] for frame in frames), "properties": {}}
    moved = [frame["largest_displacement"] for frame in frames if "largest_displacement" in frame]
    if moved:
        report["largest_displacement"] = max(moved)
    for name in frames[0]["properties"]:
        entries = [frame["properties"][name] for frame in frames]
        measured = [entry for entry in entries if entry["value"] is not None]
        errors = [entry["error"] for entry in entries if "error" in entry]
        summary: PropertyReport = {"value": None}
        if len({np.shape(np.asarray(entry["value"])) for entry in measured}) == 1:
            values = np.asarray([entry["value"] for entry in measured], dtype=float)
            error = standard_error(values)
            summary = {"value": np.mean(values, axis=0).tolist()}
            summary["standard_error"] = None if error is None else error.tolist()
            gradients = [entry["gradient"] for entry in measured if entry.get("gradient") is not None]
            if gradients:
                summary["gradient"] = {
                    key: np.mean([gradient[key] for gradient in gradients if gradient], axis=0).tolist()
                    for key in gradients[0] or {}
                }
        if errors:
            summary["error"] = f"{len(errors)} of {len(entries)} packings: {errors[0]}"
        report["properties"][name] = summary
    report["frames"] = frames
    return report


def _measure_one(request: MeasureRequest) -> MeasureReport:
    prepared = request.protocol.relax(request.potential, request.configuration, key=jax.random.key(0))
    outcome = Outcome(int(prepared.outcome))
    if outcome != Outcome.converged:
        raise RunError(f"the packing could not be prepared: {outcome.name}")
    if not request.relax:
        _check_box(request, prepared.configuration)
    problem = _problem_of(request, prepared)
    values, where = problem.initial_values, "the configuration"
    measured, errors = _measure_values(problem, values, prepared, where)
    lacking = [name for name, value in measured.items() if not np.all(np.isfinite(value))]
    if lacking and not is_rigid(problem, values, prepared):
        errors |= {name: f"terms.{name}.property: {NOT_RIGID}" for name in lacking}
    report: MeasureReport = {"max_force": max_force(request.potential, prepared.configuration), "properties": {}}
    if request.relax:
        report["largest_displacement"] = _largest_displacement(request, prepared.configuration)
    for name in request.properties:
        if name in errors:
            report["properties"][name] = {"value": None, "error": errors[name]}
            continue
        entry: PropertyReport = {"value": np.asarray(measured[name]).tolist()}
        if request.gradient and values and np.ndim(measured[name]) == 0:
            entry["gradient"] = _gradient(request, problem, name, prepared, where)
        report["properties"][name] = entry
    return report


def _check_box(request: MeasureRequest, prepared: Configuration) -> None:
    """Refuse a packing whose box a protocol had to change that frees it, where nobody asked to relax it."""
    before, after = np.asarray(request.configuration.box), np.asarray(prepared.box)
    change = float(np.max(np.abs(after - before)) / np.max(np.abs(before)))
    if change > BOX_LIMIT:
        raise RequestError(
            f"configuration: its box is not at rest under protocol.pressure: lattice vectors would change by "
            f"{change:.1e} of their length; give the pressure it was made with, null for a fixed box, or relax=true to "
            "relax it first"
        )


def _largest_displacement(request: MeasureRequest, relaxed: Configuration) -> float:
    """How far a particle moved in the relaxation at most; warns if the packing has left the minimum it was in."""
    change = np.asarray(relaxed.fractional) - np.asarray(request.configuration.fractional)
    # A translation of everything is no motion.
    change -= np.mean(change, axis=0)
    moved = float(np.max(np.linalg.norm(change @ np.asarray(relaxed.box).T, axis=1)))
    limit = getattr(request.protocol, "follow_limit", None)
    unit = natural_units(request.potential, relaxed).length
    if limit is not None and moved > limit * unit:
        logger.warning(
            "relax=true: a particle moved by %.3g, further than protocol.follow_limit=%g%s: this is another minimum "
            "than that of the given packing; is the potential the one that it was made with?",
            moved,
            limit,
            "" if unit == 1.0 else f" in units of {unit:g}",
        )
    return moved


def _measure_values(
    problem: Problem, values: DesignValues, prepared: Prepared, where: str
) -> tuple[Mapping[str, Array | np.ndarray], dict[str, str]]:
    """The values of all properties together, or each by itself if that fails; and what is wrong with those that fail.

    Raises `RunError` if all of them do.
    """

    def of(names: Iterable[str]) -> Mapping[str, Array | np.ndarray]:
        return values_of_given(problem.only(names), values, prepared, where)

    measured: dict[str, Array | np.ndarray] = {}
    errors: dict[str, str] = {}
    try:
        return of(problem.terms), {}
    except Exception as error:  # a property may fail in any way, when it runs as well
        for name, term in problem.terms.items():
            try:
                measured |= of([name])
            except RunError as of_property:
                errors[name] = str(of_property)
            except Exception as of_property:
                failure = describe_failure(of_property, term.property)
                errors[name] = f"terms.{name}.property: {failure} on {where}"
        if not measured:
            raise RunError("; ".join(errors.values())) from error
    return measured, errors


def _gradient(
    request: MeasureRequest, problem: Problem, name: str, prepared: Prepared, where: str
) -> dict[str, Numbers] | None:
    """The gradient of a property; None, with a warning, if it has none.

    Each property for itself: its digits do not depend on what else is measured.
    """
    try:
        refusal = _refusal(request, name, trained=True)
        if refusal is not None:
            raise refusal
        gradients = gradients_of_given(problem.only([name]), problem.initial_values, prepared, where)
    except (RequestError, RunError) as error:
        logger.warning("property %s: no gradient: %s", name, str(error).removeprefix(f"terms.{name}.property: "))
        return None
    return {key: np.asarray(g).tolist() for key, g in gradients[name].items()}


def _problem_of(request: MeasureRequest, prepared: Prepared) -> Problem:
    """The properties of a prepared packing, as functions of all parameters of its potential."""
    packing = GivenPacking(prepared.configuration.box, prepared.configuration)
    model = Model(request.potential, packing, request.protocol)
    parameters = trainable_leaves({"potential": request.potential})
    unbounded = dict.fromkeys(parameters, (-float("inf"), float("inf")))
    design = resolve_design(model, unbounded) if unbounded else Design((), (), (), ())
    terms = {name: Term(wanted, NoObjective()) for name, wanted in request.properties.items()}
    return Problem(model, design, terms)
