"""`glasswright measure`: properties of an existing packing, and their gradients."""

import logging
import shlex
from collections.abc import Mapping
from pathlib import Path

from .._errors import RequestError
from .._types import JSON
from ..config.blocks import build_property, fitting_properties
from ..config.carried import with_trained
from ..config.data import Config, is_given, plain, request_of, with_keys
from ..config.instantiate import instantiate
from ..config.paths import with_absolute_paths
from ..config.values import boolean, check_names, require_values
from ..evaluation.model import GivenPacking
from ..evaluation.value_shape import only_usable
from ..jobs import measure as job
from ..jobs.measure import MeasureReport, MeasureRequest
from ..physics.configuration import Configuration
from ..run.extxyz import read_frames
from ..run.packings import read_packings
from .command import NUMBERS_BY_NAME, Command, described

_KEYS = dict.fromkeys(
    ("potential", "protocol", "terms", "run", "configuration", "relax", "gradient", "trained", "system")
)

logger = logging.getLogger(__name__)


def build_measurement(config: Config, folder: Path | None = None, *, differentiable: bool = False) -> MeasureRequest:
    """The `MeasureRequest` of a configuration of `measure`; file names are relative to `folder`.

    Where no property is named, all that can be measured are taken, and with `differentiable` only those that have a
    derivative.
    """
    given = request_of(config)
    if "system" in given:
        raise RequestError("system: the number of particles, species and the density come from configuration=FILE")
    packing, *further = _packings(given, folder or Path.cwd())
    size = {
        "n_particles": packing.n_particles,
        "n_species": max(int(frame.species.max()) for frame in (packing, *further)) + 1,
        "dimension": packing.dimension,
        "density": float(packing.n_particles / packing.volume),
    }
    defaults = {name: None for name in ("run", "configuration") if not is_given(given, name)}
    data = plain(with_keys(given, system=size, **defaults))  # parameters left out follow the file
    data = with_absolute_paths(data, folder or Path.cwd())
    check_names(data, _KEYS, "", "key")
    terms = data.get("terms") or {}
    for term in terms.values():
        if isinstance(term, dict):
            term.pop("objective", None)
    require_values(data)
    potential = instantiate("potential", data.get("potential"), "potential", size)
    protocol = instantiate("protocol", data.get("protocol"), "protocol", size)
    trained = with_trained({"potential": potential, "protocol": protocol}, data.get("trained") or {})
    potential, protocol = trained["potential"], trained["protocol"]
    properties = {key: build_property(key, node, protocol, size) for key, node in terms.items()}
    if not properties:
        given_packing = GivenPacking(packing.box, packing)
        fitting = fitting_properties(protocol, size)
        properties = only_usable(fitting, potential, given_packing, protocol.provides, trained=differentiable)
    return MeasureRequest(
        configuration=packing,
        potential=potential,
        protocol=protocol,
        properties=properties,
        relax=boolean(data.get("relax", False), "relax"),
        gradient=boolean(data.get("gradient", False), "gradient"),
        further=tuple(further),
    )


def _packings(given: Config, folder: Path) -> list[Configuration]:
    """The packings that are to be measured: those of a file, or the one that a run ended with."""
    has_run = is_given(given, "run")
    if not is_given(given, "configuration"):
        if not has_run:
            raise RequestError(
                "configuration is required: configuration=FILE.extxyz, or run=DIR for a run's own packing"
            )
        return [_packing_of_run(folder / str(given["run"]))]
    name = given["configuration"]
    if has_run:
        raise RequestError("configuration: a run brings its own packing; name either run=… or configuration=…")
    if not isinstance(name, str) or not name:
        raise RequestError(f"configuration={name!r}: must be the name of a file")
    packings = read_packings(folder / name)
    if len({packing.dimension for packing in packings}) > 1:
        raise RequestError(f"configuration={name}: some of its packings have two dimensions and some three")
    return packings


def _packing_of_run(run: Path) -> Configuration:
    path = run / "final.extxyz"
    # What is there before a run has ended is of an earlier part of it, at another design.
    if not path.exists() or not path.with_name("result.json").exists():
        raise RequestError(
            f"run={run}: has no final.extxyz: it has not come to its end, or it follows no packings; "
            f"glasswright validate {shlex.quote(f'run={run}')} measures fresh ones"
        )
    packings = read_frames(path, "run")
    if len(packings) > 1:
        logger.info("note: the run has %d packings; this is the first; configuration=%s has all", len(packings), path)
    return packings[0]


def _build_checked(config: Config, folder: Path) -> MeasureRequest:
    request = build_measurement(config, folder)
    _ = request.is_measurable
    return request


def summarise(report: Mapping[str, JSON], folder: Path) -> list[str]:
    """The scalar properties of the packing, and how far it was relaxed."""
    moved = report.get("largest_displacement")
    lines = [f"{len(report['frames'])} packings"] if "frames" in report else []
    lines += [] if moved is None else [f"relaxed: the largest displacement is {moved:.3g}"]
    for name, entry in report["properties"].items():
        if isinstance(entry["value"], float):
            error = entry.get("standard_error")
            lines.append(f"{name} {entry['value']:.10g}" + ("" if error is None else f" +- {error:.3g}"))
    return [*lines, f"results in {folder}"]


def _failure(report: Mapping[str, JSON]) -> str | None:
    """What is wrong with the properties that could not be measured."""
    errors = [entry["error"] for entry in report["properties"].values() if "error" in entry]
    return "; ".join(errors) or None


def _run(request: MeasureRequest, directory: Path | None, *, progress: bool) -> MeasureReport:
    return job.measure(request, directory)


MEASURE: Command[MeasureRequest, MeasureReport] = Command(
    noun="a measurement",
    shared=("potential", "protocol", "terms"),
    own={
        "run": described({"type": ["string", "null"]}, "directory of a training, whose last packing is measured"),
        "configuration": described({"type": ["string", "null"]}, "an extended XYZ file, in the place of a run"),
        "relax": described({"type": "boolean"}, "whether to relax the packing first"),
        "gradient": described({"type": "boolean"}, "whether to compute derivatives in the parameters of the potential"),
        "trained": described(NUMBERS_BY_NAME, "the trained values, filled in from the run or the file"),
    },
    nodes={"measure_base": {"terms": {}}},
    build=_build_checked,
    run=_run,
    summarise=summarise,
    failure=_failure,
)
