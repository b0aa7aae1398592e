"""The pressure."""

import glasswright as gw
import jax.numpy as jnp
from jaxtyping import Array, Float


class Pressure(gw.AbstractProperty):
    """Pressure `p = -(1/(d V)) dU/de` under `r -> (1 + e) r`: positive when the packing is compressed."""

    requires = gw.Equilibrium
    units = "energy / volume"
    symbol = "p"
    source = "Zu & Goodrich, Commun. Mater. 5 (2024), doi 10.1038/s43246-024-00583-4, Methods"

    def measure(self, state: gw.Equilibrium) -> Float[Array, ""]:
        return -jnp.trace(state.stress) / state.configuration.dimension
