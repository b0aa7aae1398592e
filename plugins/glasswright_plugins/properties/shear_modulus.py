"""The shear modulus."""

import glasswright as gw
from jaxtyping import Array, Float


class ShearModulus(gw.AbstractProperty):
    """Shear modulus averaged over orientations, a second derivative in the linear strain, prestress included.

    `G = (d sum_ij C_ijij - sum_ij C_iijj) / (d (d - 1)(d + 2))`; in two dimensions under a pressure `p` the isochoric
    one is `G - p/2`.
    """

    requires = gw.Equilibrium
    units = "energy / volume"
    symbol = "G"
    source = "Zu & Goodrich, Commun. Mater. 5 (2024), doi 10.1038/s43246-024-00583-4, Methods"

    def measure(self, state: gw.Equilibrium) -> Float[Array, ""]:
        return gw.shear_modulus(state.elastic_tensor)
