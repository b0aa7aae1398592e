"""A ratio of ensemble means on a target."""

from typing import Literal

import equinox as eqx
import glasswright as gw
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ._estimators import check_estimator, described, is_plain, per_value, squared_distance, variance_of_mean


class Ratio(gw.AbstractObjective):
    """Squared distance of a ratio of ensemble means from a target, `(<a>/<b> - t)²`, for the property `pair`.

    This is not the mean of the ratio of each packing: that is the property `ratio` with the objective `target`. Since
    `<a>/<b> - t = <a - t b>/<b>`, the square of `<a - t b>` is estimated as `target` estimates it, and divided
    by `<b>²`. Of a sample of `m` packings the numerator is then unbiased; what the sampled `<b>` in the denominator
    adds is of relative order `Var(b) / (m <b>²)`.

    **Arguments:**

    - `target`: the ratio wanted, dimensionless or in the units of `a` over those of `b`; a number.
    - `estimator`: `plain`, `unbiased`, or `auto`: plain where the packings are the population, unbiased where they are
      a sample (which then needs at least two).
    """

    target: Float[Array, ""] = eqx.field(converter=lambda x: jnp.asarray(x, dtype=float))
    estimator: Literal["auto", "plain", "unbiased"] = "auto"

    def __check_init__(self) -> None:
        if self.target.ndim:
            raise ValueError(f"ratio(target={self.target.tolist()}): must be a single number.")

    def check(self, sampling: gw.AbstractSampler) -> None:
        """The unbiased estimator needs two packings."""
        check_estimator("ratio", self.estimator, sampling)

    def check_property(self, measured: gw.AbstractProperty, shape: tuple[int, ...]) -> None:
        """The values are pairs."""
        if shape != (2,):
            raise ValueError(
                f"ratio: needs two numbers of each packing, and {type(measured).__name__} measures "
                f"{described(shape)}; take the property pair."
            )

    def loss(
        self, values: Float[Array, " batch *shape"], accepted: Bool[Array, " batch"], sampling: gw.AbstractSampler
    ) -> Float[Array, ""]:
        """The squared distance of the ratio of means; not a number if the denominator's mean is zero."""
        excess, scale = self._parts(values, accepted)
        return squared_distance(excess, accepted, 0.0, is_plain(self.estimator, sampling)) / scale

    def floor(
        self, values: Float[Array, " batch *shape"], accepted: Bool[Array, " batch"], sampling: gw.AbstractSampler
    ) -> Float[Array, ""]:
        """Variance of the ratio of means, to first order: `Var(a - t b) / (m <b>²)`."""
        excess, scale = self._parts(values, accepted)
        return variance_of_mean(excess, accepted, 0.0) / scale

    def _parts(
        self, values: Float[Array, "batch 2"], accepted: Bool[Array, " batch"]
    ) -> tuple[Float[Array, " batch"], Float[Array, ""]]:
        """`a - t b` of each packing, and `<b>²`, which is not a number if it is zero."""
        numbers = jnp.where(per_value(accepted, values), values, 0.0)
        mean = jnp.sum(numbers[:, 1]) / jnp.sum(accepted)
        return numbers[:, 0] - self.target * numbers[:, 1], jnp.where(mean == 0.0, jnp.nan, mean**2)
