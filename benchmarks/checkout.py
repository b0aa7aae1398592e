"""A checkout of glasswright and the commands that are run in it, for `compare_checkouts.py`."""

import contextlib
import hashlib
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

# Folders of a checkout that hold its packages.
SOURCES = ("framework", "plugins")
# Packages whose versions enter the numbers.
VERSIONS = ("jax", "jaxlib", "numpy", "scipy", "equinox", "optax", "jaxopt", "jax-md")
# A command that is not done after so many seconds is taken for one that hangs.
LONGEST = 900
PROBE = """
import importlib, json, sys
from importlib.metadata import PackageNotFoundError, version
def installed(name):
    try:
        return version(name)
    except PackageNotFoundError:
        return None
packages, versions = json.loads(sys.argv[1])
files = {name: importlib.import_module(name).__file__ for name in packages}
print(json.dumps([files, {name: installed(name) for name in versions}]))
"""


class Failure(Exception):
    """A command did not do what it had to; the message says which and how."""


class Identity(NamedTuple):
    """What a checkout's numbers come from: its revision, and versions of the packages it uses."""

    revision: str
    versions: dict[str, str | None]


@dataclass(frozen=True)
class Checkout:
    """A checkout and what runs it.

    - `title`: what messages call it.
    - `folder`: where it is.
    - `python`: the Python that runs it.
    - `root`: where its commands are started, and leave their folders.
    - `compiled`: where compiled programs are kept.
    """

    title: str
    folder: Path
    python: str
    root: Path
    compiled: Path

    def environment(self) -> dict[str, str]:
        """The caller's, with this checkout in front of anything installed."""
        paths = [str(self.folder / name) for name in SOURCES]
        paths += [path for path in [os.environ.get("PYTHONPATH")] if path]
        return os.environ | {
            "PYTHONPATH": os.pathsep.join(paths),
            "PYTHONDONTWRITEBYTECODE": "1",
            "JAX_PLATFORMS": "cpu",
            "JAX_COMPILATION_CACHE_DIR": str(self.compiled),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }

    @contextlib.contextmanager
    def started(self, name: str, arguments: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
        """A command of glasswright while it runs; what it says goes to a log, and an exit code but 0 is a failure."""
        log = self.root / "logs" / f"{name}.txt"
        log.parent.mkdir(exist_ok=True)
        command = [self.python, "-m", "glasswright", *arguments]
        with (
            open(log, "wb") as file,
            subprocess.Popen(command, cwd=self.root, env=self.environment(), stdout=file, stderr=file) as process,
        ):
            try:
                yield process
                process.wait(LONGEST)
            except subprocess.TimeoutExpired:
                raise Failure(f"failed in {self.title}: not done after {LONGEST} s") from None
            finally:
                process.kill()
        if process.returncode != 0:
            last = _last_line(log.read_text(errors="replace"))
            raise Failure(f"failed in {self.title}: exit code {process.returncode}: {last}")

    def run(self, name: str, arguments: Sequence[str]) -> None:
        """Run a command of glasswright to its end."""
        with self.started(name, arguments):
            pass

    def identify(self) -> Identity:
        """Revision and versions; refuses if any package is imported from elsewhere than this checkout."""
        packages = [path.parent.name for name in SOURCES for path in (self.folder / name).glob("*/__init__.py")]
        if "glasswright" not in packages:
            raise Failure(f"{self.folder}: no checkout of glasswright: {SOURCES[0]}/glasswright is missing")
        command = [self.python, "-c", PROBE, json.dumps([packages, VERSIONS])]
        probe = subprocess.run(
            command, cwd=self.root, env=self.environment(), capture_output=True, text=True, check=False
        )
        if probe.returncode != 0:
            raise Failure(f"{self.python} cannot import {self.folder}: {_last_line(probe.stderr)}")
        files, versions = json.loads(probe.stdout)
        for name, file in files.items():
            if not Path(file).resolve().is_relative_to(self.folder):
                raise Failure(f"{self.title}: {name} was imported from {file}, which is not in {self.folder}")
        return Identity(self._revision(), versions)

    def _revision(self) -> str:
        """Commit of the checkout, with a hash of what was changed since; empty outside of git."""
        commit, changes = self._git("rev-parse", "HEAD"), self._git("diff", "HEAD", "--binary")
        mark = f"+{hashlib.sha256(changes).hexdigest()[:12]}" if changes else ""
        return commit.decode().strip() + mark

    def _git(self, *arguments: str) -> bytes:
        command = ["git", "-C", str(self.folder), *arguments]
        return subprocess.run(command, capture_output=True, check=False).stdout


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1]
