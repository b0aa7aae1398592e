"""Young's modulus."""

import glasswright as gw
from jaxtyping import Array, Float


class YoungModulus(gw.AbstractProperty):
    """Young's modulus averaged over orientations: stress over strain under uniaxial load, sides free.

    `E = 2 d² K G / (d (d - 1) K + 2 G)`: `4KG/(K + G)` in two dimensions, `9KG/(3K + G)` in three. Moduli are second
    derivatives in the linear strain, prestress included.
    """

    requires = gw.Equilibrium
    units = "energy / volume"
    symbol = "E"
    source = "Landau & Lifshitz, Theory of Elasticity, section 5 (three dimensions)"
    needs_rigidity = True

    def measure(self, state: gw.Equilibrium) -> Float[Array, ""]:
        d = state.configuration.dimension
        bulk, shear = gw.bulk_modulus(state.elastic_tensor), gw.shear_modulus(state.elastic_tensor)
        return 2.0 * d**2 * bulk * shear / (d * (d - 1) * bulk + 2.0 * shear)
