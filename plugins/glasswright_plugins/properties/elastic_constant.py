"""A component of the elastic tensor."""

import glasswright as gw
from jaxtyping import Array, Float


class ElasticConstant(gw.AbstractProperty):
    """One component of the elastic tensor `C_ijkl`, in the axes of the box.

    **Arguments:**

    - `component`: four of the letters x, y, z, such as `xyxy`.
    """

    component: str = "xxxx"

    requires = gw.Equilibrium
    units = "energy / volume"
    source = "docs/physics.md; Zu & Goodrich, Commun. Mater. 5 (2024), Methods"
    is_isotropic = False

    def __check_init__(self) -> None:
        if len(self.component) != 4 or set(self.component) - set("xyz"):
            raise ValueError(f"elastic_constant(component={self.component}): must be four letters of x, y, z.")

    def measure(self, state: gw.Equilibrium) -> Float[Array, ""]:
        axes = tuple("xyz".index(letter) for letter in self.component)
        if max(axes) >= state.configuration.dimension:
            raise ValueError(f"elastic_constant(component={self.component}): there is no z in two dimensions.")
        return state.elastic_tensor[axes]
