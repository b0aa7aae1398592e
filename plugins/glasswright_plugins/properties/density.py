"""The number density."""

import glasswright as gw
from jaxtyping import Array, Float


class Density(gw.AbstractProperty):
    """Number density `N / V`. Under a constant pressure it follows from the interactions; else it is the system's."""

    units = "1 / volume"
    source = "Allen & Tildesley, Computer Simulation of Liquids, 2nd ed. (2017), section 2.2"

    def measure(self, state: gw.State) -> Float[Array, ""]:
        return state.configuration.n_particles / state.configuration.volume
