"""Properties that are made of others."""

import glasswright as gw


def needed_state(*parts: gw.AbstractProperty) -> type[gw.State]:
    """The kind of state that all of them can read: the most special one."""
    return max((part.requires for part in parts), key=lambda state: len(state.__mro__))
