import glasswright as gw


class EnergyPerParticle(gw.AbstractProperty):
    """Potential energy per particle, `U / N`."""

    requires = gw.Equilibrium
    units = "energy"
    source = "definition"

    def measure(self, state):
        return state.energy / state.configuration.n_particles
