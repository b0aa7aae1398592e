"""What pictures say of the properties of an experiment."""

from collections.abc import Mapping

from ..components.objective import Term
from .style import Quantity


def quantities_of(terms: Mapping[str, Term]) -> dict[str, Quantity]:
    """The symbol, the units and the target of each term."""
    return {
        name: quantity(name, type(term.property).symbol, type(term.property).units, term.target)
        for name, term in terms.items()
    }


def quantity(name: str, symbol: str, units: str, target: float | None) -> Quantity:
    """A quantity; units that are described by those of others (`units of the first`) are left out."""
    return Quantity(name, symbol, "" if "units of" in units else units, target)
