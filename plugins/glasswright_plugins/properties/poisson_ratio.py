"""Poisson's ratio."""

import glasswright as gw
from jaxtyping import Array, Float


class PoissonRatio(gw.AbstractProperty):
    """Poisson's ratio of the packing, averaged over orientations: minus the transverse over the axial strain.

    `nu = (d K - 2 G) / (d (d - 1) K + 2 G)`: `(K - G)/(K + G)` in two dimensions, `(3K - 2G)/(2(3K + G))` in three.
    Moduli are second derivatives in the linear strain, prestress included.
    """

    requires = gw.Equilibrium
    units = "dimensionless"
    symbol = r"\nu"
    source = "Zu & Goodrich, Commun. Mater. 5 (2024), doi 10.1038/s43246-024-00583-4, Eq. 2"
    needs_rigidity = True

    def physical_bounds(self, dimension: int) -> tuple[float, float]:
        """-1 (no bulk modulus) to 1 in two dimensions, 1/2 in three (no shear modulus)."""
        return -1.0, 1.0 if dimension == 2 else 0.5

    def measure(self, state: gw.Equilibrium) -> Float[Array, ""]:
        return gw.poisson_ratio(state.elastic_tensor)
