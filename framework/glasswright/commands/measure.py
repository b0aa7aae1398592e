"""`glasswright measure`: properties of an existing packing, and their gradients."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .._errors import RequestError
from ..config.blocks import build_property, check_required, fitting_properties
from ..config.data import Config, is_given, plain, with_keys, without_hydra
from ..config.instantiate import instantiate
from ..config.values import boolean, check_names
from ..jobs import measure as job
from ..jobs.measure import MeasureReport, MeasureRequest, check_measurable
from ..run.extxyz import read_configuration
from .command import Command

_KEYS = dict.fromkeys(("potential", "protocol", "terms", "configuration", "relax", "gradient", "system"))


def build_measurement(config: Config, folder: Path | None = None) -> MeasureRequest:
    """The `MeasureRequest` of a configuration of `measure`; file names are relative to `folder`."""
    given = without_hydra(config)
    if "system" in given:
        raise RequestError("system: the number of particles, species and the density come from configuration=FILE")
    if not is_given(given, "configuration"):
        raise RequestError("configuration is required: configuration=FILE.extxyz")
    name = given["configuration"]
    if not isinstance(name, str):
        raise RequestError(f"configuration={name!r}: must be the name of a file")
    packing = read_configuration((folder or Path.cwd()) / name)
    size = {
        "n_particles": packing.n_particles,
        "n_species": int(packing.species.max()) + 1,
        "dimension": packing.dimension,
        "density": float(packing.n_particles / packing.volume),
    }
    data = plain(with_keys(given, system=size))  # parameters left out follow the file
    check_names(data, _KEYS, "", "key")
    terms = data.get("terms") or {}
    for term in terms.values():
        if isinstance(term, dict):
            term.pop("objective", None)
    check_required(data)
    protocol = instantiate("protocol", data.get("protocol"), "protocol", size)
    properties = {key: build_property(key, node, protocol, size) for key, node in terms.items()}
    return MeasureRequest(
        configuration=packing,
        potential=instantiate("potential", data.get("potential"), "potential", size),
        protocol=protocol,
        properties=properties or fitting_properties(protocol, size),
        relax=boolean(data.get("relax", False), "relax"),
        gradient=boolean(data.get("gradient", False), "gradient"),
    )


def _build_checked(config: Config, folder: Path) -> MeasureRequest:
    request = build_measurement(config, folder)
    check_measurable(request)
    return request


def summarise(report: Mapping[str, Any], folder: Path) -> list[str]:
    """The scalar properties of the packing."""
    lines = [
        f"{name} {entry['value']:.10g}"
        for name, entry in report["properties"].items()
        if isinstance(entry["value"], float)
    ]
    return [*lines, f"results in {folder}"]


def _run(request: MeasureRequest, directory: Path | None, *, progress: bool) -> MeasureReport:
    return job.measure(request, directory)


MEASURE: Command[MeasureRequest, MeasureReport] = Command(
    noun="a measurement",
    shared=("potential", "protocol", "terms"),
    own={"configuration": {"type": "string"}, "relax": {"type": "boolean"}, "gradient": {"type": "boolean"}},
    nodes={"measure_base": {"terms": {}}},
    build=_build_checked,
    run=_run,
    summarise=summarise,
)
