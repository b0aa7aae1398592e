"""The trackers of a training: each is told everything, and one that fails is named once and left out."""

import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import yaml

from .._errors import named
from .._types import JSON
from ..components.tracker import AbstractTracker, TrackedRun

logger = logging.getLogger(__name__)

# What can follow a training: a tracker, or a function of the line of each step.
Callback = AbstractTracker | Callable[[Mapping[str, JSON]], object]


class FunctionTracker(AbstractTracker):
    """A function that is called with the line of each step."""

    def __init__(self, function: Callable[[Mapping[str, JSON]], object]):
        self.function = function

    def step(self, line: Mapping[str, JSON]) -> None:
        """Call the function."""
        self.function(line)


def named_trackers(callbacks: Iterable[Callback]) -> dict[str, AbstractTracker]:
    """Trackers and functions as trackers, under the names that messages call them by."""
    result: dict[str, AbstractTracker] = {}
    for callback in callbacks:
        if isinstance(callback, AbstractTracker):
            name, tracker = type(callback).__name__, callback
        elif callable(callback):
            name, tracker = getattr(callback, "__name__", type(callback).__name__), FunctionTracker(callback)
        else:
            raise TypeError(f"callbacks: {callback!r} is neither a gw.AbstractTracker nor a function")
        number = sum(known.partition(" ")[0] == name for known in result)
        result[f"{name} {number + 1}" if number else name] = tracker
    return result


class Tracking:
    """Tells the trackers of a training about it.

    **Arguments:**

    - `trackers`: by name; empty in all processes but the first.
    """

    def __init__(self, trackers: Mapping[str, AbstractTracker]):
        self._trackers = dict(trackers)
        self._ended = False

    def start(self, directory: Path | None, config: str | None, first_step: int) -> None:
        """The training begins with this step."""
        if self._trackers:
            content = {} if config is None else yaml.safe_load(config)
            run = TrackedRun(directory, content, first_step)
            self._tell("start", lambda tracker: tracker.start(run))

    def step(self, line: Mapping[str, JSON]) -> None:
        """A step has been made."""
        # A copy: what a tracker does with it must not change the run.
        self._tell("step", lambda tracker: tracker.step(dict(line)))

    def end(self, result: Mapping[str, JSON] | None) -> None:
        """The training has ended; only the first call counts."""
        if not self._ended:
            self._ended = True
            self._tell("end", lambda tracker: tracker.end(None if result is None else dict(result)))

    def _tell(self, what: str, call: Callable[[AbstractTracker], None]) -> None:
        for name, tracker in list(self._trackers.items()):
            try:
                call(tracker)
            # `SystemExit` included: no tracker may end a run.
            except (Exception, SystemExit) as error:
                del self._trackers[name]
                logger.warning("tracker %s failed in %s and is left out: %s", name, what, named(error))
