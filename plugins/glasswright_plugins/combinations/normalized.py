"""Terms of equal magnitude."""

from collections.abc import Mapping, Sequence
from typing import Literal

import glasswright as gw
import numpy as np

# Avoids a division by zero if no term takes part in a step.
_LEAST = np.finfo(float).tiny


class Normalized(gw.AbstractCombination):
    """Terms of the same size, in proportion to their weights, whatever their units: each over its running magnitude.

    With `x_i` the length of the gradient of a term's weighted loss (or the size of that loss) and its running mean
    `s_i <- memory s_i + (1 - memory) x_i`, which begins at the first `x_i`, the factors are

    `c_i = w_i / s_i * sum_j s_j / sum_j w_j`,

    so that `c_i s_i` is in proportion to the weight `w_i` and the sum of all stays what it was: the learning rate keeps
    its meaning, and the gradient still vanishes where all terms are on target. One term alone is left as it is. A term
    whose magnitude is zero, such as that of a `band` from inside, takes no part in the step: its factor is zero, it is
    in neither sum, and its mean stays.

    Source: balance of gradient magnitudes as in Chen et al., ICML 2018 (GradNorm, arXiv 1711.02257), here by running
    means instead of trained weights.

    **Arguments:**

    - `magnitude`: of the `gradient` of a term, or of its `loss`.
    - `memory`: share of the past in the running mean, from 0 (this step alone) to below 1.
    """

    magnitude: Literal["gradient", "loss"] = "gradient"
    memory: float = 0.9

    def __check_init__(self) -> None:
        if not 0.0 <= self.memory < 1.0:
            raise ValueError(f"normalized(memory={self.memory}): must be at least 0 and below 1.")

    def start(self, names: Sequence[str]) -> dict[str, np.ndarray]:
        """The running magnitude of each term; not a number before the first step."""
        return {name: np.asarray(np.nan) for name in names}

    def factors(
        self,
        gradients: Mapping[str, Mapping[str, np.ndarray]],
        losses: Mapping[str, float],
        weights: Mapping[str, float],
        state: Mapping[str, np.ndarray],
    ) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        """The weight of each term over its running magnitude, scaled to the same sum as before."""
        means, active = dict(state), []
        for name in gradients:
            old = state[name]
            new = abs(losses[name]) if self.magnitude == "loss" else _length(gradients[name])
            if new > 0.0:
                active.append(name)
                means[name] = np.asarray(new if np.isnan(old) else self.memory * old + (1.0 - self.memory) * new)
        level = sum(float(means[name]) for name in active) / max(sum(weights[name] for name in active), _LEAST)
        return {
            name: level * weights[name] / float(means[name]) if name in active else 0.0 for name in gradients
        }, means


def _length(gradient: Mapping[str, np.ndarray]) -> float:
    """Euclidean norm of a gradient over all design variables."""
    return float(np.sqrt(sum(np.sum(part**2) for part in gradient.values())))
