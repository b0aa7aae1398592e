"""How far the gradient predicts: the predicted change of a property against that of the packing prepared again."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypedDict

import numpy as np
from jaxtyping import PRNGKeyArray

from .._types import JSON
from ..components.protocol import Prepared
from ..evaluation.design import DesignValues
from ..evaluation.measurement import Sample, in_box, measure_sample
from ..evaluation.problem import Problem
from .tunability import Tunability, flatten, unflatten

# A prediction holds while its error is below this share of the change.
HOLDS = 0.1


class StepLine(TypedDict):
    """One step along a gradient: predicted and found change; `found` is None if the packing was lost."""

    step: float
    predicted: float
    rearranged: bool
    outcome: str
    found: float | None


class PredictivenessReport(TypedDict):
    """Steps along the gradient of one property."""

    slope: float
    direction: dict[str, np.ndarray]
    steps: list[StepLine]
    holds_to: float | None


def follow(problem: Problem, values: DesignValues, previous: Prepared, key: PRNGKeyArray) -> Sample:
    """The same packing, prepared again for another design and measured, without gradients."""
    model = problem.at(values)
    prepared = model.protocol.follow(model.potential, in_box(model, previous), key=key)
    return measure_sample(problem, values, prepared, gradients=False)


def predictiveness(
    problem: Problem,
    values: DesignValues,
    prepared: Prepared,
    measured: Tunability,
    steps: Sequence[float],
    key: PRNGKeyArray,
    before_each: Callable[[], None],
) -> dict[str, PredictivenessReport]:
    """For each property, steps along its gradient: the change that is predicted, and the one that is found.

    A step of length `h` (in the scales of the design) is `h S_d g / |g|` with the scaled gradient `g`, and its
    prediction `h s_f |g|`. The packing is followed from each step to the next longer one.

    **Arguments:**

    - `problem`: with scalar properties only.
    - `prepared`: the packing at `values`.
    - `measured`: the tunability of this packing alone.
    - `steps`: lengths, the shortest first.
    - `before_each`: called before each property; may raise to end the analysis.
    """
    design = problem.design
    start = flatten(design, values)
    report: dict[str, PredictivenessReport] = {}
    for row, name in enumerate(measured.properties):
        before_each()
        gradient = measured.scaled[0, row]
        length = float(np.linalg.norm(gradient))
        scale = float(measured.property_scale[row])
        lines: list[StepLine] = []
        previous = prepared
        for h in steps if length > 0.0 else ():
            moved = unflatten(design, values, start + h * measured.design_scale * gradient / length)
            if not _is_possible(problem, moved):
                break
            # All properties each time: what is compiled for one direction serves all.
            sample = follow(problem, moved, previous, key)
            change = None
            if sample.measurement is not None and sample.prepared is not None:
                change = float(sample.measurement.values[name] - measured.values[0, row])
                previous = sample.prepared
            lines.append(
                {
                    "step": float(h),
                    "predicted": h * length * scale,
                    "rearranged": bool(sample.statistics.get("rearranged", 0)),
                    "outcome": sample.outcome.name,
                    "found": change,
                }
            )
        report[name] = {
            "slope": length * scale,
            "direction": unflatten(design, values, measured.design_scale * gradient / (length or 1.0)),
            "steps": lines,
            "holds_to": holds_to(lines),
        }
    return report


def holds_to(lines: Sequence[Mapping[str, JSON]]) -> float | None:
    """The longest step up to which every prediction is right to ten percent; None if the shortest is not."""
    longest: float | None = None
    for line in lines:
        if line["found"] is None or not abs(line["found"] - line["predicted"]) < HOLDS * abs(line["predicted"]):
            return longest
        longest = line["step"]
    return longest


def _is_possible(problem: Problem, values: DesignValues) -> bool:
    """Whether a design is within its bounds, and its cutoff within half the box."""
    design = problem.design
    bounds = zip(design.names, design.lower, design.upper, strict=True)
    inside = all(bool(np.all((lower <= values[name]) & (values[name] <= upper))) for name, lower, upper in bounds)
    return inside and float(problem.at(values).cutoff_slack) >= 0.0
