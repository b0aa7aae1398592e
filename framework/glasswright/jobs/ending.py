"""How a training ends: at its target, at its last step, or where it has lost its way and more steps would not help."""

from collections.abc import Mapping, Sequence
from typing import Literal

from .._types import JSON
from .experiment import Experiment

Ending = Literal["target", "last_step", "diverged", "out_of_bounds"]
# Steps in a row for which a training must have lost its way before it is stopped.
WINDOW = 20
# A loss has diverged beyond this many times that of the beginning: a change of the values by a factor of ten.
DIVERGED = 100.0
# A beginning closer to the target than this share of it counts as this far.
CLOSE = 0.03


def lost_its_way(experiment: Experiment, lines: Sequence[Mapping[str, JSON]]) -> tuple[Ending, str] | None:
    """How a training has lost its way, and what happened in words; None if it has not."""
    if len(lines) <= WINDOW:
        return None
    if has_diverged(experiment, lines):
        return "diverged", f"the loss was over {DIVERGED:g} times that of the beginning for {WINDOW} steps"
    for name, term in experiment.terms.items():
        bounds = term.property.physical_bounds(experiment.system.dimension)
        if bounds is not None and has_left(bounds, [_value(line, name) for line in lines]):
            interval = f"[{bounds[0]:g}, {bounds[1]:g}]"
            return "out_of_bounds", f"{name} was outside {interval}, where no solid is stable, for {WINDOW} steps"
    return None


def has_diverged(experiment: Experiment, lines: Sequence[Mapping[str, JSON]]) -> bool:
    """Whether all of the last losses are far above those of the beginning."""
    if not all(term.objective.least_is_zero for term in experiment.terms.values()):
        return False
    losses = [line["loss"] for line in lines]
    known = [abs(loss) for loss in losses if loss is not None]
    recent = losses[-WINDOW:]
    if not known or any(loss is None for loss in recent):
        return False
    # The loss of a single step is noise where it sees but a sample.
    beginning = known[0] if experiment.sampler.is_population else max(known[:WINDOW])
    targets = [(term.share, term.target) for term in experiment.terms.values() if term.target is not None]
    near = sum(float(share) * (CLOSE * target) ** 2 for share, target in targets)
    return bool(min(recent) > DIVERGED * max(beginning, near, experiment.tolerance))


def has_left(bounds: tuple[float, float], values: Sequence[object]) -> bool:
    """Whether numbers that were within bounds have been outside them for all of the last steps."""
    inside = [isinstance(value, float) and bounds[0] <= value <= bounds[1] for value in values]
    known = all(isinstance(value, float) for value in values[-WINDOW:])
    return known and any(inside[:-WINDOW]) and not any(inside[-WINDOW:])


def _value(line: Mapping[str, JSON], name: str) -> JSON:
    return line["terms"].get(name, {}).get("value")
