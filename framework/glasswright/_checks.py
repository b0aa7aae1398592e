from typing import Any

import equinox as eqx
import jax


def constant(tree: Any) -> Any:
    """The same without derivatives. Plain numbers stay plain: `jax.lax.stop_gradient` would make arrays of them."""
    return jax.tree.map(lambda x: jax.lax.stop_gradient(x) if eqx.is_array(x) else x, tree)


def is_concrete(value: Any) -> bool:
    """Whether a value can be inspected: constructors check ranges only then, and not inside a traced function."""
    return not isinstance(value, jax.core.Tracer)
