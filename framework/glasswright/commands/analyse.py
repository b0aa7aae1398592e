"""`glasswright analyse`: what a packing or an ensemble can become and at what cost; its bonds and vibrations."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

import numpy as np

from .._errors import RequestError, suggestion
from .._types import Setting
from ..components.objective import NoObjective, Term
from ..config.blocks import build_design, build_plots, drop_open_objectives
from ..config.data import Config, only, plain, request_of, to_yaml, with_keys, without
from ..config.instantiate import instantiate
from ..config.paths import with_absolute_paths
from ..config.systems import plain_request
from ..config.values import integer, number
from ..evaluation.design import resolve_design
from ..evaluation.problem import GivenPacking, Model, Problem
from ..jobs import analyse as job
from ..jobs.analysis import DESIGN_SCALES, PARTS, PROPERTY_SCALES, Analysis, check_analysis
from ..jobs.measure import check_measurable
from ..jobs.tunability import AVERAGES
from ..physics.configuration import Configuration
from ..plots.options import PlotOptions
from ..registry.registry import registry
from ..run.extxyz import read_frames
from .analysis_summary import summarise
from .command import AUTO, NUMBERS_BY_NAME, Command, described
from .measure import build_measurement
from .train import BASE, SHARED, all_arrays
from .trained import build_trained

OWN_KEYS = (
    "run",
    "configuration",
    "relax",
    "parts",
    "n_configurations",
    "property_scale",
    "design_scale",
    "average",
    "clip",
    "change",
    "smallest_step",
    "largest_step",
    "n_steps",
    "trained",
    "plots",
)
# Fresh packings whose tunability is averaged, where none is given.
MANY = 50


def build_analysis(config: Config, folder: Path | None = None) -> Analysis:
    """The `Analysis` that a configuration of `analyse` describes; file names are relative to `folder`.

    Raises `RequestError` with one line that names the key for everything that is wrong with it.
    """
    own = dict.fromkeys(OWN_KEYS) | plain(only(config, OWN_KEYS))
    given = without(request_of(config), OWN_KEYS)
    if own["run"] is not None and own["configuration"] is not None:
        raise RequestError("configuration: a run brings its own packing; name either run=… or configuration=…")
    options = _options(own)
    if own["configuration"] is not None:
        request = _of_a_packing(given, own, options, folder)
    else:
        request = _of_an_ensemble(given, own, options, folder or Path.cwd())
    check_analysis(request)
    return request


class _Options(TypedDict):
    """What an analysis is told in plain numbers and names; see `Analysis`."""

    parts: tuple[str, ...]
    property_scale: str | Mapping[str, float]
    design_scale: str
    average: str
    clip: float
    change: Mapping[str, float]
    plots: PlotOptions
    steps: tuple[float, ...]


def _options(own: Mapping[str, Setting]) -> _Options:
    """What is said in plain numbers and names."""
    parts = own["parts"]
    parts = [parts] if isinstance(parts, str) else parts
    if not isinstance(parts, list) or not parts:
        raise RequestError(f"parts={parts!r}: must be a list; possible: {', '.join(PARTS)}")
    for part in parts:
        if part not in PARTS:
            raise RequestError(f"parts: no such part {part!r}; {suggestion(str(part), PARTS)}")
    smallest, largest = number(own["smallest_step"], "smallest_step"), number(own["largest_step"], "largest_step")
    if not 0.0 < smallest < largest:
        raise RequestError(
            f"largest_step={largest:g}: must be larger than smallest_step={smallest:g}, which is positive"
        )
    clip = number(own["clip"], "clip")
    if not clip > 0.0:
        raise RequestError(f"clip={clip:g}: must be positive")
    scale = own["property_scale"]
    if isinstance(scale, dict):
        scale = {name: number(value, f"property_scale.{name}") for name, value in scale.items()}
        for name, value in scale.items():
            if not value > 0.0:
                raise RequestError(f"property_scale.{name}={value:g}: must be positive")
    else:
        _check_choice("property_scale", scale, PROPERTY_SCALES, " or numbers by name: {pressure: 0.1}")
    _check_choice("design_scale", own["design_scale"], DESIGN_SCALES)
    _check_choice("average", own["average"], AVERAGES)
    change = own["change"] or {}
    if not isinstance(change, dict):
        raise RequestError(f"change={change!r}: must be numbers by property, such as change.pressure=0.05")
    change = {name: number(value, f"change.{name}") for name, value in change.items()}
    if change and not any(change.values()):
        raise RequestError("change: nothing is to change: every number is zero")
    return {
        "parts": tuple(part for part in PARTS if part in parts),
        "property_scale": scale,
        "design_scale": own["design_scale"],
        "average": own["average"],
        "clip": clip,
        "change": change,
        "plots": build_plots(own["plots"]),
        "steps": tuple(np.geomspace(smallest, largest, integer(own["n_steps"], "n_steps", least=2)).tolist()),
    }


def _check_choice(key: str, value: object, known: tuple[str, ...], more: str = "") -> None:
    if value not in known:
        raise RequestError(f"{key}={value}: {suggestion(str(value), known)}{more}")


def _count(value: object, has_packing: bool, available: int | None) -> int:
    """How many fresh packings; zero where one is there already."""
    if value == "auto":
        return 0 if has_packing else min(MANY, MANY if available is None else available)
    count = integer(value, "n_configurations", least=1)
    if available is not None and count > available:
        raise RequestError(f"n_configurations={count}: the system has {available} configurations")
    return count


def _of_a_packing(given: Config, own: Mapping[str, Setting], options: _Options, folder: Path | None) -> Analysis:
    """Of a packing from a file, whose potential the request describes."""
    if own["n_configurations"] != "auto":
        raise RequestError("n_configurations: a packing is given; fresh ones need run=… or experiment=… instead")
    wanted = only(given, ["potential", "protocol", "terms"])
    packing = {"configuration": own["configuration"], "relax": own["relax"], "trained": own["trained"]}
    measured = build_measurement(with_keys(wanted, **packing), folder, differentiable=True)
    check_measurable(measured)
    # What follows the system follows the file.
    size = {
        "n_particles": measured.configuration.n_particles,
        "dimension": measured.configuration.dimension,
        "n_species": int(measured.configuration.species.max()) + 1,
    }
    base = folder or Path.cwd()
    data = with_absolute_paths(plain(with_keys(wanted, **packing, system=size, design=given.get("design") or {})), base)
    terms = data.get("terms") or {}
    drop_open_objectives(terms)
    objectives = {
        name: instantiate("objective", node["objective"], f"terms.{name}.objective", data["system"])
        for name, node in terms.items()
        if node.get("objective") is not None
    }
    bounds = build_design(data["design"]) or all_arrays(measured.potential)
    wanted_of = {name: Term(prop, objectives.get(name, NoObjective())) for name, prop in measured.properties.items()}

    config = to_yaml(data | dict(own) | {"configuration": str((base / str(own["configuration"])).resolve())})

    def of_frame(packing: Configuration) -> Analysis:
        model = Model(measured.potential, GivenPacking(packing.box, packing), measured.protocol)
        return Analysis(
            problem=Problem(model, resolve_design(model, bounds), wanted_of),
            packing=packing,
            source=str(own["configuration"]),
            implicit=not terms,
            config=config,
            **options,
        )

    further = tuple(of_frame(packing) for packing in measured.further)
    return dataclasses.replace(of_frame(measured.configuration), further=further)


def _of_an_ensemble(given: Config, own: Mapping[str, Setting], options: _Options, folder: Path) -> Analysis:
    """Of a run, or of what a training would start from."""
    data = plain_request(given, folder)
    if not data.get("terms"):
        possible = ", ".join(registry().components("property"))
        raise RequestError(
            "nothing is asked for: name run=DIR, configuration=FILE.extxyz, experiment=NAME or property=[…]; "
            f"possible properties: {possible}"
        )
    trained = build_trained(data, own, all_may_vary=True)
    experiment, model = trained.experiment, trained.model
    packing = _packing_of(own["run"], model) if own["n_configurations"] == "auto" else None
    source = "fresh" if packing is None else "final.extxyz"
    own_start = model.potential.start
    if packing is None and own_start is not None:
        # A potential that belongs to one packing has no others.
        packing, source = own_start, "the potential's own"
    return Analysis(
        problem=trained.problem,
        packing=packing,
        source=source,
        n_configurations=_count(own["n_configurations"], packing is not None, model.system.n_configurations),
        seed=experiment.seed,
        devices=experiment.devices,
        chunk_size=experiment.chunk_size,
        executor=experiment.executor,
        config=trained.config,
        **options,
    )


def _packing_of(run: str | None, model: Model) -> Configuration | None:
    """The first packing that a run ended with, if it followed any and this is still its system."""
    path = None if run is None else Path(run) / "final.extxyz"
    # What is there before a run has ended is of an earlier part of it, at another design.
    if path is None or not path.exists() or not path.with_name("result.json").exists():
        return None
    packing, system = read_frames(path)[0], model.system
    if packing.n_particles != system.n_particles or packing.box.shape != system.box.shape:
        return None
    same_box = model.protocol.changes_box or np.allclose(packing.box, system.box, rtol=1e-9, atol=0.0)
    return packing if same_box else None


def _run(request: Analysis, directory: Path | None, *, progress: bool) -> job.AnalysisReport:
    return job.analyse(request, directory, progress=progress)


_POSITIVE = {"type": "number", "exclusiveMinimum": 0}
ANALYSE: Command[Analysis, job.AnalysisReport] = Command(
    noun="an analysis",
    shared=SHARED,
    own={
        "run": described({"type": ["string", "null"]}, "directory of a training, whose packing is analysed"),
        "configuration": described({"type": ["string", "null"]}, "an extended XYZ file, in the place of a run"),
        "relax": described({"type": "boolean"}, "whether to relax the packing first"),
        "parts": described(
            {"type": "array", "items": {"enum": list(PARTS)}, "minItems": 1, "uniqueItems": True},
            "the parts of the analysis",
        ),
        "n_configurations": described(AUTO, "number of fresh packings over which tunability is averaged"),
        "property_scale": described(
            {"anyOf": [{"enum": list(PROPERTY_SCALES)}, {"type": "object", "additionalProperties": _POSITIVE}]},
            f"unit of a property, {', '.join(PROPERTY_SCALES)} or {{NAME: NUMBER}}",
        ),
        "design_scale": described(
            {"enum": list(DESIGN_SCALES)}, f"unit of a design variable, {' or '.join(DESIGN_SCALES)}"
        ),
        "average": described({"enum": list(AVERAGES)}, f"average over packings, {', '.join(AVERAGES)}"),
        "clip": described(_POSITIVE, "longest gradient in the clipped average, in median lengths"),
        "change": described(
            {"type": "object", "additionalProperties": {"type": "number"}},
            "a wanted change of properties, by default that to their targets",
        ),
        "smallest_step": described(_POSITIVE, "shortest step along the gradient"),
        "largest_step": described(_POSITIVE, "longest step along the gradient"),
        "n_steps": described({"type": "integer", "minimum": 2}, "number of steps between the shortest and the longest"),
        "trained": described(NUMBERS_BY_NAME, "the trained values, filled in from the run"),
    },
    nodes=BASE,
    build=build_analysis,
    run=_run,
    summarise=summarise,
    recognise=lambda keys: "parts" in keys,
)
