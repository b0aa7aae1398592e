"""Stress-strain curve of a deformation."""

import glasswright as gw
from jaxtyping import Array, Float


class StressStrain(gw.AbstractProperty):
    """Shear stress against strain: the mean over each strain step, or the stress at each strain.

    Means are integrals, and have a derivative. The stress at one strain has none that could be trained: it jumps where
    an event crosses this strain, and its derivative diverges before. So a loss of the curve with `pointwise=true` is
    refused, unless `train_pointwise=true` asks for it.

    **Arguments:**

    - `pointwise`: false for the means of all strain steps (`m` numbers), true for the stresses at all strains from zero
      on (`m + 1` numbers).
    - `train_pointwise`: whether stresses at single strains may be trained all the same.
    """

    pointwise: bool = False
    train_pointwise: bool = False

    requires = gw.Deformation
    units = "energy / volume"
    symbol = r"\sigma(\gamma)"
    source = "Maloney & Lemaître, Phys. Rev. E 74, 016118 (2006)"
    is_isotropic = False

    def check_trained(self) -> None:
        """Stresses at single strains are refused unless asked for."""
        if self.pointwise and not self.train_pointwise:
            raise ValueError(
                "stress_strain(pointwise=true): the stress at one strain jumps where an event crosses it, and is not "
                "to be trained; take pointwise=false (means of strain steps), toughness or flow_stress, or set "
                "train_pointwise=true all the same."
            )

    def measure(self, state: gw.Deformation) -> Float[Array, " points"]:
        return state.stress if self.pointwise else state.mean_stress
