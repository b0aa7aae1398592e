"""Estimators of the squared distance of a mean from its target: what batches of a few packings give on average."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import averaged_gradients
import jax
import jax.numpy as jnp
import numpy as np
from glasswright._team import Team
from glasswright_plugins.objectives.target import Target
from glasswright_plugins.samplers.fresh import Fresh
from packings import SYMBOLS, Cache, Setting, mean_and_error, outcomes, parser, table

PROPERTIES = ("nu", "pressure")
SIZES = (2, 4, 8, 16)
ESTIMATORS = ("plain", "unbiased")
# How far the mean is above its target: small, so that the bias is not.
DISTANCE = {"nu": 0.01, "pressure": 0.0005}


@dataclasses.dataclass(frozen=True)
class Average:
    """What the batches of one size give on average, and what they should.

    - `value`, `gradient`: mean over the batches, each with its standard error.
    - `true_value`, `true_gradient`: of the squared distance of the mean, from the whole sample.
    - `bias`, `gradient_bias`: `Var(f)/m` and `2 Cov(f, g)/m`, what the plain square is expected to be off by.
    """

    value: tuple[Any, Any]
    gradient: tuple[Any, Any]
    true_value: float
    true_gradient: np.ndarray
    bias: float
    gradient_bias: np.ndarray


def average(values: np.ndarray, gradients: np.ndarray, size: int, estimator: str, target: float) -> Average:
    """Average an estimator over disjoint batches of `size` packings, by `Target` itself."""
    objective, sampler = Target(target, estimator=estimator), Fresh(size)
    accepted = jnp.ones(size, dtype=bool)
    count = len(values) // size
    f = values[: count * size].reshape(count, size)
    g = gradients[: count * size].reshape(count, size, -1)
    losses, cotangents = jax.vmap(jax.value_and_grad(lambda x: objective.loss(x, accepted, sampler)))(f)
    slopes = np.einsum("bm,bmk->bk", cotangents, g)
    # The batches make up the whole sample, whose mean deviation is zero: what is linear in the deviations of a batch
    # does not change the average, but would hide most of what the average is exact to.
    mean, slope = np.mean(f), np.mean(g, axis=(0, 1))
    off, slope_off = np.mean(f, axis=1) - mean, np.mean(g, axis=1) - slope
    losses = np.asarray(losses) - 2.0 * (mean - target) * off
    slopes = slopes - 2.0 * (off[:, None] * slope + (mean - target) * slope_off)
    covariance = np.mean((values - mean)[:, None] * (gradients - slope), axis=0)
    return Average(
        mean_and_error(losses),
        mean_and_error(slopes),
        (mean - target) ** 2,
        2.0 * (mean - target) * slope,
        np.var(values, ddof=1) / size,
        2.0 * covariance / size,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser(__doc__, __file__, 4000, 2).parse_args(arguments)
    cache = Cache(options.raw)
    n, seed = options.n, options.seed
    with Team(options.lanes) as team:
        found = cache.rows("prepared", n, {"seed": seed}, lambda indices: averaged_gradients.measure(seed, team, indices))


if __name__ == "__main__":
    main()
