"""The elastic tensor."""

import glasswright as gw
from jaxtyping import Array, Float


class ElasticTensor(gw.AbstractProperty):
    """Elastic tensor `C_ijkl` of shape `(d, d, d, d)`, symmetric in `ij`, in `kl`, and under their exchange.

    `C(e) = (1/V)(d²U/de² - Xi H^-1 Xi)`: second derivatives in the linear strain, prestress included, all particles
    relaxed.
    """

    requires = gw.Equilibrium
    units = "energy / volume"
    symbol = "C_{ijkl}"
    source = "Lemaître & Maloney, J. Stat. Phys. 123, 415 (2006); Zu & Goodrich (2024), Methods"

    def measure(self, state: gw.Equilibrium) -> Float[Array, "d d d d"]:
        return state.elastic_tensor
