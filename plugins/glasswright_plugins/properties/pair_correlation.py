"""The pair correlation function."""

import glasswright as gw
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ._pairs import every_distance


class PairCorrelation(gw.AbstractProperty):
    """Pair correlation function `g(r)` on a grid, each pair smeared by a Gaussian so that it is differentiable.

    `g(r) = 2 / (N rho S_d r^(d-1)) sum over pairs of exp(-(r - r_ij)²/2w²) / (w sqrt(2 pi))`, with `S_d` the surface of
    the unit sphere. Values are at `n_bins` distances, the middles of equal bins between zero and `maximum`.

    **Arguments:**

    - `maximum`: largest distance, in units of length; at most half the box.
    - `n_bins`: how many distances.
    - `width`: standard deviation `w` of the Gaussian, in units of length; left out, one bin.
    """

    maximum: float = 2.5
    n_bins: int = 50
    width: float | None = None

    requires = gw.State
    units = "dimensionless"
    source = "Hansen & McDonald, Theory of Simple Liquids, Eq. 2.5.8"

    def __check_init__(self) -> None:
        if not 0.0 < self.maximum < float("inf"):
            raise ValueError(f"pair_correlation(maximum={self.maximum}): must be positive and finite.")
        if self.n_bins < 1:
            raise ValueError(f"pair_correlation(n_bins={self.n_bins}): must be at least 1.")
        if self.width is not None and not 0.0 < self.width < float("inf"):
            raise ValueError(f"pair_correlation(width={self.width}): must be positive and finite.")

    @property
    def grid(self) -> np.ndarray:
        """The distances of the values."""
        return (np.arange(self.n_bins) + 0.5) * self.maximum / self.n_bins

    def measure(self, state: gw.State) -> Float[Array, " bins"]:
        configuration = state.configuration
        n, d = configuration.fractional.shape
        r = every_distance(configuration)
        grid = jnp.asarray(self.grid)
        width = self.maximum / self.n_bins if self.width is None else self.width
        density = n / configuration.volume
        surface = 2.0 * np.pi if d == 2 else 4.0 * np.pi

        def count(distance: Float[Array, ""]) -> Float[Array, ""]:
            total: Array = jnp.sum(jnp.exp(-0.5 * ((distance - r) / width) ** 2))
            weight: Array = total / (width * np.sqrt(2.0 * np.pi))
            return weight

        # One distance after the other: all at once would take `n_bins` times the memory of the pairs.
        counts: Array = jax.lax.map(jax.checkpoint(count), grid)
        values: Array = 2.0 * counts / (n * density * surface * grid ** (d - 1))
        return values
