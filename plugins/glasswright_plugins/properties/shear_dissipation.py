"""Energy dissipated by the events of a deformation."""

import glasswright as gw
from jaxtyping import Array, Float


class ShearDissipation(gw.AbstractProperty):
    """Energy that the events of a deformation dissipate, per volume: the sum of their energy drops.

    Packings without an event have zero, and no derivative.
    """

    requires = gw.Deformation
    units = "energy / volume"
    source = "Maloney & Lemaître, Phys. Rev. E 74, 016118 (2006)"
    is_isotropic = False

    def measure(self, state: gw.Deformation) -> Float[Array, ""]:
        return state.dissipation
