"""What a result was made with: versions, plugins, devices, git commit and command line."""

import importlib.metadata
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax

from ..registry.registry import registry

PACKAGES = ("glasswright", "jax", "jaxlib", "equinox", "optax", "jaxopt", "hydra-core", "pluggy", "numpy", "scipy")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that enter the numbers."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "(not installed)"
    return found


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
        # A wheel in a virtual environment inside somebody's repository is not a checkout of ours.
        if not (Path(git("rev-parse", "--show-toplevel")) / "framework" / "glasswright").is_dir():
            return None
        return git("rev-parse", "HEAD") + ("-modified" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def plugins() -> list[dict[str, str]]:
    """Every plugin that was found, with its version and what became of it."""
    fields = ("entry_point", "distribution", "version", "status", "error")
    return [{field: getattr(record, field) for field in fields} for record in registry().plugins]


def provenance() -> dict[str, Any]:
    """Everything to be kept with a run's results."""
    return {
        "versions": versions(),
        "plugins": plugins(),
        "devices": devices(),
        "platform": platform.platform(),
        "git": git_commit(),
        "argv": sys.argv,
    }
