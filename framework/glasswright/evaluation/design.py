"""The design: which arrays of a model are variables, within which bounds, and how a step changes them."""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from .._errors import RequestError, suggestion
from .model import Model

# The design variables by name.
DesignValues = Mapping[str, Array | np.ndarray]


class Design(eqx.Module):
    """Which arrays of a model are design variables, and within which bounds.

    **Attributes:**

    - `names`: the shortest unambiguous name of each design variable, as used in every output.
    - `paths`: the full dotted path of each, such as `potential.diameter`.
    - `lower`, `upper`: bounds of each.
    """

    names: tuple[str, ...] = eqx.field(static=True)
    paths: tuple[str, ...] = eqx.field(static=True)
    lower: tuple[float, ...] = eqx.field(static=True)
    upper: tuple[float, ...] = eqx.field(static=True)

    def values(self, model: Model) -> dict[str, Array]:
        """The design variables of a model by name."""
        leaves = trainable_leaves(model)
        return {name: leaves[path] for name, path in zip(self.names, self.paths, strict=True)}

    def insert(self, model: Model, values: DesignValues) -> Model:
        """The model with its design variables replaced."""
        by_path = {path: values[name] for name, path in zip(self.names, self.paths, strict=True)}
        inserted: Model = replace_leaves(model, by_path)
        return inserted

    def project(self, values: DesignValues) -> dict[str, Array]:
        """The nearest values within the bounds."""
        bounds = zip(self.names, self.lower, self.upper, strict=True)
        return {name: jnp.clip(values[name], lower, upper) for name, lower, upper in bounds}

    def step(self, model: Model, values: DesignValues, updates: DesignValues) -> dict[str, Array]:
        """Add updates, stay within the bounds, and keep twice the cutoff within the box.

        A step that would let the cutoff outgrow half the box is shortened to the longest one that does not.
        """
        moved = self.project({name: values[name] + updates[name] for name in self.names})

        def at(fraction: Float[Array, ""]) -> dict[str, Array]:
            return {name: jnp.add(values[name], fraction * (moved[name] - values[name])) for name in self.names}

        def halve(_: Any, interval: tuple[Array, Array]) -> tuple[Array, Array]:
            low, high = interval
            middle = 0.5 * (low + high)
            fits = self.insert(model, at(middle)).cutoff_slack >= 0.0
            return jnp.where(fits, middle, low), jnp.where(fits, high, middle)

        fits = self.insert(model, moved).cutoff_slack >= 0.0
        shortened, _ = jax.lax.fori_loop(0, 40, halve, (jnp.asarray(0.0), jnp.asarray(1.0)))
        return {name: jnp.where(fits, moved[name], at(shortened)[name]) for name in self.names}


def is_trainable(leaf: Any) -> bool:
    """Whether a leaf is a parameter: a floating-point array of JAX. NumPy's arrays are data that a component keeps."""
    return isinstance(leaf, jax.Array) and eqx.is_inexact_array(leaf)


def trainable_leaves(tree: PyTree) -> dict[str, Array]:
    """Every array of a model (or of a part of it) that can train, by dotted path: JAX arrays, never plain floats."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {_dotted(path): leaf for path, leaf in leaves if is_trainable(leaf)}


def replace_leaves(tree: PyTree, by_path: DesignValues) -> Any:
    """The tree with the leaves at these dotted paths replaced. They stay parameters, so NumPy's become JAX's arrays."""

    def replaced(path: Any, leaf: Any) -> Any:
        new = by_path.get(_dotted(path), leaf)
        return jnp.asarray(new) if isinstance(new, np.ndarray) and is_trainable(leaf) else new

    return jax.tree_util.tree_map_with_path(replaced, tree)


def resolve_design(model: Model, bounds: Mapping[str, Any]) -> Design:
    """Find the design variables that `bounds` names, by full path or by a bare name while that is unique.

    Bounds are `(lower, upper)`, and of any type until they are checked here. Raises `RequestError` for
    unknown or ambiguous names, bad bounds, and values that start outside their bounds.
    """
    leaves = trainable_leaves(model)
    short = {path: path.rsplit(".", 1)[-1] for path in leaves}
    short = {path: name if list(short.values()).count(name) == 1 else path for path, name in short.items()}
    full = {name: path for path, name in short.items()}
    if not bounds:
        raise RequestError(f"design is empty: nothing would train; possible: {', '.join(full) or '(no arrays)'}")
    paths, lowers, uppers = [], [], []
    for key, bound in bounds.items():
        path = key if key in leaves else full.get(key)
        if path is None:
            raise RequestError(f"design.{key}: no such parameter; {suggestion(key, full)}")
        if path in paths:
            raise RequestError(f"design.{key}: {path} is named twice")
        lower, upper = _check_bounds(key, bound)
        value = leaves[path]
        if bool(jnp.any((value < lower) | (value > upper))):
            raise RequestError(f"design.{key}: starts at {value.tolist()}, outside its bounds [{lower:g}, {upper:g}]")
        paths.append(path)
        lowers.append(lower)
        uppers.append(upper)
    return Design(tuple(short[path] for path in paths), tuple(paths), tuple(lowers), tuple(uppers))


def _check_bounds(key: str, bound: Any) -> tuple[float, float]:
    try:
        lower, upper = (float(x) for x in bound)
    except (TypeError, ValueError):
        raise RequestError(f"design.{key}: bounds must be [lower, upper], not {bound!r}") from None
    if not lower < upper:
        raise RequestError(
            f"design.{key}: bounds must be [lower, upper] with lower < upper, not [{lower:g}, {upper:g}]"
        )
    return lower, upper


def _dotted(path: tuple[Any, ...]) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")
