"""The design: which arrays of a model are variables, within which bounds, and how a step changes them."""

from collections.abc import Hashable, Iterable, Mapping
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from .._errors import RequestError, suggestion
from .._types import Setting
from .estimator import COMPOSITION, EXACT, Estimator, Variable, choose_estimator, treatment_paths
from .model import Model

Tree = TypeVar("Tree")

# The design variables by name.
DesignValues = Mapping[str, Array | np.ndarray]


class Design(eqx.Module):
    """Which arrays of a model are design variables, and within which bounds.

    **Attributes:**

    - `names`: the shortest unambiguous name of each design variable, as used in every output.
    - `paths`: the full dotted path of each, such as `potential.diameter`.
    - `lower`, `upper`: bounds of each.
    - `estimators`: how the gradient in each is obtained; left out, exactly.
    """

    names: tuple[str, ...] = eqx.field(static=True)
    paths: tuple[str, ...] = eqx.field(static=True)
    lower: tuple[float, ...] = eqx.field(static=True)
    upper: tuple[float, ...] = eqx.field(static=True)
    estimators: tuple[Estimator, ...] = eqx.field(static=True, default=())

    def __post_init__(self) -> None:
        if not self.estimators:
            self.estimators = (EXACT,) * len(self.names)

    @property
    def estimator_of(self) -> dict[str, Estimator]:
        """How the gradient in each design variable is obtained, by name."""
        return dict(zip(self.names, self.estimators, strict=True))

    @property
    def is_exact(self) -> bool:
        """Whether all gradients are exact."""
        return all(estimator.name == "exact" for estimator in self.estimators)

    @property
    def has_exact(self) -> bool:
        """Whether some gradient is exact."""
        return any(estimator.name == "exact" for estimator in self.estimators)

    def where(self, chosen: Iterable[bool]) -> "Design":
        """The design with only some of its variables, one flag for each."""
        flags = list(chosen)
        parts = (self.names, self.paths, self.lower, self.upper, self.estimators)
        return Design(*(tuple(x for x, flag in zip(part, flags, strict=True) if flag) for part in parts))  # type: ignore[arg-type]

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
        bounds = zip(self.names, self.paths, self.lower, self.upper, strict=True)
        return {
            name: _on_simplex(values[name], lower, upper)
            if path == COMPOSITION
            else jnp.clip(values[name], lower, upper)
            for name, path, lower, upper in bounds
        }

    def step(self, model: Model, values: DesignValues, updates: DesignValues) -> dict[str, Array]:
        """Add updates, stay within the bounds, and keep twice the cutoff within the box.

        Updates of variables that change in proportion are added to their logarithms. A step that would let the cutoff
        outgrow half the box is shortened to the longest one that does not.
        """
        added = {
            name: values[name] * jnp.exp(updates[name]) if estimator.in_logarithm else values[name] + updates[name]
            for name, estimator in self.estimator_of.items()
        }
        moved = self.project(added)

        def at(fraction: Float[Array, ""]) -> dict[str, Array]:
            return {name: jnp.add(values[name], fraction * (moved[name] - values[name])) for name in self.names}

        def halve(_: object, interval: tuple[Array, Array]) -> tuple[Array, Array]:
            low, high = interval
            middle = 0.5 * (low + high)
            fits = self.insert(model, at(middle)).cutoff_slack >= 0.0
            return jnp.where(fits, middle, low), jnp.where(fits, high, middle)

        fits = self.insert(model, moved).cutoff_slack >= 0.0
        shortened, _ = jax.lax.fori_loop(0, 40, halve, (jnp.asarray(0.0), jnp.asarray(1.0)))
        return {name: jnp.where(fits, moved[name], at(shortened)[name]) for name in self.names}


def is_trainable(leaf: object) -> bool:
    """Whether a leaf is a parameter: a floating-point array of JAX. NumPy's arrays are data that a component keeps."""
    return isinstance(leaf, jax.Array) and eqx.is_inexact_array(leaf)


def trainable_leaves(tree: PyTree) -> dict[str, Array]:
    """Every array of a model (or of a part of it) that can train, by dotted path: JAX arrays, never plain floats."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {_dotted(path): leaf for path, leaf in leaves if is_trainable(leaf)}


def replace_leaves(tree: Tree, by_path: DesignValues) -> Tree:
    """The tree with the leaves at these dotted paths replaced. They stay parameters, so NumPy's become JAX's arrays."""

    def replaced(path: tuple[Hashable, ...], leaf: object) -> object:
        new = by_path.get(_dotted(path), leaf)
        return jnp.asarray(new) if isinstance(new, np.ndarray) and is_trainable(leaf) else new

    result: Tree = jax.tree_util.tree_map_with_path(replaced, tree)
    return result


def resolve_design(model: Model, bounds: Mapping[str, Setting]) -> Design:
    """Find the design variables that `bounds` names, by full path or by a bare name while that is unique.

    Bounds are `(lower, upper)` or a `Variable`, and of any type until they are checked here. Raises `RequestError` for
    unknown or ambiguous names, bad bounds, values that start outside their bounds, and estimators that a variable
    cannot have.
    """
    leaves = trainable_leaves(model)
    short = {path: path.rsplit(".", 1)[-1] for path in leaves}
    short = {path: name if list(short.values()).count(name) == 1 else path for path, name in short.items()}
    full = {name: path for path, name in short.items()}
    if not bounds:
        raise RequestError(f"design is empty: nothing would train; possible: {', '.join(full) or '(no arrays)'}")
    treated = treatment_paths(model)
    paths, lowers, uppers, estimators = [], [], [], []
    for key, bound in bounds.items():
        path = key if key in leaves else full.get(key)
        if path is None:
            raise RequestError(f"design.{key}: no such parameter; {suggestion(key, full)}")
        if path in paths:
            raise RequestError(f"design.{key}: {path} is named twice")
        wanted = bound if isinstance(bound, Variable) else Variable(bound)
        lower, upper = _check_bounds(key, wanted.bounds)
        value = leaves[path]
        if bool(jnp.any((value < lower) | (value > upper))):
            raise RequestError(f"design.{key}: starts at {value.tolist()}, outside its bounds [{lower:g}, {upper:g}]")
        paths.append(path)
        lowers.append(lower)
        uppers.append(upper)
        estimators.append(choose_estimator(key, path, treated, value, wanted))
    names = tuple(short[path] for path in paths)
    return Design(names, tuple(paths), tuple(lowers), tuple(uppers), tuple(estimators))


def _on_simplex(fractions: Array | np.ndarray, lower: float, upper: float) -> Float[Array, " s"]:
    """The nearest fractions within the bounds that add up to one: shifted by the same number, then clipped."""
    given = jnp.asarray(fractions)

    def halve(_: object, interval: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = interval
        middle = 0.5 * (low + high)
        small = jnp.sum(jnp.clip(given + middle, lower, upper)) < 1.0
        return jnp.where(small, middle, low), jnp.where(small, high, middle)

    reach = 1.0 + jnp.max(jnp.abs(given))
    low, high = jax.lax.fori_loop(0, 60, halve, (-reach, reach))
    clipped: Float[Array, " s"] = jnp.clip(given + 0.5 * (low + high), lower, upper)
    return clipped / jnp.sum(clipped)


def _check_bounds(key: str, bound: Setting) -> tuple[float, float]:
    try:
        lower, upper = (float(x) for x in bound)
    except (TypeError, ValueError):
        raise RequestError(f"design.{key}: bounds must be [lower, upper], not {bound!r}") from None
    if not lower < upper:
        raise RequestError(
            f"design.{key}: bounds must be [lower, upper] with lower < upper, not [{lower:g}, {upper:g}]"
        )
    return lower, upper


def _dotted(path: tuple[Hashable, ...]) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")
