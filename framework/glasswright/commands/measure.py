from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from .._errors import RequestError
from ..config.blocks import _check_required, _fitting_properties, _property, _without_hydra, plain
from ..config.compose import output_folder, start_folder
from ..config.instantiate import instantiate
from ..config.values import boolean, check_names

_MEASURE_KEYS = dict.fromkeys(("potential", "protocol", "terms", "configuration", "relax", "gradient", "system"))


def build_measurement(config: DictConfig | Mapping[str, Any], folder: Path | None = None) -> Any:
    """The `MeasureRequest` of a configuration of `measure`; file names are relative to `folder`."""
    from ..jobs.measure import MeasureRequest
    from ..run.extxyz import read_configuration

    given = _without_hydra(config)
    OmegaConf.set_struct(given, False)
    if "system" in given:
        raise RequestError("system: the number of particles, species and the density come from configuration=FILE")
    if OmegaConf.is_missing(given, "configuration") or given.get("configuration") is None:
        raise RequestError("configuration is required: configuration=FILE.extxyz")
    name = given.configuration
    if not isinstance(name, str):
        raise RequestError(f"configuration={name!r}: must be the name of a file")
    packing = read_configuration((folder or Path.cwd()) / name)
    size = {
        "n_particles": packing.n_particles,
        "n_species": int(packing.species.max()) + 1,
        "dimension": packing.dimension,
        "density": float(packing.n_particles / packing.volume),
    }
    given.system = size  # parameters left out follow the file
    data = plain(given)
    check_names(data, _MEASURE_KEYS, "", "key")
    terms = data.get("terms") or {}
    for term in terms.values():
        if isinstance(term, dict):
            term.pop("objective", None)
    _check_required(data)
    protocol = instantiate("protocol", data.get("protocol"), "protocol", size)
    properties = {key: _property(key, node, protocol, size) for key, node in terms.items()}
    return MeasureRequest(
        configuration=packing,
        potential=instantiate("potential", data.get("potential"), "potential", size),
        protocol=protocol,
        properties=properties or _fitting_properties(protocol),
        relax=boolean(data.get("relax", False), "relax"),
        gradient=boolean(data.get("gradient", False), "gradient"),
    )


def measure_job(config: DictConfig) -> Any:
    """What Hydra calls for each job of `measure`."""
    from ..jobs.measure import measure

    folder = output_folder()
    report = measure(build_measurement(config, start_folder()), folder)
    for name, entry in report["properties"].items():
        if isinstance(entry["value"], float):
            print(f"{name} {entry['value']:.10g}")
    print(f"results in {folder}")
    return report
