from typing import Any

import jax


def is_concrete(value: Any) -> bool:
    """Whether a value can be inspected: constructors check ranges only then, and not inside a traced function."""
    return not isinstance(value, jax.core.Tracer)
