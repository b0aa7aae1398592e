import glasswright as gw
import jax.numpy as jnp


class Minimize(gw.AbstractObjective):
    """As small as possible: the loss is the mean value itself, divided by a scale.

    There is no best value: give the design bounds that hold it, or another term that pulls the other way.

    **Arguments:**

    - `scale`: what counts as one, in the property's units.
    """

    scale: float = 1.0

    least_is_zero = False

    def __check_init__(self) -> None:
        if not 0.0 < self.scale < float("inf"):
            raise ValueError(f"minimize(scale={self.scale}): must be positive and finite.")

    def loss(self, values, accepted, sampling):
        """The mean over packings, summed over components."""
        rows = accepted.reshape((-1,) + (1,) * (values.ndim - 1))
        return jnp.sum(jnp.where(rows, values, 0.0)) / jnp.sum(accepted) / self.scale
