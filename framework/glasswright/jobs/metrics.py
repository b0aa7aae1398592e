"""What a training reports: a line of metrics for each step, and the result."""

from collections.abc import Sequence
from typing import NotRequired, TypedDict

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from .._errors import RunError
from .._types import JSON, Numbers
from ..evaluation.estimator import GradientReport
from ..evaluation.loss import Evaluation
from ..evaluation.measurement import Sample
from ..evaluation.statistics import count_rejected, describe_rejected, sum_rejected
from ..physics.potential import AbstractPotential
from ..run.reached import average_design, last_half
from .best import Best
from .ending import Ending
from .experiment import Experiment
from .training_state import TrainingState

# Steps over which the share of rejected configurations is taken. A design that prepares nothing gives no gradient to
# leave it by: this many empty steps in a row end the run, whatever share is allowed.
REJECTION_WINDOW = 20


class TermMetrics(TypedDict):
    """One term in a line of metrics. With several configurations the errors are there too, with a loss the factor."""

    value: Numbers
    loss: float | None
    standard_error: NotRequired[Numbers | None]
    loss_floor: NotRequired[float | None]
    factor: NotRequired[float]


class Metrics(TypedDict):
    """One line of `metrics.jsonl`: what a step has measured at its design, and how its configurations ended.

    Where gradients are estimated, `gradients` says how, by design variable, and `preparations` how many packings were
    prepared: both of a pair, which counts as one configuration.
    """

    step: int
    loss: float | None
    terms: dict[str, TermMetrics]
    design: dict[str, Numbers]
    learning_rate: float | None
    requested: int
    converged: int
    rejected: dict[str, int]
    rearranged: int
    search: dict[str, float]
    seconds: float
    gradients: NotRequired[dict[str, GradientReport]]
    preparations: NotRequired[int]


class BestResult(TypedDict):
    """The step with the lowest loss, and what was measured in it."""

    step: int
    loss: float
    design: dict[str, JSON]
    values: dict[str, Numbers]


class AverageResult(TypedDict):
    """The mean of the designs of the last steps."""

    first_step: int
    last_step: int
    design: dict[str, JSON]


class TrainingResult(TypedDict):
    """The content of `result.json`."""

    success: bool | None
    loss: float | None
    steps: int
    values: dict[str, Numbers]
    losses: dict[str, float | None]
    design: dict[str, JSON]
    seed: int
    requested: int
    converged: int
    rejected: dict[str, int]
    rearranged: int
    seconds: float
    ended: Ending
    species_counts: NotRequired[list[int]]
    preparations: NotRequired[int]
    best: NotRequired[BestResult]
    average: NotRequired[AverageResult]


def step_metrics(
    state: TrainingState,
    next_state: TrainingState,
    samples: Sequence[Sample],
    evaluation: Evaluation,
    seconds: float,
) -> Metrics:
    """The metrics of a step from `state` to `next_state`."""
    rejected = count_rejected(sample.outcome for sample in samples)
    search = _sum_statistics(samples)
    line: Metrics = {
        "step": state.step,
        "loss": evaluation.loss,
        "terms": {
            name: _term_metrics(name, evaluation, next_state.factors.get(name), n_samples=len(samples))
            for name in evaluation.values
        },
        "design": {name: np.asarray(value).tolist() for name, value in state.values.items()},
        "learning_rate": learning_rate(next_state.optimizer),
        "requested": len(samples),
        "converged": len(samples) - sum(rejected.values()),
        "rejected": rejected,
        "rearranged": int(search.pop("rearranged", 0)),
        "search": search,
        "seconds": seconds,
    }
    if evaluation.n_preparations is not None:
        line["gradients"], line["preparations"] = evaluation.estimates, evaluation.n_preparations
    return line


def _term_metrics(name: str, evaluation: Evaluation, factor: float | None, n_samples: int) -> TermMetrics:
    term: TermMetrics = {"value": evaluation.values[name].tolist(), "loss": evaluation.losses[name]}
    if n_samples > 1:
        error = evaluation.standard_errors[name]
        term["standard_error"] = None if error is None else error.tolist()
        term["loss_floor"] = evaluation.floors[name]
    if factor is not None:
        term["factor"] = factor
    return term


def _sum_statistics(samples: Sequence[Sample]) -> dict[str, float]:
    """The numbers about the searches, summed over all samples."""
    total: dict[str, float] = {}
    for sample in samples:
        for name, number in sample.statistics.items():
            total[name] = total.get(name, 0) + number
    return total


def learning_rate(optimizer: optax.OptState) -> float | None:
    """The rate of an optimizer's last update: the outermost number called `learning_rate` in its state, if any."""
    rates = [
        (len(path), rate)
        for path, rate in optax.tree.get_all_with_path(optimizer, "learning_rate")
        if eqx.is_array(rate) and rate.ndim == 0
    ]
    return float(min(rates, key=lambda item: item[0])[1]) if rates else None


def check_rejections(experiment: Experiment, lines: Sequence[Metrics]) -> None:
    """Raise `RunError` if too many of the last configurations were rejected to go on."""
    recent = lines[-REJECTION_WINDOW:]
    if len(recent) < REJECTION_WINDOW:
        return
    requested = sum(line["requested"] for line in recent)
    rejected = sum_rejected(line["rejected"] for line in recent)
    total, limit = sum(rejected.values()), experiment.rejection_limit
    reasons = describe_rejected(rejected)
    if all(line["loss"] is None for line in recent):
        raise RunError(f"nothing could be measured in {len(recent)} steps in a row: {reasons}")
    if total > limit * requested:
        raise RunError(
            f"{total} of the last {requested} configurations were rejected ({reasons}), more than the share of "
            f"{limit:g} that train.rejection_limit allows"
        )


def reached(experiment: Experiment, loss: float | None) -> bool:
    """Whether a loss is below the tolerance, where that means success."""
    return experiment.can_succeed and loss is not None and loss < experiment.tolerance


def final_result(
    experiment: Experiment,
    state: TrainingState,
    best: Best | None,
    lines: Sequence[Metrics],
    seconds: float,
    ended: Ending,
) -> TrainingResult:
    """The result of a training that has ended at `state`, from the metrics of all its steps and the best of them."""
    with_loss = [line for line in lines if line["loss"] is not None]
    final, last = (with_loss or lines)[-1], lines[-1]
    potential = experiment.problem.at(state.values).potential
    result: TrainingResult = {
        "success": reached(experiment, last["loss"]) if experiment.can_succeed else None,
        "loss": final["loss"],
        "steps": len(lines),
        "values": {name: term["value"] for name, term in final["terms"].items()},
        "losses": {name: term["loss"] for name, term in final["terms"].items()},
        "design": {**potential_parameters(potential), **last["design"]},
        "seed": experiment.seed,
        "requested": sum(line["requested"] for line in lines),
        "converged": sum(line["converged"] for line in lines),
        "rejected": sum_rejected(line["rejected"] for line in lines),
        "rearranged": sum(line["rearranged"] for line in lines),
        "seconds": seconds,
        "ended": ended,
    }
    if all("preparations" in line for line in lines):
        result["preparations"] = sum(line["preparations"] for line in lines)
    counts = experiment.model.system.species_counts
    if counts is not None:
        result["species_counts"] = list(counts)
    if not experiment.sampler.is_population:
        steps = last_half(len(lines))
        average = average_design(lines)
        values = {name: jnp.asarray(value, dtype=float) for name, value in average.items()}
        parameters = potential_parameters(experiment.problem.at(values).potential)
        result["average"] = {"first_step": steps[0], "last_step": steps[-1], "design": {**parameters, **average}}
    if best is not None:
        line = lines[best.step]
        result["best"] = {
            "step": best.step,
            "loss": best.loss,
            "design": {**potential_parameters(experiment.problem.at(best.values).potential), **line["design"]},
            "values": {name: term["value"] for name, term in line["terms"].items()},
        }
    return result


def potential_parameters(potential: AbstractPotential) -> dict[str, JSON]:
    """Every number of a potential by name: what is needed to build it again."""
    return _numbers_of({name: getattr(potential, name) for name in type(potential).__dataclass_fields__})


def _numbers_of(fields: dict[str, object]) -> dict[str, JSON]:
    result: dict[str, JSON] = {}
    for name, value in fields.items():
        if isinstance(value, jax.Array):
            result[name] = np.asarray(value).tolist()
        elif isinstance(value, dict):
            result[name] = _numbers_of(value)
        elif isinstance(value, bool | int | float | str):
            result[name] = value
    return result
