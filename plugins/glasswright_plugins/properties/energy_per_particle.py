"""The potential energy per particle."""

import glasswright as gw
from jaxtyping import Array, Float


class EnergyPerParticle(gw.AbstractProperty):
    """Potential energy per particle, `U / N`."""

    requires = gw.Equilibrium
    units = "energy"
    symbol = "E/N"
    source = "definition"

    def measure(self, state: gw.Equilibrium) -> Float[Array, ""]:
        return state.energy / state.configuration.n_particles
