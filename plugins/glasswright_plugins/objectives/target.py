from typing import Literal

import equinox as eqx
import glasswright as gw
import jax.numpy as jnp
from jaxtyping import Array, Float


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

    def check(self, sampling):
        """The unbiased estimator needs two packings."""
        if not self._is_plain(sampling) and sampling.size < 2:
            raise ValueError(f"target(estimator={self.estimator!r}): needs sampler.size >= 2, not {sampling.size}.")

    def loss(self, values, accepted, sampling):
        """The squared distance by the chosen estimator."""
        n, distance = _distances(values, accepted, self.target)
        total = jnp.sum(distance, axis=0)
        if self._is_plain(sampling):
            return jnp.sum((total / n) ** 2)
        # One packing alone says nothing about a variance.
        pairs = jnp.where(n > 1, n * (n - 1), jnp.nan)
        return jnp.sum(total**2 - jnp.sum(distance**2, axis=0)) / pairs

    def floor(self, values, accepted, sampling):
        """Variance of the mean: `Var(f) / m`."""
        n, distance = _distances(values, accepted, self.target)
        mean = jnp.sum(distance, axis=0) / n
        rows = accepted.reshape((-1,) + (1,) * (values.ndim - 1))
        squares = jnp.sum(jnp.where(rows, (distance - mean) ** 2, 0.0))
        return squares / jnp.where(n > 1, n * (n - 1), jnp.nan)

    def _is_plain(self, sampling) -> bool:
        return self.estimator == "plain" or (self.estimator == "auto" and sampling.is_population)


def _distances(values, accepted, target):
    """How many were accepted, and the distance of each from the target, zero for the others."""
    rows = accepted.reshape((-1,) + (1,) * (values.ndim - 1))
    return jnp.sum(accepted), jnp.where(rows, values - target, 0.0)
