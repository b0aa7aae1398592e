"""What a training says about itself: a line for each step, and the result."""

from typing import Any

import equinox as eqx
import jax
import numpy as np
import optax

from .._errors import RunError
from ..evaluation.loss import Evaluation
from ..evaluation.measurement import Sample
from ..evaluation.statistics import count_rejected, describe_rejected, sum_rejected
from .experiment import Experiment

# Steps over which the share of rejected configurations is taken. A design that prepares nothing gives no gradient to
# leave it by: so many empty steps in a row end the run, whatever share is allowed.
REJECTION_WINDOW = 20


def metrics(experiment, state, evaluation: Evaluation, samples: list[Sample], optimizer) -> dict[str, Any]:
    terms: dict[str, Any] = {}
    for name, value in evaluation.values.items():
        terms[name] = {"value": value.tolist(), "loss": evaluation.losses[name]}
        if len(samples) > 1:
            error = evaluation.standard_errors[name]
            terms[name]["standard_error"] = None if error is None else error.tolist()
            terms[name]["loss_floor"] = evaluation.floors[name]
    rejected = count_rejected(one.outcome for one in samples)
    statistics: dict[str, Any] = {}
    for one in samples:
        for name, number in one.statistics.items():
            statistics[name] = statistics.get(name, 0) + number
    return {
        "step": state.step,
        "loss": evaluation.loss,
        "terms": terms,
        "design": {name: np.asarray(value).tolist() for name, value in state.values.items()},
        "learning_rate": learning_rate(optimizer),
        "requested": len(samples),
        "converged": len(samples) - sum(rejected.values()),
        "rejected": rejected,
        "rearranged": statistics.pop("rearranged", 0),
        "search": statistics,
    }


def check_rejections(experiment: Experiment, lines: list[dict[str, Any]]) -> None:
    """Raise `RunError` if too many of the last configurations were rejected to go on."""
    recent = lines[-REJECTION_WINDOW:]
    if len(recent) < REJECTION_WINDOW:
        return
    requested = sum(line["requested"] for line in recent)
    rejected = sum_rejected(recent)
    total, limit = sum(rejected.values()), experiment.rejection_limit
    reasons = describe_rejected(rejected)
    if all(line["loss"] is None for line in recent):
        raise RunError(f"nothing could be measured in {len(recent)} steps in a row: {reasons}")
    if total > limit * requested:
        raise RunError(
            f"{total} of the last {requested} configurations were rejected ({reasons}), more than the share of "
            f"{limit:g} that train.rejection_limit allows"
        )


def learning_rate(optimizer: optax.OptState) -> float | None:
    """The rate of an optimiser's last update: the outermost thing called `learning_rate` in its state, if any."""
    found = [
        (len(path), rate)
        for path, rate in optax.tree.get_all_with_path(optimizer, "learning_rate")
        if eqx.is_array(rate) and rate.ndim == 0
    ]
    return float(min(found, key=lambda item: item[0])[1]) if found else None


def reached(experiment: Experiment, line: dict[str, Any]) -> bool:
    """Whether the loss is below the tolerance, where that means anything."""
    return experiment.can_succeed and line["loss"] is not None and line["loss"] < experiment.tolerance


def final_result(experiment: Experiment, state, lines, seconds: float) -> dict[str, Any]:
    measured = [line for line in lines if line["loss"] is not None]
    final = measured[-1] if measured else lines[-1]
    potential = experiment.problem.at(state.values).potential
    return {
        "success": reached(experiment, lines[-1]) if experiment.can_succeed else None,
        "loss": final["loss"],
        "steps": len(lines),
        "values": {name: term["value"] for name, term in final["terms"].items()},
        "design": {**potential_parameters(potential), **lines[-1]["design"]},
        "seed": experiment.seed,
        "requested": sum(line["requested"] for line in lines),
        "converged": sum(line["converged"] for line in lines),
        "rejected": sum_rejected(lines),
        "rearranged": sum(line["rearranged"] for line in lines),
        "seconds": seconds,
    }


def potential_parameters(potential: Any) -> dict[str, Any]:
    """Every number of a potential by name: what is needed to build it again."""
    fields = {name: getattr(potential, name) for name in type(potential).__dataclass_fields__}
    return _numbers_of(fields)


def _numbers_of(fields: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, jax.Array):
            result[name] = np.asarray(value).tolist()
        elif isinstance(value, dict):
            result[name] = _numbers_of(value)
        elif isinstance(value, bool | int | float | str):
            result[name] = value
    return result
