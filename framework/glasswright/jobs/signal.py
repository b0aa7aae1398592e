"""How far the gradients that a training would follow stand out from their noise, before it is spent."""

import functools
from collections.abc import Callable
from typing import TypedDict

import numpy as np

from .._errors import RunError
from ..evaluation.design import Design, DesignValues
from ..evaluation.ensemble import Ensemble
from ..evaluation.estimation import pair_correlations, property_gradients, signal_to_noise
from ..evaluation.members import Measured, measure_members
from ..evaluation.statistics import count_rejected, describe_rejected, standard_error
from ..execution.executor import Executor

# Samples of a round for each worker, as for other ensembles.
ROUND = 8


class VariableSignal(TypedDict):
    """The gradient of the mean of a property in one design variable.

    `for_one` is the number of samples of which the gradient would be as long as its noise. Variables that change in
    proportion have the gradient in their logarithm.
    """

    estimator: str
    gradient: np.ndarray
    standard_error: np.ndarray
    signal_to_noise: float | None
    for_one: float | None


class PropertySignal(TypedDict):
    """The gradients of a property, and what common random numbers gain for it."""

    variables: dict[str, VariableSignal]
    pair_correlation: float | None


class SignalReport(TypedDict):
    """The gradients of all scalar properties, and the samples that they were estimated from."""

    requested: int
    converged: int
    rejected: dict[str, int]
    preparations: int
    properties: dict[str, PropertySignal]


def measure_signal(
    ensemble: Ensemble,
    executor: Executor,
    values: DesignValues,
    n_samples: int,
    after_each: Callable[[int, str], None],
) -> SignalReport:
    """Estimate the gradients of the means of all scalar properties from fresh samples.

    **Arguments:**

    - `after_each`: called after each round with its number of samples and with what was rejected so far.
    """
    size = ensemble.chunk_size or ROUND * executor.n_workers * executor.n_hosts
    rounds: list[Measured] = []
    for first in range(0, n_samples, size):
        indices = range(first, min(first + size, n_samples))
        rounds.append(measure_members(ensemble, executor, values, indices))
        rejected = count_rejected(s.outcome for of_round in rounds for s in of_round.samples)
        after_each(len(indices), describe_rejected(rejected))
    return _report(ensemble.problem.design, functools.reduce(Measured.joined_with, rounds))


def _report(design: Design, measured: Measured) -> SignalReport:
    rejected = count_rejected(sample.outcome for sample in measured.samples)
    converged = len(measured.samples) - sum(rejected.values())
    if converged < 2:
        raise RunError(f"gradients: {converged} of {len(measured.samples)} samples converged, and two are needed")
    correlations = pair_correlations(measured) if len(measured.bases) > 1 else {}
    return SignalReport(
        requested=len(measured.samples),
        converged=converged,
        rejected=rejected,
        preparations=measured.n_preparations,
        properties={
            name: PropertySignal(
                variables={
                    variable: _variable(design.estimator_of[variable].name, gradients[variable])
                    for variable in design.names
                },
                pair_correlation=correlations.get(name),
            )
            for name, gradients in property_gradients(design, measured).items()
        },
    )


def _variable(estimator: str, gradients: np.ndarray) -> VariableSignal:
    ratio, error = signal_to_noise(gradients), standard_error(gradients)
    assert error is not None
    return VariableSignal(
        estimator=estimator,
        gradient=np.asarray(np.mean(gradients, axis=0)),
        standard_error=error,
        signal_to_noise=ratio,
        for_one=len(gradients) / ratio**2 if ratio else None,
    )
