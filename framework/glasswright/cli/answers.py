"""Answers to `--help`, and to shells that complete words, kept until anything changes that they depend on.

Composing a configuration imports JAX and every plugin, which takes about two seconds. An answer that was given before
takes a fraction of that. What answers depend on are the files of the engine and of the plugins, and the versions of the
libraries that describe their keys.
"""

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from .._errors import RequestError
from .._types import JSON
from ..config.folder import configuration_folder

# Most answers of a kind that are kept.
MOST = 50
# Whose descriptions and defaults are shown, or who composes.
LIBRARIES = ("jax", "equinox", "jaxtyping", "optax", "hydra-core", "omegaconf")


class Answers:
    """The answers that are known, by kind and question; empty if nothing has been kept, or if that is out of date."""

    def __init__(self) -> None:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        self.path = base / "glasswright" / "answers.json"
        self.state = _state()
        self.known: dict[str, dict[str, JSON]] = {}
        # Whatever cannot be read is not known.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            content = json.loads(self.path.read_text())
            if content.get("state") == self.state:
                self.known = dict(content["known"])

    def of(self, kind: str) -> dict[str, JSON]:
        """The answers of a kind, to which others can be added."""
        return self.known.setdefault(kind, {})

    def keep(self) -> None:
        """Write what is known; where nothing can be written, nothing is kept."""
        for answers in self.known.values():
            for question in list(answers)[:-MOST]:
                del answers[question]
        with contextlib.suppress(OSError, TypeError):
            content = json.dumps({"state": self.state, "known": self.known})
            self.path.parent.mkdir(parents=True, exist_ok=True)
            partial = self.path.with_suffix(f".{os.getpid()}")
            partial.write_text(content)
            partial.replace(self.path)


def _state() -> str:
    """A digest of all that answers depend on."""
    digest = hashlib.sha256(sys.version.encode())
    entry_points = importlib.metadata.entry_points(group="glasswright")
    for entry_point in entry_points:
        digest.update(f"{entry_point.name} {entry_point.value}\n".encode())
    for library in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            digest.update(f"{library} {importlib.metadata.version(library)}\n".encode())
    packages = {"glasswright", *(entry_point.module.partition(".")[0] for entry_point in entry_points)}
    folders = [folder for name in sorted(packages) for folder in _folders(name)]
    with contextlib.suppress(RequestError):
        folders.append(str(configuration_folder()))
    for folder in folders:
        for name, time, size in _files(folder):
            digest.update(f"{name} {time} {size}\n".encode())
    settings = sorted(item for item in os.environ.items() if item[0].startswith("GLASSWRIGHT_"))
    digest.update(json.dumps(settings).encode())
    return digest.hexdigest()


def _folders(package: str) -> list[str]:
    """Where the files of a package are, which is not imported for this; its file, if it is a single one."""
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return []
    if spec is None:
        return []
    return list(spec.submodule_search_locations or filter(None, [spec.origin]))


def _files(path: str) -> Iterator[tuple[str, int, int]]:
    """The source files and configurations in a folder, with the time of the last change and the size of each."""
    if os.path.isfile(path):
        status = os.stat(path)
        yield path, status.st_mtime_ns, status.st_size
        return
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__pycache__")))
        for name in sorted(names):
            if name.endswith((".py", ".yaml")):
                status = os.stat(os.path.join(folder, name))
                yield os.path.join(folder, name), status.st_mtime_ns, status.st_size
