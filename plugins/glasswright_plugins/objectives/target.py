"""A mean value on a target."""

from typing import Literal

import equinox as eqx
import glasswright as gw
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ._estimators import check_estimator, check_shape, is_plain, squared_distance, variance_of_mean


class Target(gw.AbstractObjective):
    """Squared distance of the mean value from a target, `(<f> - f*)²`, summed over components.

    From a *sample* of an ensemble the plain square is biased by the variance of the mean; the unbiased estimator is the
    U-statistic `[(sum_b d_b)² - sum_b d_b²] / (m (m - 1))`, `d_b = f_b - f*`, which is unbiased in value and gradient
    and can be negative.

    **Arguments:**

    - `target`: the value wanted: a number, or an array of the property's shape.
    - `estimator`: `plain`, `unbiased`, or `auto`: plain where the packings are the population, unbiased where they are
      a sample (which then needs at least two).
    """

    target: Float[Array, "*shape"] = eqx.field(converter=lambda x: jnp.asarray(x, dtype=float))
    estimator: Literal["auto", "plain", "unbiased"] = "auto"

    def check(self, sampling: gw.AbstractSampler) -> None:
        """The unbiased estimator needs two packings."""
        check_estimator("target", self.estimator, sampling)

    def check_property(self, measured: gw.AbstractProperty, shape: tuple[int, ...]) -> None:
        """The target is a number, or has the shape of the values."""
        check_shape("target", self.target, measured, shape)

    def loss(
        self, values: Float[Array, " batch *shape"], accepted: Bool[Array, " batch"], sampling: gw.AbstractSampler
    ) -> Float[Array, ""]:
        """The squared distance by the chosen estimator."""
        return squared_distance(values, accepted, self.target, is_plain(self.estimator, sampling))

    def floor(
        self, values: Float[Array, " batch *shape"], accepted: Bool[Array, " batch"], sampling: gw.AbstractSampler
    ) -> Float[Array, ""]:
        """Variance of the mean: `Var(f) / m`."""
        return variance_of_mean(values, accepted, self.target)
