"""What properties share that are made of other properties."""

import glasswright as gw


def needed_state(*parts: gw.AbstractProperty) -> type[gw.State]:
    """The kind of state that all parts can be measured on: the most derived class."""
    return max((part.requires for part in parts), key=lambda state: len(state.__mro__))


def needs_rigidity(*parts: gw.AbstractProperty) -> bool:
    """Whether any of the parts is a property of solids only."""
    return any(part.needs_rigidity for part in parts)
