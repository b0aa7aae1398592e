"""What the commands return to scripts and notebooks: a report, and what belongs to it."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import yaml
from matplotlib.figure import Figure

from .._errors import RequestError
from .._types import JSON
from ..config.carried import with_trained
from ..config.instantiate import instantiate
from ..jobs.record import TrainingRecord
from ..physics.configuration import Configuration
from ..physics.potential import AbstractPotential
from ..plots.options import PlotOptions
from ..run.claim import result_in
from ..run.files import read_json, read_lines, read_metrics
from ..run.listing import command_in, summarise_run
from .drawing import figures_of, packing_of
from .record import number, verdict_of

# Numbers of an array that are shown.
MOST_SHOWN = 6


class Result(dict[str, JSON]):
    """The report of a command, as `result.json` and its like hold it, with what belongs to it.

    It is a dictionary: `result["loss"]`. What else there is comes from its run directory, or from memory where a
    training has written no files.

    **Attributes:**

    - `directory`: the run directory; None where no files were written.
    - `command`: `train`, `validate`, `measure` or `analyse`.
    """

    def __init__(
        self,
        report: Mapping[str, JSON],
        command: str,
        directory: Path | None = None,
        record: TrainingRecord | None = None,
    ):
        super().__init__(report)
        self.command, self.directory, self._record = command, directory, record

    @functools.cached_property
    def history(self) -> dict[str, np.ndarray]:
        """Columns by name: `step`, `loss`, each property, each design variable, …; of a validation its packings.

        Columns are arrays with an entry for each step or packing; what was not measured is not a number.
        """
        if self.command == "validate":
            path = None if self.directory is None else self.directory / "configurations.jsonl"
            return _columns_of_packings([] if path is None else read_lines(path))
        return columns(self._lines)

    @property
    def packing(self) -> Configuration | None:
        """The packing at the end (the first of several), or the best one so far; None where none is followed."""
        packings = [] if self._record is None else self._record.packings
        return packings[0] if packings else None if self.directory is None else packing_of(self.directory)[0]

    @property
    def potential(self) -> AbstractPotential | None:
        """The potential at the last design; None where a command has none of its own."""
        if self._record is not None and self._record.potential is not None:
            return self._record.potential
        path = None if self.directory is None else self.directory / "config.yaml"
        config = yaml.safe_load(path.read_text()) if path is not None and path.exists() else {}
        if not isinstance(config, dict) or "potential" not in config:
            return None
        before: AbstractPotential = instantiate("potential", config["potential"], "potential", {})
        lines = self._lines
        design = config.get("trained") or (lines[-1]["design"] if lines else {})
        trained: AbstractPotential = with_trained({"potential": before}, design)["potential"]
        return trained

    @property
    def best(self) -> Mapping[str, JSON] | None:
        """The step with the lowest loss: `step`, `loss`, `design` and `values`; None where steps see only samples."""
        best: Mapping[str, JSON] | None = self.get("best")
        return best

    def plot(self, *, width: str | float = "double", style: str | None = None) -> Figure:
        """The picture of the run as a figure of matplotlib; of an analysis, that of its first part.

        **Arguments:**

        - `width`, `style`: as in `plots.width` and `plots.style`.
        """
        options = PlotOptions(width=width, style=style)
        if self.directory is not None:
            return next(figures_of(self.directory, options))[1]
        if self._record is None:
            raise RequestError(f"plot: the {self.command} has written no files to draw; give it a directory")
        return self._record.figure(options)

    @property
    def _lines(self) -> Sequence[Mapping[str, JSON]]:
        if self._record is not None:
            return self._record.lines
        return [] if self.directory is None else read_metrics(self.directory)

    def __repr__(self) -> str:
        lines = [f"{self.command}: {self._verdict()}"]
        if self.get("loss") is not None:
            floor = self.get("loss_floor")
            lines.append(
                f"loss {number(self['loss'])}" + ("" if floor is None else f", sampling floor {number(floor)}")
            )
        values = self.get("values") or {name: _value(entry) for name, entry in self.get("properties", {}).items()}
        lines += [f"{name} {_short(value)}" for name, value in values.items()]
        design = [
            f"{name} {_short(value)}" for name, value in self.get("design", {}).items() if not isinstance(value, str)
        ]
        lines += [f"design: {', '.join(design)}"] if design else []
        if self.best is not None and self.best["loss"] != self.get("loss"):
            lines.append(f"best: step {self.best['step']}, loss {number(self.best['loss'])}")
        lines.append(f"in {self.directory}" if self.directory is not None else "no files were written")
        return "\n  ".join(lines)

    def _verdict(self) -> str:
        if self.get("ended") == "interrupted":
            return f"interrupted after {self['steps']} steps"
        if self.command == "train":
            end = {True: "target reached", False: "target not reached", None: "done"}[self.get("success")]
            return f"{end} after {self['steps']} steps" if "steps" in self else end
        if "requested" in self:
            return f"{self['converged']} of {self['requested']} configurations converged"
        return "done"


def load(directory: str | Path) -> Result:
    """The result of the run in a directory, whoever has started it; of a run that has not ended, what there is.

    **Arguments:**

    - `directory`: of a training, validation, measurement or analysis.
    """
    folder = Path(directory)
    command = command_in(folder)
    if command is None:
        raise RequestError(f"directory={folder}: there is no run in it")
    finished = result_in(folder)
    if finished is not None:
        return Result(read_json(folder / finished), command, folder)
    summary = summarise_run(folder)
    known = {name: getattr(summary, name) for name in ("steps", "loss", "values", "losses", "seconds")}
    return Result(known | {"ended": verdict_of(summary)[0]}, command, folder)


def columns(lines: Sequence[Mapping[str, JSON]]) -> dict[str, np.ndarray]:
    """Lines of metrics as columns."""
    if not lines:
        return {}
    # A step in which nothing was accepted has no terms.
    first = next((line for line in lines if line["terms"]), lines[0])
    result = {"step": np.array([line["step"] for line in lines])}
    result["loss"] = np.array([_known(line["loss"]) for line in lines])
    for name, term in first["terms"].items():
        missing = {"value": np.full(np.shape(term["value"]), np.nan), "loss": None}
        terms = [line["terms"].get(name, missing) for line in lines]
        result[name] = np.array([term["value"] for term in terms], dtype=float)
        result[f"loss of {name}"] = np.array([_known(term["loss"]) for term in terms])
    for name in first["design"]:
        result[name] = np.array([line["design"][name] for line in lines], dtype=float)
    result["learning_rate"] = np.array([_known(line["learning_rate"]) for line in lines])
    for name in ("requested", "converged", "rearranged", "seconds"):
        result[name] = np.array([line[name] for line in lines])
    return result


def _columns_of_packings(lines: Sequence[Mapping[str, JSON]]) -> dict[str, np.ndarray]:
    """Lines of `configurations.jsonl` as columns; a rejected packing has no values."""
    names = next((list(line["values"]) for line in lines if line["values"] is not None), [])
    result = {key: np.array([line[key] for line in lines]) for key in ("ensemble", "index", "outcome")}
    for name in names:
        known = [line["values"][name] for line in lines if line["values"] is not None]
        missing = np.full(np.shape(known[0]), np.nan)
        result[name] = np.array([missing if line["values"] is None else line["values"][name] for line in lines])
    return result


def _known(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _value(entry: Mapping[str, JSON]) -> JSON:
    return entry.get("mean", entry.get("value"))


def _short(value: object) -> str:
    """A number or an array with few digits."""
    if value is None or isinstance(value, bool | str):
        return str(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name} {_short(item)}" for name, item in value.items()) + "}"
    array = np.asarray(value)
    if array.ndim == 0:
        return number(array.item())
    flat = ", ".join(number(x) for x in array.ravel()[:MOST_SHOWN])
    more = ", …" if array.size > MOST_SHOWN else ""
    shape = "" if array.ndim == 1 else f" of shape {array.shape}"
    return f"[{flat}{more}]{shape}"
