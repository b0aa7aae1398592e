"""The design problem: which parameters of which model may change, and what is wanted of the packings.

A `Model` says how packings come about. A `Design` names the arrays of the model that are design variables. A `Problem`
is both together with the terms of the loss. Functions that measure a packing, or differentiate what is measured, take
a problem, the present values of its design variables, and the packing.
"""

from collections.abc import Iterable

import equinox as eqx
from jaxtyping import Array

from ..components.objective import Term
from .design import Design, DesignValues
from .model import GivenPacking as GivenPacking
from .model import Model as Model


class Problem(eqx.Module):
    """A model, its design variables, and what is wanted of its packings.

    **Attributes:**

    - `model`: potential, system and protocol, at the initial design.
    - `design`: which arrays of the model are design variables, and their bounds.
    - `terms`: by name, a property and what is wanted of it.
    """

    model: Model
    design: Design
    terms: dict[str, Term] = eqx.field(converter=dict)

    @property
    def initial_values(self) -> dict[str, Array]:
        """The design variables of the model by name."""
        return self.design.values(self.model)

    def only(self, names: Iterable[str]) -> "Problem":
        """The problem with only these of its terms."""
        return Problem(self.model, self.design, {name: self.terms[name] for name in names})

    def at(self, values: DesignValues) -> Model:
        """The model with these values of its design variables."""
        return self.design.insert(self.model, values)
