"""The loss of a step and its gradient, in two phases.

The loss of an ensemble is not a sum over configurations. Phase one measures every configuration; then the objectives
see all values; phase two pulls one cotangent per accepted configuration back. The gradient of a scalar needs no
cotangent to be known up to a factor, so it is taken in phase one already, where it shares all work with the value.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, PyTree

from .._jax import fast_jit
from ..components.combination import AbstractCombination
from ..components.objective import Term
from ..components.protocol import Outcome, Prepared
from ..components.sampler import AbstractSampler
from ..execution.executor import Executor
from ..execution.task import Result, Task
from .diagnosis import blame_objective, check_shapes
from .measurement import Measured, Sample, pull_back
from .problem import Problem
from .statistics import standard_error


class Evaluation(eqx.Module):
    """What a step finds out.

    **Attributes:**

    - `loss`: weighted sum of the terms' losses; None if too few configurations were accepted to know it.
    - `values`, `losses`: mean over accepted configurations, and unweighted loss, of each term.
    - `standard_errors`: of the means: what they vary by from one such sample to another.
    - `floors`: what each loss would come to on average if the ensemble were on target.
    - `gradients`: gradient of the weighted loss of each term in the design variables.
    - `lengths`: of the gradient of each scalar term's value, the median over configurations.
    - `outcomes`: how each requested configuration ended.
    """

    loss: float | None
    values: dict[str, np.ndarray]
    losses: dict[str, float | None]
    standard_errors: dict[str, np.ndarray | None]
    floors: dict[str, float | None]
    gradients: dict[str, dict[str, np.ndarray]]
    lengths: dict[str, float]
    outcomes: list[Outcome]

    @property
    def gradient(self) -> dict[str, np.ndarray]:
        """Gradient of the total loss."""
        return jax.tree.map(lambda *terms: sum(terms), *self.gradients.values())


@fast_jit
def _losses(terms: Mapping[str, Term], values: Mapping[str, Any], accepted: Any, sampler: AbstractSampler):
    """Loss, floor and cotangent (under its weight) of each term."""

    def one(term, values):
        loss, cotangent = jax.value_and_grad(lambda x: term.objective.loss(x, accepted, sampler))(values)
        return loss, term.objective.floor(values, accepted, sampler), term.share * cotangent

    return {name: one(term, values[name]) for name, term in terms.items()}


def combine(
    terms: Mapping[str, Term],
    sampler: AbstractSampler,
    samples: Sequence[Sample],
    limits: Mapping[str, float] | None = None,
):
    """Evaluation of a step but for the gradient of array terms, and the cotangents those need, sample by sample."""
    outcomes = [one.outcome for one in samples]
    rows = [one.measured for one in samples if one.measured is not None]
    nothing: list[dict[str, Array]] = [{} for _ in samples]
    if not rows:
        return Evaluation(None, {}, {}, {}, {}, {}, {}, outcomes), nothing
    # Gathered on the host: these are few numbers, and every operation on the device has a price.
    accepted = np.asarray([one.measured is not None for one in samples])
    check_shapes(
        [{name: np.asarray(value) for name, value in row.values.items()} for row in rows],
        [one.index for one in samples if one.measured is not None],
    )
    empty = {name: np.zeros_like(value) for name, value in rows[0].values.items()}
    gathered = {
        name: np.stack([(empty if one.measured is None else one.measured.values)[name] for one in samples])
        for name in terms
    }
    try:
        found = jax.tree.map(np.asarray, _losses(dict(terms), gathered, accepted, sampler))
    except Exception as error:
        failure = blame_objective(terms, gathered, accepted, sampler)
        if failure is None:
            raise
        raise failure from error
    cotangents = {name: cotangent for name, (_, _, cotangent) in found.items()}
    n = len(rows)
    mean = {name: np.sum(value, axis=0) / n for name, value in gathered.items()}
    errors = {name: standard_error(value[accepted]) for name, value in gathered.items()}
    losses = {name: float(loss) if np.isfinite(loss) else None for name, (loss, _, _) in found.items()}
    floors = {
        name: None if floor is None or not np.isfinite(floor) else float(floor) for name, (_, floor, _) in found.items()
    }
    total: float | None = 0.0
    for name, loss in losses.items():
        total = None if loss is None or total is None else total + float(terms[name].share) * loss
    if total is None:
        # An objective that needs more configurations than were accepted has no value, and no gradient.
        return Evaluation(None, mean, losses, errors, floors, {}, {}, outcomes), nothing
    gradients: dict[str, dict[str, np.ndarray]] = {}
    arrays = [name for name in terms if name not in rows[0].gradients]
    lengths = lengths_of(rows)
    factors = clipping(lengths, limits or {})
    row = -1
    for k, one in enumerate(samples):
        if one.measured is None:
            continue
        row += 1
        part = {
            name: {key: cotangents[name][k] * factors[name][row] * g for key, g in gradient.items()}
            for name, gradient in one.measured.gradients.items()
        }
        gradients = jax.tree.map(np.add, gradients, part) if gradients else part
        nothing[k] = {name: cotangents[name][k] for name in arrays}
    medians = {name: float(np.median(some)) for name, some in lengths.items()}
    return Evaluation(total, mean, losses, errors, floors, gradients, medians, outcomes), nothing


def lengths_of(rows: Sequence[Measured]) -> dict[str, np.ndarray]:
    """Length of the gradient of each scalar term in each configuration."""
    return {
        name: np.array([np.sqrt(sum(np.sum(g**2) for g in row.gradients[name].values())) for row in rows])
        for name in rows[0].gradients
    }


def clipping(lengths: Mapping[str, np.ndarray], limits: Mapping[str, float]) -> dict[str, np.ndarray]:
    """By which factor the gradient of each term is shortened in each configuration, so that none exceeds its limit.

    Next to an instability the gradient of a single packing grows without bound (its distribution has no variance), and
    a few packings would drown all others. With the unbiased estimator the loss's gradient remains zero on average where
    the mean is on target, because each packing's gradient is multiplied by distances of the *others*; but only if
    the limit does not depend on these others either. So it has to come from earlier steps.
    """
    factors = {}
    for name, some in lengths.items():
        limit = limits.get(name, np.inf)
        limit = np.inf if np.isnan(limit) else limit
        long = some > limit
        factors[name] = np.where(long, limit / np.where(long, some, 1.0), 1.0)
    return factors


@dataclasses.dataclass(frozen=True)
class PullBack(Task[tuple[dict[str, Any], Prepared | None, dict[str, Array]], Result[None]]):
    """Phase two of one configuration: design variables, what was prepared, and the cotangents of terms."""

    problem: Problem

    def __call__(self, item):
        """The design's gradient of each of these terms."""
        values, prepared, along = item
        if not along or prepared is None:
            return Result(None)
        prepared = dataclasses.replace(prepared, statistics={})
        if prepared.memory is None:
            model = self.problem.at(values)
            memory = model.protocol.remember(model.potential, prepared.configuration)
            prepared = dataclasses.replace(prepared, memory=memory)
        return Result(jax.tree.map(np.asarray, pull_back(self.problem.only(along), values, prepared, along)))


def evaluate(
    problem: Problem,
    values: Mapping[str, Array],
    sampler: AbstractSampler,
    samples: Sequence[Sample],
    executor: Executor,
    limits: Mapping[str, float] | None = None,
) -> Evaluation:
    """Loss, values and gradients over a batch; rejected configurations are counted, never averaged in.

    `limits` are the longest gradients of scalar terms that a single configuration may contribute (see `clipping`).
    """
    evaluation, cotangents = combine(problem.terms, sampler, samples, limits)
    if not any(cotangents):
        return evaluation

    work = PullBack(problem)
    items = [(dict(values), one.prepared, along) for one, along in zip(samples, cotangents, strict=True)]
    has_memory = any(one.prepared is not None and one.prepared.memory is not None for one in samples)
    parts = executor.map(work, items, local=has_memory)
    gradients = dict(evaluation.gradients)
    for found in parts:
        for name, part in (found.gathered or {}).items():
            gradients[name] = jax.tree.map(np.add, gradients[name], part) if name in gradients else part
    return dataclasses.replace(evaluation, gradients={name: gradients[name] for name in problem.terms})


@dataclasses.dataclass(frozen=True)
class Combined:
    """What the optimizer of a step gets.

    **Attributes:**

    - `gradient`: in the design variables.
    - `value`: what it is the gradient of, the factors held fixed.
    - `factors`: of each term, beside its weight.
    - `state`: of the combination, for the next step.
    """

    gradient: dict[str, np.ndarray]
    value: float
    factors: dict[str, float]
    state: Any


def combine_terms(
    combination: AbstractCombination | None, terms: Mapping[str, Term], evaluation: Evaluation, state: PyTree
) -> Combined:
    """The terms of an evaluation that has a loss, combined; None is the weighted sum."""
    weights = {name: float(terms[name].share) for name in evaluation.gradients}
    losses = {name: weights[name] * float(evaluation.losses[name] or 0.0) for name in weights}
    if combination is None:
        factors = dict.fromkeys(weights, 1.0)
    else:
        factors, state = combination.factors(evaluation.gradients, losses, weights, state)
    # Both in the order in which the plain sums are taken: with factors of one every digit is theirs.
    value = 0.0
    for name in evaluation.losses:
        value += factors[name] * losses[name]
    gradient = {
        variable: sum(
            (factors[name] * some[variable] for name, some in evaluation.gradients.items()), start=np.zeros(())
        )
        for variable in next(iter(evaluation.gradients.values()))
    }
    return Combined(gradient, value, factors, state)
