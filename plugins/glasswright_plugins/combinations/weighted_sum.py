"""The weighted sum of the terms."""

from collections.abc import Mapping

import glasswright as gw
import numpy as np
from jaxtyping import PyTree


class WeightedSum(gw.AbstractCombination):
    """The sum of the weighted losses, and its gradient: every factor is one."""

    def factors(
        self,
        gradients: Mapping[str, Mapping[str, np.ndarray]],
        losses: Mapping[str, float],
        weights: Mapping[str, float],
        state: PyTree,
    ) -> tuple[dict[str, float], PyTree]:
        """One for every term."""
        return dict.fromkeys(gradients, 1.0), state
