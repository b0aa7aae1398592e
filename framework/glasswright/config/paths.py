"""Files that a configuration names: kept by absolute paths, and the same when a run goes on."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml
from omegaconf import OmegaConf

from .._errors import RequestError
from .._types import Setting
from ..registry.component import Component
from ..registry.parameters import parameters
from ..registry.registry import registry
from ..run.files import read_json, run_configuration
from .data import Config
from .values import names_numbers


def with_absolute_paths(data: Mapping[str, Setting], base: Path) -> dict[str, Setting]:
    """A configuration in which the paths of components do not depend on where somebody stands.

    **Arguments:**

    - `base`: the folder that relative paths start from.
    """
    return {key: _absolute(value, base, registry().by_target()) for key, value in data.items()}


def fingerprints(config: str | None) -> dict[str, dict[str, str]]:
    """The files that a kept configuration (YAML) names, by key: their paths, and the SHA-256 of what is in them."""
    data = {} if config is None else yaml.safe_load(config)
    return {
        key: {"path": path, "sha256": digest}
        for key, path in _paths(data, "", registry().by_target())
        if (digest := _digest(Path(path))) is not None
    }


def paths_read(config: Config) -> list[Path]:
    """The files and run directories that a composed configuration reads, as they are named."""
    data: Setting = OmegaConf.to_container(config, resolve=False) if OmegaConf.is_config(config) else dict(config)
    named = [data.get(key) for key in ("run", "configuration")]
    named += [path for _, path in _paths(data, "", registry().by_target())]
    return [Path(path) for path in named if isinstance(path, str)]


def run_request(folder: Path, key: str = "run") -> dict[str, Setting]:
    """The configuration that a run was started with, whose files are still what they were.

    Raises `RequestError` if a file has changed since. Relative paths, which earlier versions kept, start from where
    the run was started.
    """
    config = run_configuration(folder, key)
    config = with_absolute_paths(config, _started_in(folder))
    provenance = folder / "provenance.json"
    known = read_json(provenance).get("files", {}) if provenance.exists() else {}
    for name, path in _paths(config, "", registry().by_target()):
        before, now = known.get(name), _digest(Path(path))
        if before is not None and now is not None and now != before["sha256"]:
            raise RequestError(
                f"{key}={folder}: was made with another file than the {path} of today ({name}); put that back"
            )
    return config


def _absolute(node: Setting, base: Path, components: Mapping[str, Component]) -> Setting:
    if isinstance(node, list):
        return [_absolute(item, base, components) for item in node]
    if not isinstance(node, dict):
        return node
    kinds = _kinds(node, components)
    return {
        name: str((base / value).resolve())
        if isinstance(value, str) and _names_file(kinds.get(name), value)
        else _absolute(value, base, components)
        for name, value in node.items()
    }


def _names_file(kind: str | None, value: str) -> bool:
    return kind == "path" or (kind == "array" and names_numbers(value))


def _paths(node: Setting, key: str, components: Mapping[str, Component]) -> Iterator[tuple[str, str]]:
    """The paths in a configuration, each with its key."""
    if isinstance(node, list):
        for number, item in enumerate(node):
            yield from _paths(item, f"{key}.{number}", components)
    if isinstance(node, dict):
        kinds = _kinds(node, components)
        for name, value in node.items():
            path = f"{key}.{name}" if key else str(name)
            if kinds.get(name) == "path" and isinstance(value, str):
                yield path, value
            else:
                yield from _paths(value, path, components)


def _kinds(node: Mapping[object, object], components: Mapping[str, Component]) -> dict[str, str]:
    """The kinds of the parameters of the component that a node describes, if it does; in YAML any scalar is a key."""
    component = components.get(str(node.get("_target_")))
    return {} if component is None else {name: parameter.kind for name, parameter in parameters(component).items()}


def _digest(path: Path) -> str | None:
    """The SHA-256 of a file, or of the packing of a run directory; None if there is none."""
    try:
        return hashlib.sha256((path / "final.extxyz" if path.is_dir() else path).read_bytes()).hexdigest()
    except OSError:
        return None


def _started_in(folder: Path) -> Path:
    """Where a run was started, as far as Hydra's records say."""
    try:
        records = yaml.safe_load((folder / ".hydra" / "hydra.yaml").read_text())
        return Path(str(records["hydra"]["runtime"]["cwd"]))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError):
        return Path.cwd()
