"""Files of run directories: written whole or not at all, and read without executing anything."""

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import yaml

from .._errors import RequestError, RunError
from .._types import JSON, Setting


def plain(value: object) -> JSON:
    """Numbers, arrays and containers of them as what JSON knows; not-a-number and infinities become null."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "dtype") and not isinstance(value, np.generic):
        return plain(np.asarray(value).tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a whole file or none: to a temporary name, synchronised, then renamed."""
    temporary = path.with_name(f".{path.name}.partial")
    data = content.encode() if isinstance(content, str) else content
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise RunError(f"cannot write {path}: {error.strerror or error}") from error


def write_json(path: Path, content: object) -> None:
    """Write JSON atomically; what is not a number becomes null."""
    write_atomically(path, json.dumps(plain(content), indent=1, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, JSON]:
    """What a JSON file holds that a run has left."""
    try:
        content: dict[str, JSON] = json.loads(path.read_text())
        return content
    except (OSError, ValueError) as error:
        raise RequestError(f"{path}: cannot be read: {error}") from error


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, unless it is there."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot write into {path}: {error.strerror or error}") from error


def read_lines(path: Path) -> list[dict[str, JSON]]:
    """The lines of a file of JSON lines up to the first that is not whole; none if there is no such file."""
    lines: list[dict[str, JSON]] = []
    try:
        text = path.read_text()
    except FileNotFoundError:
        return lines
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"cannot read {path}: {error}") from error
    for row in text.split("\n")[:-1]:
        try:
            line = json.loads(row)
        except ValueError:
            break
        if not isinstance(line, dict):
            break
        lines.append(line)
    return lines


def read_metrics(folder: Path) -> list[dict[str, JSON]]:
    """The metrics of a run, finished or not; a line that a kill cut short ends them."""
    lines = read_lines(folder / "metrics.jsonl")
    wrong = next((k for k, line in enumerate(lines) if line.get("step") != k), len(lines))
    return lines[:wrong]


def append_line(path: Path, line: Mapping[str, object]) -> None:
    """Append a line of JSON, visible to others as soon as this returns."""
    try:
        with open(path, "a") as file:
            file.write(to_line(line))
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from error


def to_line(line: Mapping[str, object]) -> str:
    """A line of a file of JSON lines."""
    return json.dumps(plain(line), allow_nan=False) + "\n"


def run_configuration(folder: Path, key: str = "run") -> dict[str, Setting]:
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


def _texts(node: object) -> list[str]:
    if isinstance(node, dict):
        return [text for key, value in node.items() for text in [*_texts(key), *_texts(value)]]
    if isinstance(node, list):
        return [text for value in node for text in _texts(value)]
    return [node] if isinstance(node, str) else []
