"""Combinations: how the gradients of several terms become the one that the optimizer follows."""

import abc
from collections.abc import Mapping, Sequence

import equinox as eqx
import numpy as np
from jaxtyping import PyTree


class AbstractCombination(eqx.Module):
    """A rule that combines the terms of a loss: each term gets a factor, and the optimizer sees the sum.

    With the weighted losses `L_i` (each over its scale squared) and their gradients `g_i`, the optimizer gets the
    gradient `sum_i c_i g_i` and the value `sum_i c_i L_i`, whose gradient it is while the factors `c_i` are held
    fixed. So optimizers that use the value stay right under any combination. The loss that is reported, and compared
    with the tolerance, is always the plain weighted sum. A step without a loss does not call the combination.

    It runs on the host between two steps, on numbers that are the same in all processes.
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
        """The state before the first step: arrays only, since checkpoints keep it. By default there is none."""
        return ()

    def check(self, names: Sequence[str]) -> None:
        """Raise a `ValueError` before the run if terms of these names cannot be combined; by default all can."""
