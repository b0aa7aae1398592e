import tempfile
from collections.abc import Callable
from pathlib import Path

from .._types import JSON
from ..components.tracker import AbstractTracker, TrackedRun
from ..registry.component import Component
from ._failures import fail, run_all
from ._static import as_component, plain_checks

CONFIG = {"seed": 1, "train": {"steps": 3}, "terms": {"poisson_ratio": {"weight": 1.0}}}
RESULT = {"success": False, "loss": 0.25, "steps": 3, "values": {"poisson_ratio": 0.5}, "seconds": 0.3}


def check_tracker(instance: AbstractTracker) -> None:
    """Check everything that a tracker has to do; raises one `ConformanceError` that lists what it does not."""
    __tracebackhide__ = True
    component = as_component(instance)
    run_all(f"tracker {component.name}", tracker_checks(component, instance))


def tracker_checks(component: Component, instance: AbstractTracker) -> dict[str, Callable[[], None]]:
    """The checks of one tracker, by name."""
    return {
        **plain_checks(instance, component, {"start": "run", "step": "line", "end": "result"}),
        "numbers": lambda: check_numbers(instance),
    }


def check_numbers(instance: AbstractTracker) -> None:
    """`numbers` is left as it is: names with slashes, each with a number."""
    numbers = instance.numbers(line(0))
    if not all(isinstance(number, float) for number in numbers.values()):
        fail(f"numbers has {numbers}, which are not all numbers")


def follow(instance: AbstractTracker, directory: Path | None = None, *, steps: range = range(3)) -> None:
    """Have a tracker follow a short made-up training: what it is told is as a run tells it.

    **Arguments:**

    - `directory`: of the run; None makes a temporary one.
    - `steps`: those that are made; one that does not begin with zero goes on with a run.
    """
    with tempfile.TemporaryDirectory() as temporary:
        instance.start(TrackedRun(directory or Path(temporary), CONFIG, steps.start))
        for step in steps:
            instance.step(line(step))
        instance.end(RESULT)


def line(step: int) -> dict[str, JSON]:
    """A line of metrics, as `metrics.jsonl` has it."""
    return {
        "step": step,
        "loss": 1.0 / (step + 1),
        "terms": {
            "poisson_ratio": {"value": 0.5 - 0.1 * step, "loss": 1.0 / (step + 1), "factor": 1.0},
            "curve": {"value": [1.0, 2.0], "loss": 0.0, "factor": 1.0},
        },
        "design": {"diameter": [0.8, 1.0 + 0.1 * step], "density": 1.6},
        "learning_rate": None,
        "requested": 2,
        "converged": 2,
        "rejected": {},
        "rearranged": 0,
        "search": {},
        "seconds": 0.1,
    }


__all__ = ["check_tracker", "follow", "tracker_checks"]
