"""Every packing's value on a target."""

import equinox as eqx
import glasswright as gw
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ._estimators import check_shape, per_value


class TargetEach(gw.AbstractObjective):
    """Squared distance of every packing's own value from a target, summed over the packings: `sum_b (f_b - f*)²`.

    Asks each packing to be on target, not their mean: the loss is the number of packings times the squared distance of
    the mean plus their variance.

    Source: Zu & Goodrich, Commun. Mater. 5 (2024), Fig. 3c,d and Methods (several configurations at once).

    **Arguments:**

    - `target`: the value wanted: a number, or an array of the property's shape.
    """

    target: Float[Array, "*shape"] = eqx.field(converter=lambda x: jnp.asarray(x, dtype=float))

    def check_property(self, measured: gw.AbstractProperty, shape: tuple[int, ...]) -> None:
        """The target is a number, or has the shape of the values."""
        check_shape("target_each", self.target, measured, shape)

    def loss(
        self, values: Float[Array, " batch *shape"], accepted: Bool[Array, " batch"], sampling: gw.AbstractSampler
    ) -> Float[Array, ""]:
        """The sum of squared distances, over packings and components."""
        is_accepted = per_value(accepted, values)
        return jnp.sum(jnp.where(is_accepted, values - jnp.broadcast_to(self.target, values.shape), 0.0) ** 2)

    def floor(
        self, values: Float[Array, " batch *shape"], accepted: Bool[Array, " batch"], sampling: gw.AbstractSampler
    ) -> Float[Array, ""]:
        """The packings' own spread, `m Var(f)`: what is left when the ensemble's mean is on target."""
        is_accepted = per_value(accepted, values)
        n = jnp.sum(accepted)
        mean = jnp.sum(jnp.where(is_accepted, values, 0.0), axis=0) / n
        squares = jnp.sum(jnp.where(is_accepted, values - mean[None], 0.0) ** 2)
        return squares * n / jnp.where(n > 1, n - 1, jnp.nan)
