"""The run directory: everything a run leaves behind, written so that a kill at any moment leaves whole files."""

import contextlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from .._errors import RequestError, RunError
from .._types import JSON
from .checkpoint import Checkpoint
from .files import make_folder, read_metrics, to_line, write_atomically, write_json
from .reached import average_design, best_line


def start_folder(
    folder: Path, config: str | None, stale: Iterable[str] = (), files: Mapping[str, Mapping[str, str]] | None = None
) -> None:
    """The folder of a command that is no training, with what it was asked; of an earlier one, `stale` files go.

    `files` are those that the configuration names, as `provenance` keeps them.
    """
    from .provenance import provenance

    make_folder(folder)
    for name in stale:
        (folder / name).unlink(missing_ok=True)
    write_json(folder / "provenance.json", provenance(files))
    if config is not None:
        write_atomically(folder / "config.yaml", config)


class RunDirectory:
    """Writes the files of one run. Every method leaves the directory readable.

    **Arguments:**

    - `keep`: metrics lines of an earlier part of the run, which stay; by default none do.
    """

    def __init__(self, path: str | Path, keep: Sequence[Mapping[str, object]] = ()):
        self.path = Path(path)
        make_folder(self.path / "checkpoints")
        write_atomically(self.path / "metrics.jsonl", "".join(to_line(line) for line in keep))
        try:
            self._metrics = open(self.path / "metrics.jsonl", "a")  # noqa: SIM115 - open for the whole run
        except OSError as error:
            raise RunError(f"cannot write into {self.path}: {error.strerror or error}") from error

    def clear(self) -> None:
        """Remove what an earlier run left here that would be taken for this one's."""
        for name in ("result.json", "trajectory.extxyz"):
            (self.path / name).unlink(missing_ok=True)
        for old in self.checkpoints(self.path):
            old.unlink()

    def close(self) -> None:
        # What a full disk did not take has been complained about where it was written.
        with contextlib.suppress(OSError):
            self._metrics.close()

    def write_json(self, name: str, content: object) -> None:
        write_json(self.path / name, content)

    def write_text(self, name: str, content: str) -> None:
        write_atomically(self.path / name, content)

    def append_text(self, name: str, content: str) -> None:
        """Add to the end of a file, where there is anything to add."""
        if not content:
            return
        try:
            with open(self.path / name, "a") as file:
                file.write(content)
        except OSError as error:
            raise RunError(f"cannot write {self.path / name}: {error.strerror or error}") from error

    def append_metrics(self, line: Mapping[str, object]) -> None:
        """One step's line, visible to others as soon as this returns."""
        try:
            self._metrics.write(to_line(line))
            self._metrics.flush()
            # Whoever removes the folder, or puts another in its place, does not stop the writing into this file.
            there = os.path.samestat(os.fstat(self._metrics.fileno()), os.stat(self.path / "metrics.jsonl"))
        except FileNotFoundError:
            there = False
        except OSError as error:
            raise RunError(f"cannot write {self.path / 'metrics.jsonl'}: {error.strerror or error}") from error
        if not there:
            raise RunError(f"cannot write {self.path / 'metrics.jsonl'}: it has been removed since the run began")

    def write_checkpoint(self, step: int, checkpoint: Checkpoint) -> None:
        """The training state before `step`; the last two are kept."""
        folder = self.path / "checkpoints"
        try:
            # A checkpoint without the metrics before it would be of no use after a power cut.
            os.fsync(self._metrics.fileno())
        except OSError as error:
            raise RunError(f"cannot write {self.path / 'metrics.jsonl'}: {error.strerror or error}") from error
        write_atomically(folder / f"step_{step:08d}.ckpt", checkpoint.to_bytes())
        for old in sorted(folder.glob("step_*.ckpt"))[:-2]:
            with contextlib.suppress(OSError):  # one too many does no harm
                old.unlink()

    @staticmethod
    def checkpoints(path: str | Path) -> list[Path]:
        """The checkpoints of a run, newest first."""
        return sorted((Path(path) / "checkpoints").glob("step_*.ckpt"), reverse=True)

    @staticmethod
    def read_metrics(path: str | Path) -> list[dict[str, JSON]]:
        """The metrics of a run, finished or not; a line that a kill cut short ends them."""
        return read_metrics(Path(path))


def run_design(folder: Path, which: str = "final") -> dict[str, JSON]:
    """The design variables that a run has reached: of its end or last step so far, its best step, or an average."""
    lines = RunDirectory.read_metrics(folder)
    if not lines:
        raise RequestError(f"run={folder}: has no metrics yet: there is no design to validate")
    if which == "average":
        return average_design(lines)
    if which == "best":
        best = best_line(lines)
        if best is None:
            raise RequestError(f"run={folder}: no step has a loss: there is no best design")
        return dict(best["design"])
    names = list(lines[-1].get("design") or {})
    result = folder / "result.json"
    if not result.exists():
        return dict(lines[-1]["design"])
    try:
        design = json.loads(result.read_text())["design"]
        return {name: design[name] for name in names}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RequestError(f"{result}: cannot be read: {error}") from error
