"""The loss of a step and its gradient, in two phases.

The loss of an ensemble is not a sum over configurations. Phase one measures every configuration; then the objectives
see all values; phase two pulls one cotangent per accepted configuration back. The gradient of a scalar needs no
cotangent to be known up to a factor, so it is taken in phase one already, where it shares all work with the value.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Bool, Float

from .._jax import fast_jit
from ..components.objective import Term
from ..components.protocol import Outcome, Prepared
from ..components.sampler import AbstractSampler
from ..execution.executor import Executor
from ..execution.task import Result, Task
from .clipping import clipping_factors, gradient_lengths
from .design import DesignValues
from .diagnosis import check_shapes, failure_of_objective
from .estimator import GradientReport
from .measurement import Sample, pull_back
from .problem import Problem
from .statistics import standard_error

Gradients = dict[str, dict[str, np.ndarray]]
Cotangents = dict[str, np.ndarray]


class Evaluation(eqx.Module):
    """The loss of a step, its gradient, and what they were computed from.

    **Attributes:**

    - `loss`: weighted sum of the terms' losses; None if too few configurations were accepted to know it.
    - `values`, `losses`: mean over accepted configurations, and unweighted loss, of each term.
    - `standard_errors`: of the means; None for a single configuration.
    - `floors`: sampling floor of each loss: its average if the ensemble were on target.
    - `gradients`: gradient of the weighted loss of each term in the design variables.
    - `lengths`: length of the gradient of each scalar term's value, the median over configurations.
    - `outcomes`: how each requested configuration ended.
    - `estimates`: how the gradient in each variable was obtained, where one was estimated.
    - `n_preparations`: how many packings were prepared; None for one of each configuration.
    """

    loss: float | None
    values: dict[str, np.ndarray]
    losses: dict[str, float | None]
    standard_errors: dict[str, np.ndarray | None]
    floors: dict[str, float | None]
    gradients: Gradients
    lengths: dict[str, float]
    outcomes: list[Outcome]
    estimates: dict[str, GradientReport] = dataclasses.field(default_factory=dict)
    n_preparations: int | None = None

    @property
    def gradient(self) -> dict[str, np.ndarray]:
        """Gradient of the total loss."""
        total: dict[str, np.ndarray] = jax.tree.map(lambda *terms: np.asarray(sum(terms)), *self.gradients.values())
        return total


class TermLoss(NamedTuple):
    """Loss of one term, its sampling floor, and the gradient of the weighted loss in the values."""

    loss: Float[Array, ""]
    floor: Float[Array, ""] | None
    cotangent: Float[Array, " batch *shape"]


@fast_jit
def _losses(
    terms: dict[str, Term],
    values: Mapping[str, Float[Array, " batch ..."]],
    accepted: Bool[Array, " batch"],
    sampler: AbstractSampler,
) -> dict[str, TermLoss]:
    def of_term(term: Term, values: Float[Array, " batch *shape"]) -> TermLoss:
        loss, cotangent = jax.value_and_grad(lambda x: term.objective.loss(x, accepted, sampler))(values)
        return TermLoss(loss, term.objective.floor(values, accepted, sampler), term.share * cotangent)

    return {name: of_term(term, values[name]) for name, term in terms.items()}


def evaluate(
    problem: Problem,
    values: DesignValues,
    sampler: AbstractSampler,
    samples: Sequence[Sample],
    executor: Executor,
    limits: Mapping[str, float] | None = None,
) -> Evaluation:
    """Loss, values and gradients over the samples of a step; rejected ones are counted, never averaged in.

    **Arguments:**

    - `values`: the design variables at which the samples were prepared.
    - `limits`: the largest gradient of each scalar term that a single configuration may contribute (see
      `glasswright.evaluation.clipping`).
    """
    return evaluate_each(problem, [values] * len(samples), sampler, samples, executor, limits)


def evaluate_each(
    problem: Problem,
    values: Sequence[DesignValues],
    sampler: AbstractSampler,
    samples: Sequence[Sample],
    executor: Executor,
    limits: Mapping[str, float] | None = None,
) -> Evaluation:
    """`evaluate` for samples that were prepared each at its own design variables."""
    evaluation, cotangents = evaluate_scalars(problem.terms, sampler, samples, limits)
    if not any(cotangents):
        return evaluation
    items = [
        PullBackItem(dict(at), sample.prepared, of_sample)
        for at, sample, of_sample in zip(values, samples, cotangents, strict=True)
    ]
    has_cache = any(item.prepared is not None and item.prepared.memory is not None for item in items)
    gradients = dict(evaluation.gradients)
    for result in executor.map(PullBack(problem), items, local=has_cache):
        for name, part in (result.gathered or {}).items():
            gradients[name] = jax.tree.map(np.add, gradients[name], part) if name in gradients else part
    return dataclasses.replace(evaluation, gradients={name: gradients[name] for name in problem.terms})


def evaluate_scalars(
    terms: Mapping[str, Term],
    sampler: AbstractSampler,
    samples: Sequence[Sample],
    limits: Mapping[str, float] | None = None,
) -> tuple[Evaluation, list[Cotangents]]:
    """The evaluation of a step without the gradients of array terms, and the cotangents of these for each sample."""
    outcomes = [sample.outcome for sample in samples]
    measurements = [sample.measurement for sample in samples if sample.measurement is not None]
    cotangents: list[Cotangents] = [{} for _ in samples]
    if not measurements:
        return Evaluation(None, {}, {}, {}, {}, {}, {}, outcomes), cotangents
    # Gathered on the host: these are few numbers, and every operation on the device has a price.
    accepted = np.asarray([sample.measurement is not None for sample in samples])
    values = gather_values(terms, samples)
    term_losses = evaluate_objectives(terms, values, accepted, sampler)
    n = len(measurements)
    means = {name: np.asarray(np.sum(value, axis=0) / n) for name, value in values.items()}
    errors = {name: standard_error(value[accepted]) for name, value in values.items()}
    losses = {name: float(term.loss) if np.isfinite(term.loss) else None for name, term in term_losses.items()}
    floors = {
        name: None if term.floor is None or not np.isfinite(term.floor) else float(term.floor)
        for name, term in term_losses.items()
    }
    total: float | None = 0.0
    for name, loss in losses.items():
        total = None if loss is None or total is None else total + float(terms[name].share) * loss
    if total is None:
        # An objective that needs more configurations than were accepted has no value, and no gradient.
        return Evaluation(None, means, losses, errors, floors, {}, {}, outcomes), cotangents
    lengths = gradient_lengths(measurements)
    gradients = _scalar_gradients(samples, term_losses, clipping_factors(lengths, limits or {}))
    arrays = [name for name in terms if name not in measurements[0].gradients]
    for k in np.flatnonzero(accepted):
        cotangents[k] = {name: np.asarray(term_losses[name].cotangent[k]) for name in arrays}
    medians = {name: float(np.median(of_term)) for name, of_term in lengths.items()}
    return Evaluation(total, means, losses, errors, floors, gradients, medians, outcomes), cotangents


def gather_values(terms: Mapping[str, Term], samples: Sequence[Sample]) -> dict[str, np.ndarray]:
    """The values of each term in all samples, zeros where a sample was rejected; at least one was not."""
    measurements = [sample.measurement for sample in samples if sample.measurement is not None]
    check_shapes(
        [{name: np.asarray(value) for name, value in m.values.items()} for m in measurements],
        [sample.index for sample in samples if sample.measurement is not None],
    )
    zeros = {name: np.zeros_like(value) for name, value in measurements[0].values.items()}
    return {
        name: np.stack([(zeros if s.measurement is None else s.measurement.values)[name] for s in samples])
        for name in terms
    }


def evaluate_objectives(
    terms: Mapping[str, Term], values: dict[str, np.ndarray], accepted: np.ndarray, sampler: AbstractSampler
) -> dict[str, TermLoss]:
    """Loss, sampling floor and cotangent of each term, on the host."""
    try:
        on_host: dict[str, TermLoss] = jax.tree.map(np.asarray, _losses(dict(terms), values, accepted, sampler))
        return on_host
    except Exception as error:
        failure = failure_of_objective(terms, values, accepted, sampler)
        if failure is None:
            raise
        raise failure from error


def _scalar_gradients(
    samples: Sequence[Sample], term_losses: Mapping[str, TermLoss], factors: Mapping[str, np.ndarray]
) -> Gradients:
    """Gradient of the weighted loss of each scalar term: the sum over samples of cotangent times clipped gradient."""
    gradients: Gradients = {}
    row = -1
    for k, sample in enumerate(samples):
        if sample.measurement is None:
            continue
        row += 1
        part = {
            name: {key: term_losses[name].cotangent[k] * factors[name][row] * g for key, g in gradient.items()}
            for name, gradient in sample.measurement.gradients.items()
        }
        gradients = jax.tree.map(np.add, gradients, part) if gradients else part
    as_arrays: Gradients = jax.tree.map(np.asarray, gradients)
    return as_arrays


class PullBackItem(NamedTuple):
    """One configuration of phase two: design variables, what was prepared, and the cotangents of terms."""

    values: DesignValues
    prepared: Prepared | None
    cotangents: Cotangents


@dataclasses.dataclass(frozen=True)
class PullBack(Task[PullBackItem, Result[None]]):
    """Phase two of one configuration: the gradient of array terms, contracted with their cotangents."""

    problem: Problem

    def __call__(self, item: PullBackItem) -> Result[None]:
        """The gradient in the design variables of each term that the item has a cotangent of."""
        values, prepared, cotangents = item
        if not cotangents or prepared is None:
            return Result(None)
        prepared = dataclasses.replace(prepared, statistics={})
        if prepared.memory is None:
            model = self.problem.at(values)
            memory = model.protocol.remember(model.potential, prepared.configuration)
            prepared = dataclasses.replace(prepared, memory=memory)
        gradients = pull_back(self.problem.only(cotangents), values, prepared, cotangents)
        return Result(jax.tree.map(np.asarray, gradients))
