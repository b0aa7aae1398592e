"""Quasistatic compression and decompression."""

import equinox as eqx
import glasswright as gw
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._quasistatic import AbstractQuasistatic, back_and_forth


class Compress(AbstractQuasistatic):
    """Cycles of quasistatic compression to a higher density (or expansion to a lower one) and back.

    After each small change of the lengths of the box, the particles are relaxed by FIRE to the nearest minimum. Spheres
    that have been compressed once jam at a higher density.

    Source: Kumar & Luding, Granular Matter 18, 58 (2016).

    **Arguments:**

    - `density`: largest density of a cycle, in units of the density at the start; below 1 to expand.
    - `n_cycles`: number of cycles.
    - `strain_step`: largest relative change of the lengths of the box between two relaxations.
    - `force_tolerance`: largest force component of a minimum on the way, in the potential's own units of force.
    """

    density: Float[Array, ""] = eqx.field(converter=lambda x: jnp.asarray(x, dtype=float), default=1.1)
    n_cycles: int = 1
    strain_step: float = 0.01
    force_tolerance: float = 1e-6

    name = "compress"

    def __check_init__(self) -> None:
        if jnp.ndim(self.density) != 0:
            raise ValueError("compress(density=…): must be a number.")
        if gw.is_concrete(self.density) and not 0.5 <= float(self.density) <= 2.0:
            raise ValueError(f"compress(density={float(self.density)}): must be between 0.5 and 2.")

    def cycle(self, dimension: int) -> Float[Array, "m d d"]:
        """There and back."""
        length = self.density ** (-1.0 / dimension) - 1.0
        return back_and_forth(length, self.strain_step, both_ways=False)[:, None, None] * jnp.eye(dimension)[None]
