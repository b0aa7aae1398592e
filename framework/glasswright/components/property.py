"""Properties: what can be measured on a prepared packing."""

import abc
from typing import Any, ClassVar

import equinox as eqx
from jaxtyping import Array, Float

from ..physics.state import State


class AbstractProperty(eqx.Module):
    """A function of a prepared state that can be measured, and trained.

    A subclass needs `measure` alone. The class attributes are optional: `requires` names the kind of state it reads
    (`Equilibrium` for anything that needs the Hessian), `units` and `source` document it, `symbol` stands at axes (a
    formula of matplotlib, without dollar signs); `is_isotropic` says that a
    scalar (or a list of scalars) does not change when the packing is turned; `needs_rigidity` says that only solids
    have the property, as is true of every ratio of moduli. A packing that is not rigid (`Equilibrium.is_rigid`) has no
    value then, and is counted as `not_rigid`.
    """

    requires: ClassVar[type[State]] = State
    units: ClassVar[str] = ""
    symbol: ClassVar[str] = ""
    source: ClassVar[str] = ""
    is_isotropic: ClassVar[bool] = True
    needs_rigidity: ClassVar[bool] = False

    def physical_bounds(self, dimension: int) -> tuple[float, float] | None:
        """The interval that holds the value of every stable solid; None, the default, where there is no such interval.

        A training whose value has left it, and stays outside, is stopped.
        """
        return None

    def check_trained(self) -> None:
        """Raise a `ValueError` before the run if the property is not to be trained; by default every one can be."""

    @abc.abstractmethod
    # `Any`: a subclass takes the kind of state that `requires` names.
    def measure(self, state: Any) -> Float[Array, "*shape"]:
        """The value, as a differentiable function of everything in `state` that carries a derivative."""
