"""Athermal quasistatic shear, back and forth."""

import equinox as eqx
import glasswright as gw
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._quasistatic import AbstractQuasistatic, back_and_forth


class CyclicShear(AbstractQuasistatic):
    """Cycles of athermal quasistatic simple shear, from 0 to `amplitude`, to `-amplitude`, and back to 0.

    After each small strain `x -> x + dgamma y` the particles are relaxed by FIRE to the nearest minimum. Small
    amplitudes age a glass, amplitudes above the yield strain make it young again.

    Source: Fiocco, Foffi & Sastry, Phys. Rev. E 88, 020301(R) (2013).

    **Arguments:**

    - `amplitude`: largest shear strain of a cycle.
    - `n_cycles`: number of cycles.
    - `strain_step`: largest strain between two relaxations.
    - `force_tolerance`: largest force component of a minimum on the way, in the potential's own units of force.
    """

    amplitude: Float[Array, ""] = eqx.field(converter=lambda x: jnp.asarray(x, dtype=float), default=0.05)
    n_cycles: int = 1
    strain_step: float = 0.01
    force_tolerance: float = 1e-6

    name = "cyclic_shear"

    def __check_init__(self) -> None:
        if jnp.ndim(self.amplitude) != 0:
            raise ValueError("cyclic_shear(amplitude=…): must be a number.")
        if gw.is_concrete(self.amplitude) and not 0.0 < float(self.amplitude) < 0.5:
            raise ValueError(f"cyclic_shear(amplitude={float(self.amplitude)}): must be between 0 and 0.5.")

    def cycle(self, dimension: int) -> Float[Array, "m d d"]:
        """There and back, then the other way."""
        shear = jnp.zeros((dimension, dimension)).at[0, 1].set(1.0)
        return back_and_forth(self.amplitude, self.strain_step, both_ways=True)[:, None, None] * shear[None]
