"""The bulk modulus."""

import glasswright as gw
from jaxtyping import Array, Float


class BulkModulus(gw.AbstractProperty):
    """Bulk modulus `K = sum_ij C_iijj / d²`, a second derivative in the linear strain, prestress included.

    Under a pressure `p` in two dimensions the thermodynamic one, `-V dp/dV`, is `K + p/2`.
    """

    requires = gw.Equilibrium
    units = "energy / volume"
    symbol = "K"
    source = "Zu & Goodrich, Commun. Mater. 5 (2024), doi 10.1038/s43246-024-00583-4, Methods"

    def measure(self, state: gw.Equilibrium) -> Float[Array, ""]:
        return gw.bulk_modulus(state.elastic_tensor)
