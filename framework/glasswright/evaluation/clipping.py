"""Clipping: the largest gradient that a single packing may contribute."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from .measurement import Measurement


def gradient_lengths(measurements: Sequence[Measurement]) -> dict[str, Float[np.ndarray, " n"]]:
    """Length of the gradient of each scalar term in each packing."""
    return {
        name: np.array([np.sqrt(sum(np.sum(g**2) for g in m.gradients[name].values())) for m in measurements])
        for name in measurements[0].gradients
    }


def clipping_factors(
    lengths: Mapping[str, Float[np.ndarray, " n"]], limits: Mapping[str, float]
) -> dict[str, Float[np.ndarray, " n"]]:
    """Factors that shorten the gradient of each term in each packing, so that none exceeds its limit.

    Next to an instability the gradient of a single packing grows without bound (its distribution has no variance), and
    a few packings would drown all others. With the unbiased estimator the loss's gradient remains zero on average where
    the mean is on target, because each packing's gradient is multiplied by distances of the *others*; but only if
    the limit does not depend on these others either. So it has to come from earlier steps.
    """
    factors = {}
    for name, of_term in lengths.items():
        limit = limits.get(name, np.inf)
        limit = np.inf if np.isnan(limit) else limit
        too_long = of_term > limit
        factors[name] = np.where(too_long, limit / np.where(too_long, of_term, 1.0), 1.0)
    return factors
