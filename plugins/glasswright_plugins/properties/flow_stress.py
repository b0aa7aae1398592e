"""Mean stress in a window of strains."""

import glasswright as gw
import jax.numpy as jnp
from jaxtyping import Array, Float


class FlowStress(gw.AbstractProperty):
    """Mean shear stress between two strains, `int sigma dgamma / (stop - start)`: the stress of plastic flow.

    The mean of each strain step is exact (`Deformation.mean_stress`). A step that the window contains in part counts
    by that part.

    **Arguments:**

    - `start`: where the window begins; null for half of the largest strain.
    - `stop`: where it ends; null for the largest strain.
    """

    start: float | None = None
    stop: float | None = None

    requires = gw.Deformation
    units = "energy / volume"
    symbol = r"\sigma_{\mathrm{flow}}"
    source = "Maloney & Lemaître, Phys. Rev. E 74, 016118 (2006)"
    is_isotropic = False

    def __check_init__(self) -> None:
        for name in ("start", "stop"):
            value = getattr(self, name)
            if value is not None and not 0.0 <= value < float("inf"):
                raise ValueError(f"flow_stress({name}={value}): must be a strain that is not negative, or null.")
        if self.start is not None and self.stop is not None and self.start >= self.stop:
            raise ValueError(f"flow_stress(start={self.start}, stop={self.stop}): the window must not be empty.")

    def measure(self, state: gw.Deformation) -> Float[Array, ""]:
        strain = state.strain
        start = 0.5 * strain[-1] if self.start is None else self.start
        stop = strain[-1] if self.stop is None else self.stop
        inside = jnp.clip(strain, start, stop)
        weight = jnp.diff(inside)
        # A window beyond the largest strain has no stress: 0 / 0 is not a number.
        return jnp.sum(weight * state.mean_stress) / jnp.sum(weight)
