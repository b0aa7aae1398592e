"""Whose a run directory is: a new one for each run, or one that holds no run, or one whose run may be overwritten."""

import contextlib
import itertools
import shlex
from collections.abc import Collection, Iterator
from datetime import datetime
from pathlib import Path

from .._errors import RequestError, RunError, Stopped, named, one_line
from .files import write_json
from .lock import LOCK, FolderLock, refuse_busy
from .pictures import PICTURES, picture_files

# A run directory with one of these is complete. What it holds, and what to do instead of overwriting it.
RESULTS = {
    "result.json": "a finished training",
    "validation.json": "a finished validation",
    "analysis.json": "a finished analysis",
    "measure.json": "a finished measurement",
}
UNFINISHED = "an unfinished run"
# How a run ended that has no result, and why.
ENDED = "ended.json"
# What a run that has begun leaves, if there is anything in it.
BEGUN = ("config.yaml", "metrics.jsonl", "configurations.jsonl", "checkpoints")
# What runs leave in folders of their own, by name patterns.
FOLDERS = {
    "checkpoints": ("step_*.ckpt", ".step_*.partial"),
    "tensorboard": ("events.out.tfevents.*",),
    ".hydra": ("config.yaml", "hydra.yaml", "overrides.yaml"),
    "export": ("packings.extxyz", "packings.gsd", "packing_*.data", "interactions.table", "in.measure", ".*.partial"),
}
# The other files that runs leave behind.
FILES = (
    ENDED,
    "provenance.json",
    "best.extxyz",
    "final.extxyz",
    "analysed.extxyz",
    "packings.extxyz",
    "trajectory.extxyz",
    "bonds.npz",
    "metrics.csv",
    "mlflow.txt",
    "wandb.txt",
    "vibrations.npz",
    *picture_files(*PICTURES),
)


def result_in(folder: Path) -> str | None:
    """The name of the file with the result of the run in a folder; None if there is none."""
    return next((name for name in RESULTS if (folder / name).exists()), None)


def run_in(folder: Path) -> str | None:
    """The run that a folder holds, in words: `a finished training`, `an unfinished run`; None if it holds none."""
    result = result_in(folder)
    if result is not None:
        return RESULTS[result]
    return UNFINISHED if any(_has_content(folder / name) for name in BEGUN) else None


def _has_content(path: Path) -> bool:
    try:
        return any(path.glob("*.ckpt")) if path.is_dir() else path.stat().st_size > 0
    except OSError:
        return False


def resume_command(folder: Path) -> str:
    """What to type to go on with the run in a folder."""
    return f"glasswright resume {shlex.quote(str(folder))}"


def refuse_used(folder: Path, title: str) -> None:
    """Raise `RequestError` if a folder holds a run, begun or finished; says what to type instead."""
    if run_in(folder) is not None:
        refuse_busy(folder, title)
        _refuse_used(folder, title)


def _refuse_used(folder: Path, title: str) -> None:
    run = run_in(folder)
    if run is None:
        return
    command = resume_command(folder)
    instead = {
        RESULTS["result.json"]: f"give it more steps with {command} train.steps=N, ",
        UNFINISHED: f"go on with {command}, ",
    }
    raise RequestError(
        f"{title}: holds {run}; {instead.get(run, '')}choose another directory, or have it removed with overwrite=true"
    )


@contextlib.contextmanager
def locked(folder: Path, title: str) -> Iterator[None]:
    """The folder belongs to this process as long as the context lasts; it is made unless it is there.

    A run that ends there without a result leaves a note about how and why.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise RequestError(f"{title}: cannot be written: {error.strerror or error}") from error
    except OSError as error:
        raise RunError(f"cannot write into {folder}: {error.strerror or error}") from error
    with FolderLock(folder, title):
        try:
            yield
        except RequestError:  # it has not run
            raise
        except BaseException as error:
            # A folder without our lock is not ours any more: somebody has put another one in its place.
            if run_in(folder) == UNFINISHED and (folder / LOCK).exists():
                _note_end(folder, error)
            raise
        with contextlib.suppress(OSError):
            (folder / ENDED).unlink(missing_ok=True)


def _note_end(folder: Path, error: BaseException) -> None:
    """Keep how a run has ended that has no result."""
    stopped = isinstance(error, (Stopped, KeyboardInterrupt))
    why = one_line(error) if isinstance(error, (RunError, Stopped, KeyboardInterrupt)) else named(error)
    note = {"state": "stopped" if stopped else "failed", "why": why, "time": datetime.now().isoformat(" ", "seconds")}
    # The folder may be gone, or its disk full: the error itself is what counts.
    with contextlib.suppress(RunError):
        write_json(folder / ENDED, note)


@contextlib.contextmanager
def claimed(
    folder: Path,
    title: str,
    *,
    overwrite: bool = False,
    keep: Collection[str] = (),
    reads: Collection[Path] = (),
) -> Iterator[None]:
    """The folder belongs to this process as long as the context lasts, and holds nothing of an earlier run.

    Raises `RequestError` if another process has it, or if it holds a run and that may not be overwritten.

    **Arguments:**

    - `title`: how the folder was named in the request: `hydra.run.dir=run`.
    - `overwrite`: whether an earlier run may be removed. Files that no run has written stay.
    - `keep`: folders of this run that are there already.
    - `reads`: what the run reads: that is never removed.
    """
    if not overwrite:
        # Before anything is written: not even a lock is left in a folder that is refused.
        refuse_used(folder, title)
    else:
        _refuse_own_source(folder, title, reads)
    with locked(folder, title):
        if overwrite:
            remove_run(folder, keep)
        else:
            # Somebody may have been at work in it until now.
            _refuse_used(folder, title)
        yield


def _refuse_own_source(folder: Path, title: str, reads: Collection[Path]) -> None:
    """Raise `RequestError` if what a run reads is part of the run that it would remove."""
    place, ours = folder.resolve(), (*RESULTS, *BEGUN, *FILES)
    for path in reads:
        source = path.resolve()
        if (source == place and run_in(folder) is not None) or (source.parent == place and source.name in ours):
            raise RequestError(f"{title}: overwrite=true would remove {path}, which is read; choose another directory")


def remove_run(folder: Path, keep: Collection[str] = ()) -> None:
    """Remove what runs have left in a folder, and nothing else."""
    files = [folder / name for name in (*RESULTS, *BEGUN, *FILES) if name not in FOLDERS]
    own = [name for name in FOLDERS if name not in keep and not (folder / name).is_symlink()]
    try:
        for path in files:
            path.unlink(missing_ok=True)
            path.with_name(f".{path.name}.partial").unlink(missing_ok=True)
        for name in own:
            for path in [path for pattern in FOLDERS[name] for path in (folder / name).glob(pattern)]:
                path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # somebody else's files are in it
                (folder / name).rmdir()
    except OSError as error:
        raise RunError(f"cannot remove the earlier run in {folder}: {error.strerror or error}") from error


def new_folder(path: Path) -> Path:
    """Make a folder that was not there: `path`, or with the first free suffix `_1`, `_2`, …; returns which."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for number in itertools.count():
            folder = path if number == 0 else path.with_name(f"{path.name}_{number}")
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
                return folder
    except OSError as error:
        raise RequestError(f"{path}: cannot be made: {error.strerror or error}") from error
    raise AssertionError("numbers do not end")
