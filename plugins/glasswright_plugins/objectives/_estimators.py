"""Estimators of the squared distance of a mean from a target, which several objectives share."""

from typing import Literal

import glasswright as gw
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int

Estimator = Literal["auto", "plain", "unbiased"]


def is_plain(estimator: Estimator, sampling: gw.AbstractSampler) -> bool:
    """Whether to take the plain square; `auto` takes it if the packings are the population."""
    return estimator == "plain" or (estimator == "auto" and sampling.is_population)


def check_estimator(call: str, estimator: Estimator, sampling: gw.AbstractSampler) -> None:
    """Raise a `ValueError` for the unbiased estimator of fewer than two packings."""
    if not is_plain(estimator, sampling) and sampling.size < 2:
        raise ValueError(f"{call}(estimator={estimator!r}): needs sampler.size >= 2, not {sampling.size}.")


def per_value(accepted: Bool[Array, " batch"], values: Float[Array, " batch *shape"]) -> Bool[Array, " batch ..."]:
    """`accepted` with an axis of length one for each axis of the values of a packing."""
    return accepted.reshape((-1,) + (1,) * (values.ndim - 1))


def distances(
    values: Float[Array, " batch *shape"], accepted: Bool[Array, " batch"], target: Float[ArrayLike, "..."]
) -> tuple[Int[Array, ""], Float[Array, " batch *shape"]]:
    """Number of accepted packings, and the distance of each from the target; zero for those rejected."""
    distance = jax.vmap(lambda value: value - target)(values)
    return jnp.sum(accepted), jnp.where(per_value(accepted, values), distance, 0.0)


def squared_distance(
    values: Float[Array, " batch *shape"],
    accepted: Bool[Array, " batch"],
    target: Float[ArrayLike, "..."],
    plain: bool,
    weights: Float[ArrayLike, "..."] | None = None,
) -> Float[Array, ""]:
    """`(<f> - f*)²` or its unbiased estimate, summed over components.

    With the distances `d_b = f_b - f*` of `m` packings the plain square is `(sum_b d_b / m)²`, and the unbiased
    estimate is `[(sum_b d_b)² - sum_b d_b²] / (m (m - 1))`, which is not a number for a single packing.

    **Arguments:**

    - `values`, `accepted`: of all packings, and which of them count.
    - `target`: `f*`, a number or one for each component.
    - `plain`: whether to take the plain square.
    - `weights`: factor of each component; None for one.
    """
    n, distance = distances(values, accepted, target)
    total = jnp.sum(distance, axis=0)
    if plain:
        return jnp.sum(_weighted((total / n) ** 2, weights))
    # The variance of a single packing is unknown.
    pairs = jnp.where(n > 1, n * (n - 1), jnp.nan)
    return jnp.sum(_weighted(total**2 - jnp.sum(distance**2, axis=0), weights)) / pairs


def variance_of_mean(
    values: Float[Array, " batch *shape"],
    accepted: Bool[Array, " batch"],
    target: Float[ArrayLike, "..."],
    weights: Float[ArrayLike, "..."] | None = None,
) -> Float[Array, ""]:
    """`Var(f) / m`, summed over components; not a number for fewer than two packings.

    Arguments are those of `squared_distance`; the target serves as origin.
    """
    n, distance = distances(values, accepted, target)
    mean = jnp.sum(distance, axis=0) / n
    squares = jnp.where(per_value(accepted, values), (distance - mean[None]) ** 2, 0.0)
    return jnp.sum(jax.vmap(_weighted, (0, None))(squares, weights)) / jnp.where(n > 1, n * (n - 1), jnp.nan)


def check_shape(call: str, target: Float[Array, "..."], measured: gw.AbstractProperty, shape: tuple[int, ...]) -> None:
    """Raise a `ValueError` unless a target is a number or has the shape of the values."""
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


def _weighted(components: Float[Array, "*shape"], weights: Float[ArrayLike, "..."] | None) -> Float[Array, "*shape"]:
    """Components times their weights."""
    return components if weights is None else jnp.asarray(weights) * components
