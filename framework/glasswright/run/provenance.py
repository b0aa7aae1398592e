"""Provenance of a result: versions, plugins, devices, git commit and command line."""

import importlib.metadata
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

import jax

from ..registry.registry import registry

PACKAGES = (
    "glasswright",
    "jax",
    "jaxlib",
    "equinox",
    "optax",
    "jaxopt",
    "hydra-core",
    "pluggy",
    "numba",
    "numpy",
    "scipy",
)


class Provenance(TypedDict):
    """The content of `provenance.json`."""

    versions: dict[str, str]
    plugins: list[dict[str, str]]
    devices: list[str]
    platform: str
    git: str | None
    argv: list[str]
    files: dict[str, Mapping[str, str]]


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on."""
    result = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            result[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            result[name] = "(not installed)"
    return result


def devices() -> list[str]:
    """The devices JAX computes on."""
    return [f"{device.platform}: {device.device_kind}" for device in jax.devices()]


def git_commit() -> str | None:
    """Commit of the glasswright checkout, marked when it has local changes; None outside a checkout."""
    folder = Path(__file__).parent

    def git(*arguments: str) -> str:
        run = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
        return run.stdout.strip()

    try:
        # A wheel may be installed into a virtual environment inside another repository.
        if not (Path(git("rev-parse", "--show-toplevel")) / "framework" / "glasswright").is_dir():
            return None
        return git("rev-parse", "HEAD") + ("-modified" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def plugins() -> list[dict[str, str]]:
    """Every installed plugin with its version, its status and its error."""
    fields = ("entry_point", "distribution", "version", "status", "error")
    return [{field: getattr(record, field) for field in fields} for record in registry().plugins]


def provenance(files: Mapping[str, Mapping[str, str]] | None = None) -> Provenance:
    """The provenance of a result of this process.

    **Arguments:**

    - `files`: path and SHA-256 of each file that the configuration names, by its key there.
    """
    return {
        "versions": versions(),
        "plugins": plugins(),
        "devices": devices(),
        "platform": platform.platform(),
        "git": git_commit(),
        "argv": sys.argv,
        "files": dict(files or {}),
    }
