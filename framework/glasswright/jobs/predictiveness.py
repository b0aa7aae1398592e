"""How far the gradient predicts: predicted against found changes of the re-prepared packing."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import PRNGKeyArray

from ..components.protocol import Prepared
from ..evaluation.measurement import Sample, in_box, sample
from ..evaluation.problem import Problem
from .tunability import Tunability, flatten, unflatten

# A prediction holds while it is off by less than this share of the change.
HOLDS = 0.1


def follow(problem: Problem, values: Mapping[str, Any], previous: Prepared, key: PRNGKeyArray) -> Sample:
    """The same packing, prepared again for another design and measured, without gradients."""
    model = problem.at(values)
    prepared = model.protocol.follow(model.potential, in_box(model.system, previous), key=key)
    return sample(problem, values, prepared, gradients=False)


def predictiveness(
    problem: Problem,
    values: Mapping[str, Any],
    prepared: Prepared,
    found: Tunability,
    steps: Sequence[float],
    key: PRNGKeyArray,
    before_each: Callable[[], None],
) -> dict[str, Any]:
    """For each property, steps along its gradient: the change that is predicted, and the one that is found.

    A step of length `h` (in the scales of the design) is `h S_d g / |g|` with the scaled gradient `g`, and its
    prediction `h s_f |g|`. The packing is followed from each step to the next longer one.

    **Arguments:**

    - `problem`: with scalar properties only.
    - `prepared`: the packing at `values`.
    - `found`: the tunability of this packing alone.
    - `steps`: lengths, the shortest first.
    - `before_each`: called before each property; may raise to end it all.
    """
    design = problem.design
    start = flatten(design, values)
    report: dict[str, Any] = {}
    for row, name in enumerate(found.properties):
        before_each()
        gradient = found.scaled[0, row]
        length = float(np.linalg.norm(gradient))
        lines: list[dict[str, Any]] = []
        previous = prepared
        for h in steps if length > 0.0 else ():
            moved = unflatten(design, values, start + h * found.design_scale * gradient / length)
            if not _is_possible(problem, moved):
                break
            # All properties each time: what is compiled for one direction serves all.
            one = follow(problem, moved, previous, key)
            line: dict[str, Any] = {"step": float(h), "predicted": h * length * float(found.property_scale[row])}
            line["rearranged"] = bool(one.statistics.get("rearranged", 0))
            line["outcome"] = one.outcome.name
            line["found"] = None
            if one.measured is not None and one.prepared is not None:
                line["found"] = float(one.measured.values[name] - found.values[0, row])
                previous = one.prepared
            lines.append(line)
        report[name] = {
            "slope": length * float(found.property_scale[row]),
            "direction": unflatten(design, values, found.design_scale * gradient / (length or 1.0)),
            "steps": lines,
            "holds_to": holds_to(lines),
        }
    return report


def holds_to(lines: Sequence[Mapping[str, Any]]) -> float | None:
    """The longest step up to which every prediction is right to ten percent; None if the shortest is not."""
    best = None
    for line in lines:
        if line["found"] is None or not abs(line["found"] - line["predicted"]) < HOLDS * abs(line["predicted"]):
            return best
        best = line["step"]
    return best


def _is_possible(problem: Problem, values: Mapping[str, Any]) -> bool:
    design = problem.design
    bounds = zip(design.names, design.lower, design.upper, strict=True)
    inside = all(bool(np.all((lower <= values[name]) & (values[name] <= upper))) for name, lower, upper in bounds)
    return inside and float(problem.at(values).cutoff_slack) >= 0.0
