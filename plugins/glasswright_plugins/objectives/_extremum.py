"""What `maximize` and `minimize` share: the mean value as loss, with a sign."""

import equinox as eqx
import glasswright as gw
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ._estimators import per_value


class AbstractExtremum(gw.AbstractObjective):
    """An objective without a best value: the loss is the mean value times a sign, divided by a scale.

    **Attributes:**

    - `scale`: what counts as one, in the property's units.
    - `sign`: 1 for a value as small as possible, -1 for one as large as possible.
    """

    scale: eqx.AbstractVar[float]
    sign: eqx.AbstractClassVar[float]

    least_is_zero = False

    def __check_init__(self) -> None:
        if not 0.0 < self.scale < float("inf"):
            raise ValueError(f"{type(self).__name__.lower()}(scale={self.scale}): must be positive and finite.")

    def loss(
        self, values: Float[Array, " batch *shape"], accepted: Bool[Array, " batch"], sampling: gw.AbstractSampler
    ) -> Float[Array, ""]:
        """`sign <f> / scale`, summed over components."""
        total = jnp.sum(jnp.where(per_value(accepted, values), values, 0.0))
        return self.sign * total / jnp.sum(accepted) / self.scale
