"""Run directories as a place to start from: their configuration and the design they have reached.

Nothing in a run directory is executed: configurations are plain YAML, checked like any other, and results plain JSON.
"""

import json
from pathlib import Path
from typing import Any

import yaml

from ._errors import RequestError
from .run.directory import RunDirectory


def run_configuration(folder: Path, key: str = "run") -> dict[str, Any]:
    """The resolved configuration that a run was started with."""
    if not folder.is_dir():
        raise RequestError(f"{key}={folder}: no such directory")
    path = folder / "config.yaml"
    try:
        content = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise RequestError(f"{key}={folder}: not a run directory: it has no config.yaml") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RequestError(f"{path}: cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise RequestError(f"{path}: not the configuration of a run")
    if any("${" in text for text in _texts(content)):
        # What a run leaves is resolved: anything else was put there by somebody.
        raise RequestError(f"{path}: refused, it holds an interpolation")
    return content


def _texts(node: Any) -> list[str]:
    if isinstance(node, dict):
        return [text for key, value in node.items() for text in [*_texts(key), *_texts(value)]]
    if isinstance(node, list):
        return [text for value in node for text in _texts(value)]
    return [node] if isinstance(node, str) else []


def run_design(folder: Path) -> dict[str, Any]:
    """The design variables that a run has reached: of its end, or of its last step so far."""
    lines = RunDirectory.read_metrics(folder)
    if not lines:
        raise RequestError(f"run={folder}: has no metrics yet: there is no design to validate")
    names = list(lines[-1].get("design") or {})
    result = folder / "result.json"
    if not result.exists():
        return dict(lines[-1]["design"])
    try:
        design = json.loads(result.read_text())["design"]
        return {name: design[name] for name in names}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RequestError(f"{result}: cannot be read: {error}") from error
