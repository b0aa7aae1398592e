"""The ratio of two properties."""

import glasswright as gw
from jaxtyping import Array, Float

from ._parts import needed_state, needs_rigidity
from .bulk_modulus import BulkModulus
from .elastic_constant import ElasticConstant
from .elastic_tensor import ElasticTensor
from .shear_modulus import ShearModulus

# All of them are zero in a packing that is not rigid.
MODULI = (BulkModulus, ShearModulus, ElasticConstant, ElasticTensor)


class Ratio(gw.AbstractProperty):
    """Ratio `a / b` of two properties of the same packing.

    Its mean over packings is the mean of the ratios. For the ratio of the means take the property `pair` with the
    objective `ratio`. The default, the shear modulus over the bulk modulus, is Pugh's measure of brittleness.

    **Arguments:**

    - `numerator`, `denominator`: the two; chosen with `quantity@terms.NAME.property.numerator=…`. Of arrays the ratio
      is taken component by component; a denominator of zero makes the packing count as `nonfinite`,
      and as `not_rigid` where a modulus is zero because the packing is no solid.
    """

    numerator: gw.AbstractProperty = ShearModulus()
    denominator: gw.AbstractProperty = BulkModulus()

    units = "units of the numerator / units of the denominator"
    source = "S. F. Pugh, Philos. Mag. 45, 823 (1954)"

    # A class attribute of other properties; here it depends on the two.
    @property
    def requires(self) -> type[gw.State]:  # type: ignore[override]
        """The state that both of them can be measured on."""
        return needed_state(self.numerator, self.denominator)

    @property
    def needs_rigidity(self) -> bool:  # type: ignore[override]
        """Whether either is a property of solids only, as the moduli are where they are compared."""
        return needs_rigidity(self.numerator, self.denominator) or any(
            isinstance(part, MODULI) for part in (self.numerator, self.denominator)
        )

    def measure(self, state: gw.State) -> Float[Array, "*shape"]:
        return self.numerator.measure(state) / self.denominator.measure(state)
