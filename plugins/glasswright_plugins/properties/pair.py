"""Two properties as one."""

import glasswright as gw
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._parts import needed_state, needs_rigidity
from .bulk_modulus import BulkModulus
from .shear_modulus import ShearModulus


class Pair(gw.AbstractProperty):
    """Two scalar properties `(a, b)` of the same packing as one, for objectives that need both: `ratio`.

    **Arguments:**

    - `first`, `second`: the two; chosen with `quantity@terms.NAME.property.first=…`.
    """

    first: gw.AbstractProperty = ShearModulus()
    second: gw.AbstractProperty = BulkModulus()

    units = "units of the first, units of the second"
    source = "docs/composing.md: what the objective `ratio` compares"

    # A class attribute of other properties; here it depends on the two.
    @property
    def requires(self) -> type[gw.State]:  # type: ignore[override]
        """The state that both of them can be measured on."""
        return needed_state(self.first, self.second)

    @property
    def needs_rigidity(self) -> bool:  # type: ignore[override]
        """Whether either is a property of solids only."""
        return needs_rigidity(self.first, self.second)

    def measure(self, state: gw.State) -> Float[Array, "2"]:
        values = [jnp.asarray(part.measure(state)) for part in (self.first, self.second)]
        for part, value in zip((self.first, self.second), values, strict=True):
            if value.ndim:
                raise ValueError(f"pair: {type(part).__name__} measures an array of shape {value.shape}, not a number.")
        return jnp.stack(values)
