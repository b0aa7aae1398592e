"""The pair correlation function."""

import glasswright as gw
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ._pairs import distances_of_images, every_distance

# Gaussians are cut at this many standard deviations where that saves the images of all pairs.
FAR = 8.0


class PairCorrelation(gw.AbstractProperty):
    """Pair correlation function `g(r)` on a grid, each pair smeared by a Gaussian so that it is differentiable.

    `g(r) = 2 / (N rho S_d r^(d-1)) sum over pairs of exp(-(r - r_ij)²/2w²) / (w sqrt(2 pi))`, with `S_d` the surface of
    the unit sphere. Values are at `n_bins` distances, the middles of equal bins between zero and `maximum`.

    **Arguments:**

    - `maximum`: largest distance, in units of length. Beyond half the width of the box, further images of each pair
      count as well, which takes longer; beyond one and a half times the width, values are not a number.
    - `n_bins`: how many distances.
    - `width`: standard deviation `w` of the Gaussian, in units of length; left out, one bin.
    """

    maximum: float = 2.5
    n_bins: int = 50
    width: float | None = None

    requires = gw.State
    units = "dimensionless"
    symbol = "g(r)"
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
        grid = jnp.asarray(self.grid)
        width = self.maximum / self.n_bins if self.width is None else self.width
        density = n / configuration.volume
        surface = 2.0 * np.pi if d == 2 else 4.0 * np.pi

        def counts_of(r: Float[Array, " m"]) -> Float[Array, " bins"]:
            def count(distance: Float[Array, ""]) -> Float[Array, ""]:
                total: Array = jnp.sum(jnp.exp(-0.5 * ((distance - r) / width) ** 2))
                weight: Array = total / (width * np.sqrt(2.0 * np.pi))
                return weight

            # One distance after the other: all at once would take `n_bins` times the memory of the pairs.
            counts: Array = jax.lax.map(jax.checkpoint(count), grid)
            return counts

        counts = counts_of(every_distance(configuration))
        box_width = jax.lax.stop_gradient(1.0 / jnp.max(jnp.linalg.norm(jnp.linalg.inv(configuration.box), axis=1)))
        # Every other image is at least half a width away.
        counts = counts + jax.lax.cond(
            self.maximum + FAR * width > 0.5 * box_width,
            lambda c: counts_of(distances_of_images(c)),
            lambda c: jnp.zeros_like(grid),
            configuration,
        )
        values: Array = 2.0 * counts / (n * density * surface * grid ** (d - 1))
        return jnp.where(grid <= 1.5 * box_width, values, jnp.nan)
