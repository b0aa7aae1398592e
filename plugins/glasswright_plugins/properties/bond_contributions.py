"""The number of bonds that carry a modulus."""

from typing import Literal

import glasswright as gw
import jax.numpy as jnp
from jaxtyping import Array, Float


class BondContributions(gw.AbstractProperty):
    """On how many bonds per particle a modulus rests: `(sum_ij K_ij²)² / (N sum_ij K_ij⁴)`.

    `K_ij` is what the bond between `i` and `j` contributes to the bulk modulus, `K_ij = (1/V) [V'' (n.D)² + (V'/r)
    |D_perp|²]` with `D = e r_ij + u_i - u_j`, so that `sum_ij K_ij = K`; or `G_ij` in its place. The value is a
    participation ratio: half the mean number of neighbours if all bonds carry alike, and `1/N` if a single one carries
    everything. It does not depend on units, nor on how many pairs contribute nothing. Minimise it for a localised load,
    maximise it for an even one. Contributions can be negative; by their squares these count as positive ones do. The
    contributions themselves are `state.bond_contributions`. For potentials that are sums over pairs.

    **Arguments:**

    - `modulus`: `bulk` (of `K_ij`) or `shear` (of `G_ij`).
    """

    modulus: Literal["bulk", "shear"] = "bulk"

    requires = gw.Equilibrium
    units = "dimensionless"
    source = "Zu & Goodrich, Commun. Mater. 5 (2024), Fig. 1f; Bell & Dean, Discuss. Faraday Soc. 50, 55 (1970)"

    def __check_init__(self) -> None:
        if self.modulus not in ("bulk", "shear"):
            raise ValueError(f"bond_contributions(modulus={self.modulus!r}): must be bulk or shear.")

    def measure(self, state: gw.Equilibrium) -> Float[Array, ""]:
        share = getattr(state.bond_contributions, self.modulus)
        return jnp.sum(share**2) ** 2 / (state.configuration.n_particles * jnp.sum(share**4))
