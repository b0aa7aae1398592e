"""What properties share that are made of other properties."""

import glasswright as gw


def needed_state(*parts: gw.AbstractProperty) -> type[gw.State]:
    """The kind of state that all parts can be measured on: the most derived class."""
    return max((part.requires for part in parts), key=lambda state: len(state.__mro__))
