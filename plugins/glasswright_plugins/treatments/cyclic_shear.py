"""Athermal quasistatic shear, back and forth."""

import equinox as eqx
import glasswright as gw
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PRNGKeyArray

from ._motion import run
from ._quasistatic import Path, back_and_forth, follow_path, path


class CyclicShear(gw.AbstractTreatment):
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

    def __check_init__(self) -> None:
        if jnp.ndim(self.amplitude) != 0:
            raise ValueError("cyclic_shear(amplitude=…): must be a number.")
        if gw.is_concrete(self.amplitude) and not 0.0 < float(self.amplitude) < 0.5:
            raise ValueError(f"cyclic_shear(amplitude={float(self.amplitude)}): must be between 0 and 0.5.")
        if self.n_cycles < 1:
            raise ValueError(f"cyclic_shear(n_cycles={self.n_cycles}): must be at least 1.")
        for name in ("strain_step", "force_tolerance"):
            if not 0.0 < getattr(self, name) < float("inf"):
                raise ValueError(f"cyclic_shear({name}={getattr(self, name)}): must be positive and finite.")

    def apply(
        self, potential: gw.AbstractPotential, configuration: gw.Configuration, *, key: PRNGKeyArray
    ) -> gw.Treated:
        """One configuration. Nothing is random."""
        return run(follow_path, potential, configuration, self._path(potential, configuration), key, many=False)

    def apply_many(
        self, potential: gw.AbstractPotential, configurations: gw.Configuration, *, keys: Key[Array, " b"]
    ) -> gw.Treated:
        """Many configurations, side by side."""
        first = jax.tree.map(lambda x: x[0], configurations)
        return run(follow_path, potential, configurations, self._path(potential, first), keys, many=True)

    def _path(self, potential: gw.AbstractPotential, configuration: gw.Configuration) -> Path:
        cycle = back_and_forth(self.amplitude, self.strain_step, both_ways=True)
        d = configuration.dimension
        shear = jnp.zeros((d, d)).at[0, 1].set(1.0)
        strains = jnp.tile(cycle, self.n_cycles)[:, None, None] * shear[None]
        return path(potential, configuration, strains, self.force_tolerance)
