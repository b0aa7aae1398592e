"""The gradient in variables that a single packing does not depend on smoothly, from the losses of all packings.

With `evolution` every sample is a pair: two packings from the same start, with the same noise, at
`theta exp(+s delta)` and `theta exp(-s delta)`, where `delta` is drawn for the sample. The losses `L+` of all first and
`L-` of all second members are two estimates of the same mean, and so are the gradients in all other variables. The
gradient of the mean that is smoothed over `delta` is

    dL / dlog(theta) = < sum_i delta_i (L(f_i+, others) - L(f_i-, others)) / (2 s) >,

where only sample `i` goes from one member to the other. It is unbiased for every objective whose loss is.

The fractions of species are probabilities: with `n_a` particles of species `a` in sample `i`,

    dL / dc_a = < sum_i (n_a / c_a) (L - L without i) >,

projected onto the plane in which fractions add up to one; the other samples are the baseline. `differences` takes a
pair for each number, from the same starts as all others.

Source: Salimans et al., arXiv:1703.03864 (2017), for pairs; Kool, van Hoof & Welling, ICLR workshop Deep Reinforcement
Learning Meets Structured Prediction (2019), for the baseline.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from .._jax import fast_jit
from ..components.objective import Term
from ..components.sampler import AbstractSampler
from ..execution.executor import Executor
from .design import Design, DesignValues
from .ensemble import Ensemble
from .estimator import GradientReport
from .loss import Evaluation, Gradients, evaluate_each, evaluate_objectives, evaluate_scalars, gather_values
from .measurement import Sample
from .members import Measured, measure_members
from .statistics import standard_error

# An array for each term and each design variable, with a leading axis over samples.
Contributions = dict[str, dict[str, np.ndarray]]


def evaluate_estimated(
    ensemble: Ensemble,
    executor: Executor,
    values: DesignValues,
    sampler: AbstractSampler,
    indices: Sequence[int],
    *,
    step: int = 0,
    limits: Mapping[str, float] | None = None,
) -> tuple[list[Sample], Evaluation]:
    """Prepare and measure a step, and evaluate its loss with a gradient that is estimated where it is not exact.

    Arguments are those of `Ensemble.samples` and `evaluate`. A step of which too few samples were accepted to estimate
    the gradient has no loss.
    """
    problem = ensemble.problem
    measured = measure_members(ensemble, executor, values, indices, step=step)
    accepted, exact = measured.accepted, [n for n, e in problem.design.estimator_of.items() if e.name == "exact"]
    evaluations = []
    for members in measured.bases:
        samples = _only_accepted(members.samples, accepted)
        if exact:
            evaluations.append(evaluate_each(problem, members.values, sampler, samples, executor, limits))
        else:
            evaluations.append(evaluate_scalars(problem.terms, sampler, samples, limits)[0])
    evaluation = _mean_evaluation(evaluations, measured)
    if evaluation.loss is None:
        return measured.samples, evaluation
    contributions = estimated_contributions(problem.terms, sampler, measured)
    if not all(np.all(np.isfinite(x)) for x in jax.tree.leaves(contributions)):
        return measured.samples, dataclasses.replace(evaluation, loss=None, gradients={})
    gradients: Gradients = {
        name: {
            variable: np.asarray(np.sum(contributions[name][variable], axis=0))
            if variable in contributions[name]
            else evaluation.gradients[name][variable]
            for variable in problem.design.names
        }
        for name in problem.terms
    }
    of_exact = _exact_contributions(problem.terms, sampler, measured, exact)
    reports = _reports(problem.design, measured, [*contributions.values(), *of_exact.values()])
    return measured.samples, dataclasses.replace(evaluation, gradients=gradients, estimates=reports)


def estimated_contributions(terms: Mapping[str, Term], sampler: AbstractSampler, measured: Measured) -> Contributions:
    """What each sample contributes to the gradient of each weighted loss, in the variables that are estimated.

    Not a number where a loss needs more samples than were accepted.
    """
    accepted = measured.accepted
    result: Contributions = {name: {} for name in terms}
    for pair in measured.pairs:
        sides = [gather_values(terms, _only_accepted(side.samples, accepted)) for side in (pair.plus, pair.minus)]
        changes = _changes_of_loss(dict(terms), *sides, accepted, sampler)
        for name, change in changes.items():
            for variable, slope in pair.slopes.items():
                _add(result[name], variable, _times(change, slope))
    for variable, score in measured.scores.items():
        for members in measured.bases:
            values = gather_values(terms, _only_accepted(members.samples, accepted))
            influences = _influences(dict(terms), values, accepted, sampler)
            for name, influence in influences.items():
                _add(result[name], variable, _times(influence, score) / len(measured.bases))
    return result


def property_gradients(design: Design, measured: Measured) -> Contributions:
    """The gradient of each scalar property in each sample that was accepted, in all design variables."""
    accepted = measured.accepted
    bases = [_values_and_gradients(members.samples, accepted) for members in measured.bases]
    pairs = [
        (*(_values_and_gradients(side.samples, accepted)[0] for side in (pair.plus, pair.minus)), pair.slopes)
        for pair in measured.pairs
    ]
    result: Contributions = {name: {} for name, value in bases[0][0].items() if value.ndim == 1}
    for name, of_property in result.items():
        for variable, score in measured.scores.items():
            values = np.mean([of_base[name] for of_base, _ in bases], axis=0)
            # The mean of the others is the baseline.
            distance = (values - np.mean(values)) * values.size / max(values.size - 1, 1)
            of_property[variable] = _times(distance, score[accepted])
        for plus, minus, slopes in pairs:
            for variable, slope in slopes.items():
                _add(of_property, variable, _times(plus[name] - minus[name], slope[accepted]))
        for variable, estimator in design.estimator_of.items():
            if estimator.name == "exact":
                parts = [[gradients[name][variable] for gradients in of_base] for _, of_base in bases]
                of_property[variable] = np.mean(parts, axis=0)
    return result


def _values_and_gradients(
    samples: Sequence[Sample], accepted: Bool[np.ndarray, " m"]
) -> tuple[dict[str, np.ndarray], list[Mapping[str, Mapping[str, Array | np.ndarray]]]]:
    """The values of all terms in the accepted samples, stacked, and the gradients of each."""
    measured = [s.measurement for s in _only_accepted(samples, accepted) if s.measurement is not None]
    values = {name: np.stack([np.asarray(m.values[name]) for m in measured]) for name in measured[0].values}
    return values, [m.gradients for m in measured]


def signal_to_noise(contributions: Float[np.ndarray, " m *shape"]) -> float | None:
    """Length of the gradient over that of its standard error, from independent contributions; None if it has no error.

    The mean of the contributions is longer than the gradient, by the standard error in square: that is taken off. Zero
    means that nothing stands out.
    """
    error = standard_error(contributions)
    if error is None or not np.any(error):
        return None
    noise = float(np.sum(error**2))
    signal = float(np.sum(np.mean(contributions, axis=0) ** 2)) - noise
    return float(np.sqrt(max(signal, 0.0) / noise))


@fast_jit
def _changes_of_loss(
    terms: dict[str, Term],
    plus: Mapping[str, Float[Array, " m ..."]],
    minus: Mapping[str, Float[Array, " m ..."]],
    accepted: Bool[Array, " m"],
    sampler: AbstractSampler,
) -> dict[str, Float[Array, " m"]]:
    """How the weighted loss changes where one sample goes from its second member to its first, for each sample.

    The mean of two changes: among the first members of all others, and among their second.
    """

    def of_term(term: Term, plus: Float[Array, " m *shape"], minus: Float[Array, " m *shape"]) -> Float[Array, " m"]:
        def loss(values: Float[Array, " m *shape"]) -> Float[Array, ""]:
            return term.objective.loss(values, accepted, sampler)

        above, below = loss(plus), loss(minus)

        def of_sample(i: Array) -> Float[Array, ""]:
            return 0.5 * (above - loss(plus.at[i].set(minus[i])) + loss(minus.at[i].set(plus[i])) - below)

        changes: Float[Array, " m"] = jax.lax.map(of_sample, jnp.arange(plus.shape[0]))
        return term.share * changes

    return {name: of_term(term, jnp.asarray(plus[name]), jnp.asarray(minus[name])) for name, term in terms.items()}


@fast_jit
def _influences(
    terms: dict[str, Term],
    values: Mapping[str, Float[Array, " m ..."]],
    accepted: Bool[Array, " m"],
    sampler: AbstractSampler,
) -> dict[str, Float[Array, " m"]]:
    """The weighted loss minus that without a sample, for each sample."""

    def of_term(term: Term, values: Float[Array, " m *shape"]) -> Float[Array, " m"]:
        whole = term.objective.loss(values, accepted, sampler)

        def of_sample(i: Array) -> Float[Array, ""]:
            # What is left out must not leave a value behind: rejected rows hold zeros.
            rest = term.objective.loss(values.at[i].set(0.0), accepted.at[i].set(False), sampler)
            return jnp.where(accepted[i], whole - rest, 0.0)

        influences: Float[Array, " m"] = jax.lax.map(of_sample, jnp.arange(values.shape[0]))
        return term.share * influences

    return {name: of_term(term, jnp.asarray(values[name])) for name, term in terms.items()}


def _add(parts: dict[str, np.ndarray], variable: str, part: np.ndarray) -> None:
    """Add to what there is of a variable."""
    parts[variable] = part + parts.get(variable, np.zeros_like(part))


def _times(
    numbers: Float[Array | np.ndarray, " m"], slopes: Float[np.ndarray, " m *shape"]
) -> Float[np.ndarray, " m *shape"]:
    """A number of each sample times an array of it."""
    factors = np.asarray(numbers).reshape((-1,) + (1,) * (slopes.ndim - 1))
    return np.asarray(factors * slopes)


def _only_accepted(samples: Sequence[Sample], accepted: Bool[np.ndarray, " m"]) -> list[Sample]:
    """The samples, without measurement where another member of the same was rejected."""
    return [
        sample if keep else Sample(sample.index, sample.outcome, sample.statistics, None, sample.prepared)
        for sample, keep in zip(samples, accepted, strict=True)
    ]


def _mean_evaluation(evaluations: Sequence[Evaluation], measured: Measured) -> Evaluation:
    """The mean of evaluations of the same samples. Both members of a pair count once in standard errors."""
    first = evaluations[0]

    def mean(numbers: Sequence[float | None]) -> float | None:
        known = [number for number in numbers if number is not None]
        return float(np.mean(known)) if len(known) == len(numbers) else None

    measurements = [sample.measurement for sample in measured.samples if sample.measurement is not None]
    return Evaluation(
        loss=mean([e.loss for e in evaluations]),
        values={name: np.asarray(np.mean([e.values[name] for e in evaluations], axis=0)) for name in first.values},
        losses={name: mean([e.losses[name] for e in evaluations]) for name in first.losses},
        standard_errors={
            name: standard_error(np.stack([m.values[name] for m in measurements])) for name in first.values
        },
        floors={name: mean([e.floors[name] for e in evaluations]) for name in first.floors},
        gradients=jax.tree.map(lambda *parts: np.asarray(np.mean(parts, axis=0)), *(e.gradients for e in evaluations)),
        lengths={name: float(np.mean([e.lengths[name] for e in evaluations])) for name in first.lengths},
        outcomes=[sample.outcome for sample in measured.samples],
        n_preparations=measured.n_preparations,
    )


def _exact_contributions(
    terms: Mapping[str, Term], sampler: AbstractSampler, measured: Measured, exact: Sequence[str]
) -> Contributions:
    """What each sample contributes to the exact gradient of the weighted loss of each scalar term, without clipping."""
    accepted = measured.accepted
    result: Contributions = {name: {} for name in terms}
    for members in measured.bases if exact else ():
        samples = _only_accepted(members.samples, accepted)
        losses = evaluate_objectives(terms, gather_values(terms, samples), accepted, sampler)
        known = [(k, s.measurement.gradients) for k, s in enumerate(samples) if s.measurement is not None]
        for name in known[0][1]:
            for variable in exact:
                part = np.zeros((len(samples), *np.shape(known[0][1][name][variable])))
                for k, gradients in known:
                    part[k] = losses[name].cotangent[k] * np.asarray(gradients[name][variable])
                _add(result[name], variable, part / len(measured.bases))
    return result


def _reports(
    design: Design, measured: Measured, contributions: Sequence[Mapping[str, np.ndarray]]
) -> dict[str, GradientReport]:
    """How the gradient in each variable was obtained, from the contributions of all terms."""
    accepted, reports = measured.accepted, {}
    correlations = pair_correlations(measured) if len(measured.bases) > 1 else {}
    for name, estimator in design.estimator_of.items():
        parts = [of_term[name] for of_term in contributions if name in of_term]
        noise = signal_to_noise(np.sum(parts, axis=0)[accepted]) if parts else None
        report = GradientReport(estimator=estimator.name, signal_to_noise=noise)
        if estimator.width is not None:
            report["width"] = estimator.width
        if estimator.name == "evolution":
            report["pair_correlation"] = correlations
        reports[name] = report
    return reports


def pair_correlations(measured: Measured) -> dict[str, float | None]:
    """The correlation between both members of random pairs, for each scalar term; None where it is not known."""
    result: dict[str, float | None] = {}
    first, second = (_values_and_gradients(members.samples, measured.accepted)[0] for members in measured.bases)
    for name, plus in first.items():
        if plus.ndim == 1:
            minus = second[name]
            known = len(plus) > 2 and np.std(plus) > 0.0 and np.std(minus) > 0.0
            result[name] = float(np.corrcoef(plus, minus)[0, 1]) if known else None
    return result
