"""A mean curve on a target curve."""

from typing import Literal

import equinox as eqx
import glasswright as gw
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ._estimators import check_estimator, described, is_plain, squared_distance, variance_of_mean


class Curve(gw.AbstractObjective):
    """Mean squared distance of a mean curve from a target on its grid: `(1/M) sum_k w_k (<f_k> - f*_k)²`.

    For properties whose values are a function on a grid of `M` points: `pair_correlation`, `structure_factor`,
    `density_of_states`. The square is estimated at each point as `target` estimates that of a number.

    **Arguments:**

    - `target`: the values wanted, one for each point of the property's grid, in its units: a list, or a file with a
      number in each line. With two columns (grid, value) the grid is compared with the property's.
    - `weights`: `w_k`, a number for each point, not negative; left out, 1 for all. A zero leaves a point out.
    - `estimator`: `plain`, `unbiased`, or `auto`: plain where the packings are the population, unbiased where they are
      a sample (which then needs at least two).
    """

    target: Float[Array, "*shape"] = eqx.field(converter=lambda x: jnp.asarray(x, dtype=float))
    weights: Float[Array, "*points"] | None = eqx.field(
        converter=lambda x: None if x is None else jnp.asarray(x, dtype=float), default=None
    )
    estimator: Literal["auto", "plain", "unbiased"] = "auto"

    def __check_init__(self) -> None:
        if self.target.ndim == 0:
            raise ValueError(
                f"curve(target={float(self.target)}): must be a list, a number for each point of the grid."
            )
        if self.weights is not None and gw.is_concrete(self.weights):
            if not bool(jnp.all(jnp.isfinite(self.weights) & (self.weights >= 0.0))):
                raise ValueError(f"curve(weights={self.weights.tolist()}): must be finite and not negative.")
            if not bool(jnp.any(self.weights > 0.0)):
                raise ValueError("curve(weights=…): all are zero, nothing is asked for.")

    def check(self, sampling: gw.AbstractSampler) -> None:
        """The unbiased estimator needs two packings."""
        check_estimator("curve", self.estimator, sampling)

    def check_property(self, measured: gw.AbstractProperty, shape: tuple[int, ...]) -> None:
        """Target and weights have a number for each value, and the same grid if they come with one."""
        name = type(measured).__name__
        if not shape:
            raise ValueError(f"curve: {name} measures {described(shape)}, not a curve; take the objective target.")
        wanted = self._wanted(len(shape))
        if wanted.shape != shape:
            given = described(self.target.shape)
            raise ValueError(f"curve(target=…): has {given}, and {name} measures {described(shape)}.")
        if self.weights is not None and self.weights.shape not in ((), shape):
            given = described(self.weights.shape)
            raise ValueError(f"curve(weights=…): has {given}, and {name} measures {described(shape)}.")
        grid = getattr(measured, "grid", None)
        if grid is not None and wanted is not self.target:
            theirs, ours = np.asarray(self.target[:, 0]), np.asarray(grid)
            differs = ~np.isclose(theirs, ours, rtol=1e-6, atol=1e-9 * float(np.max(np.abs(ours))))
            if np.any(differs):
                k = int(np.argmax(differs))
                raise ValueError(
                    f"curve(target=…): its point {k} is at {theirs[k]:.6g}, and {name} has {ours[k]:.6g} there; "
                    "interpolate it onto the property's grid, or change that."
                )

    def loss(
        self, values: Float[Array, " batch *shape"], accepted: Bool[Array, " batch"], sampling: gw.AbstractSampler
    ) -> Float[Array, ""]:
        """The squared distance by the chosen estimator, averaged over the grid."""
        target, weights = self._on_grid(values)
        return squared_distance(values, accepted, target, is_plain(self.estimator, sampling), weights)

    def floor(
        self, values: Float[Array, " batch *shape"], accepted: Bool[Array, " batch"], sampling: gw.AbstractSampler
    ) -> Float[Array, ""]:
        """Variance of the mean, averaged over the grid under the weights."""
        target, weights = self._on_grid(values)
        return variance_of_mean(values, accepted, target, weights)

    def _wanted(self, dimension: int) -> Float[Array, "*shape"]:
        """The target's values, without a grid that they may come with."""
        with_grid = dimension == 1 and self.target.ndim == 2 and self.target.shape[1] == 2
        return self.target[:, 1] if with_grid else self.target

    def _on_grid(
        self, values: Float[Array, " batch *shape"]
    ) -> tuple[Float[Array, "*shape"], Float[Array, "*points"] | float]:
        """Target and weights for values with a leading axis of packings; the weights with the mean over the grid."""
        target = self._wanted(values.ndim - 1)
        return target, (1.0 if self.weights is None else self.weights) / target.size
