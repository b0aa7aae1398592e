"""The density of vibrational states."""

import glasswright as gw
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


class DensityOfStates(gw.AbstractProperty):
    """Density of vibrational states on a grid, each mode smeared by a Gaussian so that it is differentiable.

    `D(w) = (1/M) sum_m exp(-(w - w_m)²/2s²) / (s sqrt(2 pi))` over the `M` modes of the Hessian that are no zero
    modes: translations, rattlers and clusters that float free are left out. `w_m²` are the eigenvalues; particles
    have mass one. Its integral is 1, but for what the Gaussians of the lowest modes lose below zero. Values are at
    `n_points` frequencies, the middles of equal intervals between zero and `maximum`. Costs an eigendecomposition.

    **Arguments:**

    - `maximum`: largest frequency, in units of energy^(1/2) / length; no mode vibrates faster than the square root of
      the Hessian's largest eigenvalue, which is 5.4 for the paper's packings.
    - `n_points`: how many frequencies.
    - `width`: standard deviation `s` of the Gaussian, in the same units; left out, one interval.
    """

    maximum: float = 6.0
    n_points: int = 50
    width: float | None = None

    requires = gw.Equilibrium
    units = "length / energy^(1/2)"
    symbol = r"D(\omega)"
    source = "Silbert, Liu & Nagel, Phys. Rev. Lett. 95, 098301 (2005)"

    def __check_init__(self) -> None:
        if not 0.0 < self.maximum < float("inf"):
            raise ValueError(f"density_of_states(maximum={self.maximum}): must be positive and finite.")
        if self.n_points < 1:
            raise ValueError(f"density_of_states(n_points={self.n_points}): must be at least 1.")
        if self.width is not None and not 0.0 < self.width < float("inf"):
            raise ValueError(f"density_of_states(width={self.width}): must be positive and finite.")

    @property
    def grid(self) -> np.ndarray:
        """The frequencies of the values."""
        return (np.arange(self.n_points) + 0.5) * self.maximum / self.n_points

    def measure(self, state: gw.Equilibrium) -> Float[Array, " points"]:
        modes = state.vibrations
        width = self.maximum / self.n_points if self.width is None else self.width
        distance = (jnp.asarray(self.grid)[:, None] - modes.frequency[None, :]) / width
        counted = jnp.where(modes.is_vibration, jnp.exp(-0.5 * distance**2), 0.0)
        density: Array = jnp.sum(counted, axis=1) / (width * np.sqrt(2.0 * np.pi) * modes.n_vibrations)
        return density
