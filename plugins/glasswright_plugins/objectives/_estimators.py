"""The squared distance of a mean from a target, by the estimators that several objectives share."""

from typing import Literal

import jax
import jax.numpy as jnp

Estimator = Literal["auto", "plain", "unbiased"]


def is_plain(estimator: Estimator, sampling) -> bool:
    """Whether the plain square is taken: always, never, or where the packings are the population."""
    return estimator == "plain" or (estimator == "auto" and sampling.is_population)


def check_estimator(call: str, estimator: Estimator, sampling) -> None:
    """The unbiased estimator needs two packings."""
    if not is_plain(estimator, sampling) and sampling.size < 2:
        raise ValueError(f"{call}(estimator={estimator!r}): needs sampler.size >= 2, not {sampling.size}.")


def as_rows(accepted, values):
    """`accepted` in a shape that goes with `values`."""
    return accepted.reshape((-1,) + (1,) * (values.ndim - 1))


def distances(values, accepted, target):
    """How many were accepted, and the distance of each from the target, zero for the others."""
    distance = jax.vmap(lambda value: value - target)(values)
    return jnp.sum(accepted), jnp.where(as_rows(accepted, values), distance, 0.0)


def squared_distance(values, accepted, target, plain: bool, weights=None):
    """`(<f> - f*)²`, or its unbiased estimate `[(sum_b d_b)² - sum_b d_b²] / (m (m - 1))`, summed over components.

    Not a number if the estimate is to be unbiased and only one packing was accepted.
    """
    n, distance = distances(values, accepted, target)
    total = jnp.sum(distance, axis=0)
    if plain:
        return jnp.sum(_weighted((total / n) ** 2, weights))
    # One packing alone says nothing about a variance.
    pairs = jnp.where(n > 1, n * (n - 1), jnp.nan)
    return jnp.sum(_weighted(total**2 - jnp.sum(distance**2, axis=0), weights)) / pairs


def variance_of_mean(values, accepted, target, weights=None):
    """`Var(f) / m`, summed over components; not a number for fewer than two packings."""
    n, distance = distances(values, accepted, target)
    mean = jnp.sum(distance, axis=0) / n
    squares = jnp.where(as_rows(accepted, values), (distance - mean[None]) ** 2, 0.0)
    return jnp.sum(jax.vmap(_weighted, (0, None))(squares, weights)) / jnp.where(n > 1, n * (n - 1), jnp.nan)


def check_shape(call: str, target, measured, shape: tuple[int, ...]) -> None:
    """A target is a number, or has the shape of the values."""
    if target.shape not in ((), shape):
        raise ValueError(
            f"{call}(target=…): has {described(target.shape)}, and {type(measured).__name__} measures "
            f"{described(shape)}."
        )


def described(shape: tuple[int, ...]) -> str:
    """A shape in words."""
    if not shape:
        return "a single number"
    return f"{shape[0]} numbers" if len(shape) == 1 else f"{' x '.join(map(str, shape))} numbers"


def _weighted(components, weights):
    return components if weights is None else weights * components
