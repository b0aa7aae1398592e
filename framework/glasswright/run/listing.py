"""What runs below a folder there are and how they stand, read from their files: quick, and without JAX."""

import dataclasses
import json
import os
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import yaml

from .._types import JSON, Setting
from .claim import ENDED, FOLDERS, RESULTS, result_in, run_in
from .files import read_lines
from .lock import LOCK, SOFT_LOCK
from .reached import best_line

# The command that leaves a result, by its file.
COMMANDS = {
    "result.json": "train",
    "validation.json": "validate",
    "analysis.json": "analyse",
    "measure.json": "measure",
}
assert COMMANDS.keys() == RESULTS.keys()
RUNNING, DONE, FAILED, STOPPED, KILLED = "running", "done", "failed", "stopped", "killed"
# What `glasswright resume` can go on with.
RESUMABLE = (FAILED, STOPPED, KILLED)
# LibYAML is ten times faster, where PyYAML was built with it.
_YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclasses.dataclass(frozen=True)
class RunSummary:
    """A run, and how it stands.

    **Attributes:**

    - `folder`: its run directory, as it was found.
    - `command`, `experiment`: what it is a run of; the preset is None where it has none, or was started from Python.
    - `state`: `running`, `done`, `failed`, `stopped` (by a signal, with a checkpoint) or `killed`.
    - `why`: why it failed or was stopped.
    - `success`: whether a training has reached its target; None where that is not known, or means nothing.
    - `steps`, `of`: steps of a training, or packings of a validation, that are done, and how many were asked for.
    - `loss`, `best`, `best_step`: the last loss, the lowest one, and the step that it belongs to.
    - `values`, `losses`: the scalar properties and the losses by term, of the last step; means in a validation.
    - `seconds`, `started`: wall time, and when it began.
    - `overrides`: what was typed, by key.
    """

    folder: str
    command: str
    experiment: str | None
    state: str
    why: str | None = None
    success: bool | None = None
    steps: int | None = None
    of: int | None = None
    loss: float | None = None
    best: float | None = None
    best_step: int | None = None
    values: Mapping[str, float] = dataclasses.field(default_factory=dict)
    losses: Mapping[str, float] = dataclasses.field(default_factory=dict)
    seconds: float | None = None
    started: str | None = None
    overrides: Mapping[str, str] = dataclasses.field(default_factory=dict)


def runs_below(folder: Path) -> list[RunSummary]:
    """All runs in a folder and the folders below it, in the order of their names."""
    return [summarise_run(path) for path in run_folders(folder)]


def run_folders(folder: Path) -> Iterator[Path]:
    """The run directories in a folder and the folders below it, in the order of their names."""
    for place, folders, _ in os.walk(folder):
        folders[:] = sorted(
            (name for name in folders if name not in FOLDERS and not name.startswith(".")), key=natural_order
        )
        if run_in(Path(place)) is not None:
            yield Path(place)


def natural_order(text: str) -> list[tuple[int, str]]:
    """A sorting key by which 10 comes after 9."""
    return [(int(digits or 0), letters) for digits, letters in re.findall(r"(\d+)|(\D+)", text)]


def summarise_run(folder: Path) -> RunSummary:
    """How the run in a folder stands."""
    config = read_mapping(folder / "config.yaml")
    finished = result_in(folder)
    command = _command_of(config) if finished is None else COMMANDS[finished]
    result = {} if finished is None else _read_json(folder / finished)
    state, why = state_of(folder)
    summary = RunSummary(
        folder=str(folder),
        command=command,
        experiment=_experiment(folder, config),
        state=state,
        why=why,
        started=_started(folder),
        overrides=overrides_of(folder),
    )
    report = {"train": _training, "validate": _validation, "measure": _measurement, "analyse": _analysis}[command]
    return dataclasses.replace(summary, **report(folder, config, result))


def state_of(folder: Path) -> tuple[str, str | None]:
    """The state of the run in a folder, and why it ended if it did before its end.

    A run that ends for a reason says so in its folder; one that has neither said so nor a result was killed.
    """
    if is_at_work(folder):
        return RUNNING, None
    if result_in(folder) is not None:
        return DONE, None
    ended = _read_json(folder / ENDED)
    return str(ended.get("state", KILLED)), ended.get("why")


def is_at_work(folder: Path) -> bool:
    """Whether a process works in a folder. The lock is only tried where its owner may be alive."""
    note = next((folder / name for name in (LOCK, SOFT_LOCK) if (folder / name).exists()), None)
    if note is None:
        return False
    owner = _read_json(folder / LOCK)
    if owner.get("host") == socket.gethostname() and not _is_alive(owner.get("pid")):
        return False
    if note.name == SOFT_LOCK:
        return True
    return _is_locked(note)


def _is_locked(note: Path) -> bool:
    """Whether somebody has the lock of a file; it is shared for an instant at most, and only if nobody has it."""
    try:
        import fcntl
    except ImportError:  # where there is no `flock`, the owner being alive is all that is known
        return True
    try:
        with open(note, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # it has just been released
        return False
    return False


def _is_alive(process: JSON) -> bool:
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, TypeError, ValueError):
        return False
    except PermissionError:
        return True
    return True


def _training(folder: Path, config: Mapping[str, Setting], result: Mapping[str, JSON]) -> dict[str, JSON]:
    asked = (config.get("train") or {}).get("steps")
    if result:
        best = result.get("best") or {}
        return {
            "success": result.get("success"),
            "steps": result.get("steps"),
            "of": asked,
            "loss": result.get("loss"),
            "best": best.get("loss"),
            "best_step": best.get("step"),
            "values": scalars(result.get("values") or {}),
            "losses": scalars(result.get("losses") or _losses(read_lines(folder / "metrics.jsonl"))),
            "seconds": result.get("seconds"),
        }
    lines = read_lines(folder / "metrics.jsonl")
    if not lines:
        return {"steps": 0, "of": asked}
    best = best_line(lines) or {}
    last = _last_measured(lines)
    return {
        "steps": len(lines),
        "of": asked,
        "loss": last.get("loss"),
        "best": best.get("loss"),
        "best_step": best.get("step"),
        "values": scalars({name: term.get("value") for name, term in (last.get("terms") or {}).items()}),
        "losses": scalars(_losses(lines)),
        "seconds": sum(float(line.get("seconds") or 0.0) for line in lines),
    }


def _last_measured(lines: Sequence[Mapping[str, JSON]]) -> Mapping[str, JSON]:
    """The last step that has a loss, or the last one at all."""
    return next((line for line in reversed(lines) if line.get("loss") is not None), lines[-1] if lines else {})


def _losses(lines: Sequence[Mapping[str, JSON]]) -> dict[str, JSON]:
    """The loss of each term in the last step that has one."""
    return {name: term.get("loss") for name, term in (_last_measured(lines).get("terms") or {}).items()}


def _validation(folder: Path, config: Mapping[str, Setting], result: Mapping[str, JSON]) -> dict[str, JSON]:
    asked = sum(int(config.get(name) or 0) for name in ("n_configurations", "n_untrained"))
    if not result:
        return {"steps": len(read_lines(folder / "configurations.jsonl")), "of": asked or None}
    properties = result.get("properties") or {}
    means = {name: entry.get("mean") for name, entry in properties.items()}
    losses = {name: entry.get("loss") for name, entry in properties.items()}
    done = result.get("requested", 0) + (result.get("untrained") or {}).get("requested", 0)
    numbers = {"loss": result.get("loss"), "values": scalars(means), "losses": scalars(losses)}
    return {"steps": done, "of": asked or done, **numbers}


def _measurement(folder: Path, config: Mapping[str, Setting], result: Mapping[str, JSON]) -> dict[str, JSON]:
    properties = result.get("properties") or {}
    return {"values": scalars({name: entry.get("value") for name, entry in properties.items()})}


def _analysis(folder: Path, config: Mapping[str, Setting], result: Mapping[str, JSON]) -> dict[str, JSON]:
    return {}


def scalars(values: Mapping[str, object]) -> dict[str, float]:
    """Those values that are single numbers."""
    return {name: float(v) for name, v in values.items() if isinstance(v, int | float) and not isinstance(v, bool)}


def differing(summaries: Sequence[RunSummary]) -> list[str]:
    """The keys that were typed differently, or not at all, for some of several runs."""
    keys = dict.fromkeys(key for summary in summaries for key in summary.overrides)
    return [key for key in keys if len({summary.overrides.get(key) for summary in summaries}) > 1]


def overrides_of(folder: Path) -> dict[str, str]:
    """The overrides of a run that the command line has started, by key."""
    path = folder / ".hydra" / "overrides.yaml"
    given = _load_yaml(path)
    pairs = [str(item).partition("=") for item in given] if isinstance(given, list) else []
    return {key: value for key, _, value in pairs}


def read_mapping(path: Path) -> dict[str, Setting]:
    """A file of YAML that holds a mapping; an empty one if it cannot be read."""
    content = _load_yaml(path)
    return content if isinstance(content, dict) else {}


def _load_yaml(path: Path) -> Setting:
    try:
        return yaml.load(path.read_text(), _YAML)
    except (OSError, ValueError, yaml.YAMLError):
        return None


def _read_json(path: Path) -> dict[str, JSON]:
    """A file of JSON that holds a mapping; an empty one if it cannot be read."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def command_in(folder: Path) -> str | None:
    """The command that the run in a folder is of, from its result or the keys of its configuration; None for no run."""
    finished = result_in(folder)
    if finished is not None:
        return COMMANDS[finished]
    return None if run_in(folder) is None else _command_of(read_mapping(folder / "config.yaml"))


def _command_of(config: Mapping[str, Setting]) -> str:
    """The command that the configuration of an unfinished run is of."""
    return "analyse" if "parts" in config else "validate" if "trained" in config else "train"


def _experiment(folder: Path, config: Mapping[str, Setting]) -> str | None:
    """The preset of a training, or the run that is validated, measured or analysed."""
    if config.get("run"):
        return Path(str(config["run"])).name
    try:
        records = (folder / ".hydra" / "hydra.yaml").read_text()
    except (OSError, ValueError):
        return None
    # The file is long, and a YAML parser slow.
    choice = re.search(r"^    choices:\n(?:      .*\n)*?      experiment: (\S+)", records, re.MULTILINE)
    return None if choice is None or choice[1] == "null" else choice[1]


def _started(folder: Path) -> str | None:
    for name in ("provenance.json", "config.yaml", *RESULTS):
        try:
            return datetime.fromtimestamp((folder / name).stat().st_mtime).isoformat(" ", "seconds")
        except OSError:
            continue
    return None
