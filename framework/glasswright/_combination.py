import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import PyTree

from ._gradient import Evaluation
from ._objective import Term


class AbstractCombination(eqx.Module):
    """How the terms of a loss become one gradient: each term gets a factor, and the sum is what the optimizer sees.

    With the weighted losses `L_i` (each over its scale squared) and their gradients `g_i`, the optimizer gets the
    gradient `sum_i c_i g_i` and the value `sum_i c_i L_i` of which it is the gradient while the factors `c_i` are held
    fixed. So optimizers that use the value stay right under any combination. What is reported, and compared with the
    tolerance, is always the plain weighted sum. A step without a loss does not call it.

    It runs on the host, between two steps, on numbers that are the same in all processes.
    """

    @abc.abstractmethod
    def factors(
        self,
        gradients: Mapping[str, Mapping[str, np.ndarray]],
        losses: Mapping[str, float],
        weights: Mapping[str, float],
        state: PyTree,
    ) -> tuple[dict[str, float], PyTree]:
        """The factor of each term, not negative, and the state for the next step.

        `gradients` and `losses` are those of the weighted losses; `weights` are the weights they contain.
        """

    def start(self, names: Sequence[str]) -> PyTree:
        """The state before the first step: arrays only, since it is kept in checkpoints. By default there is none."""
        return ()

    def check(self, names: Sequence[str]) -> None:
        """Raise a `ValueError` before the run if these terms cannot be combined; by default all can."""


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
