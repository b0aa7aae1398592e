"""A mean value within an interval."""

import glasswright as gw
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ._estimators import per_value


class Band(gw.AbstractObjective):
    """Squared distance of the mean value from an interval; zero anywhere inside it.

    **Arguments:**

    - `lower`, `upper`: ends of the interval, in the property's units; leave one out for a one-sided wish.
    """

    lower: float = -float("inf")
    upper: float = float("inf")

    def __check_init__(self) -> None:
        if not self.lower <= self.upper or self.lower == self.upper == float("inf"):
            raise ValueError(f"band(lower={self.lower}, upper={self.upper}): lower must not exceed upper.")
        if self.lower == -float("inf") and self.upper == float("inf"):
            raise ValueError("band(): give lower, upper or both; without either any value is as good as another.")

    def loss(
        self, values: Float[Array, " batch *shape"], accepted: Bool[Array, " batch"], sampling: gw.AbstractSampler
    ) -> Float[Array, ""]:
        is_accepted = per_value(accepted, values)
        mean = jnp.sum(jnp.where(is_accepted, values, 0.0), axis=0) / jnp.sum(accepted)
        return jnp.sum((mean - jnp.clip(mean, self.lower, self.upper)) ** 2)
