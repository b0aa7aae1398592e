"""Quasistatic compression and decompression."""

import equinox as eqx
import glasswright as gw
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PRNGKeyArray

from ._motion import run
from ._quasistatic import Path, back_and_forth, follow_path, path


class Compress(gw.AbstractTreatment):
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

    def __check_init__(self) -> None:
        if jnp.ndim(self.density) != 0:
            raise ValueError("compress(density=…): must be a number.")
        if gw.is_concrete(self.density) and not 0.5 <= float(self.density) <= 2.0:
            raise ValueError(f"compress(density={float(self.density)}): must be between 0.5 and 2.")
        if self.n_cycles < 1:
            raise ValueError(f"compress(n_cycles={self.n_cycles}): must be at least 1.")
        for name in ("strain_step", "force_tolerance"):
            if not 0.0 < getattr(self, name) < float("inf"):
                raise ValueError(f"compress({name}={getattr(self, name)}): must be positive and finite.")

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
        d = configuration.dimension
        length = self.density ** (-1.0 / d) - 1.0
        cycle = back_and_forth(length, self.strain_step, both_ways=False)
        strains = jnp.tile(cycle, self.n_cycles)[:, None, None] * jnp.eye(d)[None]
        return path(potential, configuration, strains, self.force_tolerance)
