"""Trackers: what follows a training while it runs, and tells somebody else about it."""

import abc
import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from .._types import JSON, Setting


@dataclasses.dataclass(frozen=True)
class TrackedRun:
    """The training that a tracker follows.

    **Attributes:**

    - `directory`: its run directory; None for a training that writes no files.
    - `config`: its resolved configuration as plain data; empty for an experiment that was made by hand.
    - `first_step`: the step that it begins with; not zero where it goes on after an interruption.
    """

    directory: Path | None
    config: Mapping[str, Setting]
    first_step: int


class AbstractTracker(abc.ABC):
    """Is told about the start, each step and the end of a training.

    A subclass needs `step` alone, and may keep what it likes between the calls, which come one after the other in the
    first process of a run. An error in any of them is reported once, after which the tracker is left out: it never
    stops or changes a run.
    """

    # Nothing is no abstract method: most trackers need no start and no end.
    def start(self, run: TrackedRun) -> None:  # noqa: B027
        """A training begins, or goes on; by default nothing happens."""

    @abc.abstractmethod
    def step(self, line: Mapping[str, JSON]) -> None:
        """A step has been made: its line of `metrics.jsonl`."""

    def end(self, result: Mapping[str, JSON] | None) -> None:  # noqa: B027
        """The training has ended with what `result.json` holds, or before its end: None."""

    @staticmethod
    def numbers(line: Mapping[str, JSON]) -> dict[str, float]:
        """Every number of a line by a name with slashes: `loss`, `value/poisson_ratio`, `design/diameter/0`, ….

        Where gradients are estimated, also `signal_to_noise/temperature`.

        Entries of arrays are numbered; properties that are arrays are left out. A loss that is not known is not a
        number. A step in which no packing was accepted has no values, and all others have the same names in one order.
        """
        result = {"loss": _number(line["loss"])}
        for name, term in line["terms"].items():
            if np.ndim(term["value"]) == 0:
                result[f"value/{name}"] = _number(term["value"])
            result[f"loss/{name}"] = _number(term["loss"])
        for name, value in line["design"].items():
            entries = np.ravel(np.asarray(value, dtype=float))
            result |= {
                f"design/{name}" if np.ndim(value) == 0 else f"design/{name}/{k}": float(x)
                for k, x in enumerate(entries)
            }
        for name, gradient in line.get("gradients", {}).items():
            result[f"signal_to_noise/{name}"] = _number(gradient["signal_to_noise"])
        result["learning_rate"] = _number(line["learning_rate"])
        result |= {name: float(line[name]) for name in ("requested", "converged", "rearranged", "seconds")}
        return result


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
