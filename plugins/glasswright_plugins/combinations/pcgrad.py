"""Projection of conflicting gradients."""

import itertools
from collections.abc import Mapping, Sequence

import glasswright as gw
import numpy as np
from jaxtyping import Float, PyTree

# Every order of the other terms is tried: 5040 of them for the eighth.
MOST_TERMS = 8


class PCGrad(gw.AbstractCombination):
    """Projecting conflicting gradients: what one term's gradient does against another term's is removed before the sum.

    Of each weighted gradient `g_i`, for the other terms `j` one after another, if `g_i . g_j < 0` then

    `g_i <- g_i - (g_i . g_j) / |g_j|² g_j`,

    with the `g_j` themselves unprojected; the sum of the results is the gradient. The source draws the order of the
    `j` at random in each step. Here the mean over all orders is taken, which is what such steps do on average, and
    does not depend on the order of the terms. Projections only ever add multiples `>= 0` of other gradients, so that
    the result is a sum of gradients with factors of at least one. Without a conflict it is the weighted sum. Two
    opposite gradients cancel completely: such a point is the best that can be had for one without a loss for the other.

    Source: Yu et al., Gradient Surgery for Multi-Task Learning, NeurIPS 2020 (arXiv 2001.06782), Algorithm 1.
    """

    def check(self, names: Sequence[str]) -> None:
        """Raise a `ValueError` for more terms than there are orders to try."""
        if len(names) > MOST_TERMS:
            raise ValueError(f"pcgrad: at most {MOST_TERMS} terms are possible, not {len(names)}.")

    def factors(
        self,
        gradients: Mapping[str, Mapping[str, np.ndarray]],
        losses: Mapping[str, float],
        weights: Mapping[str, float],
        state: PyTree,
    ) -> tuple[dict[str, float], PyTree]:
        """The coefficients of the gradients in the sum of the projected ones."""
        names = list(gradients)
        flat = np.stack([np.concatenate([np.ravel(x) for x in gradients[name].values()]) for name in names])
        # Projections stay in the span of the gradients: coefficients and scalar products are enough.
        products = flat @ flat.T
        total = sum(_projected(products, i) for i in range(len(names)))
        return {name: float(factor) for name, factor in zip(names, np.asarray(total), strict=True)}, state


def _projected(products: Float[np.ndarray, "t t"], i: int) -> Float[np.ndarray, " t"]:
    """Coefficients of the gradient of term `i`, projected along all others, as the mean over their orders."""
    n = len(products)
    orders = np.array(list(itertools.permutations([j for j in range(n) if j != i])), dtype=int)
    coefficients = np.zeros((len(orders), n))
    coefficients[:, i] = 1.0
    rows = np.arange(len(orders))
    for others in orders.T:
        against = np.minimum(np.einsum("rk,kr->r", coefficients, products[:, others]), 0.0)
        lengths = products[others, others]
        coefficients[rows, others] -= against / np.where(lengths > 0.0, lengths, 1.0)
    mean: np.ndarray = np.mean(coefficients, axis=0)
    return mean
