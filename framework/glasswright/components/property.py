import abc
from typing import Any, ClassVar

import equinox as eqx
from jaxtyping import Array, Float

from ..physics.state import State


class AbstractProperty(eqx.Module):
    """Something that can be measured on a prepared state, and therefore be asked for.

    A subclass needs `measure` alone. The class attributes are optional: `requires` names the kind of state it reads
    (`Equilibrium` for anything that needs the Hessian), `units` and `source` document it; `is_isotropic` says that a
    scalar (or a list of scalars) is the same for a packing that is turned.
    """

    requires: ClassVar[type[State]] = State
    units: ClassVar[str] = ""
    source: ClassVar[str] = ""
    is_isotropic: ClassVar[bool] = True

    @abc.abstractmethod
    def measure(self, state: Any) -> Float[Array, "*shape"]:
        """The value, as a differentiable function of everything in `state` that carries a derivative."""
