"""Combining the terms of an evaluated step into the one gradient that the optimizer follows."""

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import PyTree

from ..components.combination import AbstractCombination
from ..components.objective import Term
from .loss import Evaluation


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
    state: PyTree


def combine_terms(
    combination: AbstractCombination | None, terms: Mapping[str, Term], evaluation: Evaluation, state: PyTree
) -> Combined:
    """Combine the terms of an evaluation that has a loss; without a combination they are summed."""
    weights = {name: float(terms[name].share) for name in evaluation.gradients}
    losses = {name: weights[name] * float(evaluation.losses[name] or 0.0) for name in weights}
    if combination is None:
        factors = dict.fromkeys(weights, 1.0)
    else:
        factors, state = combination.factors(evaluation.gradients, losses, weights, state)
    # Both sums are taken in the order of the plain ones: with factors of one they agree with these to the last digit.
    value = 0.0
    for name in evaluation.losses:
        value += factors[name] * losses[name]
    gradient = {
        variable: np.asarray(
            sum(
                (factors[name] * of_term[variable] for name, of_term in evaluation.gradients.items()),
                start=np.zeros(()),
            )
        )
        for variable in next(iter(evaluation.gradients.values()))
    }
    return Combined(gradient, value, factors, state)
