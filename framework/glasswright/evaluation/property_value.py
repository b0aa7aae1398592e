"""Which values a property may return: a real number, or an array of real numbers."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..components.property import AbstractProperty
from ..physics.state import State

POSSIBLE = "measure must return a real number or an array of real numbers"
# What is neither, in words.
_NAMES: dict[type, str] = {type(None): "None", dict: "a dictionary", str: "a text", bytes: "bytes", set: "a set"}


class UnusableValue(TypeError):
    """A property returned what cannot be kept, or cannot be differentiated where it has to be: one clear line."""


def real_value(measured: AbstractProperty, state: State, *, trained: bool = False) -> Array:
    """What a property measures, as an array of floating-point numbers.

    Raises `UnusableValue` if it is no real number and no array of real numbers, and, where it is `trained`, if it is
    of integers or booleans, which have no derivative.
    """
    value = measured.measure(state)
    what = describe_unusable(value)
    if what is None and trained and is_discrete(value):
        what = f"{describe_discrete(value)} and cannot be trained"
    if what is not None:
        raise UnusableValue(f"{type(measured).__name__}.measure returned {what}")
    return jnp.asarray(value, dtype=float)


def describe_unusable(value: object) -> str | None:
    """What is wrong with a value, and what is possible; None if nothing is."""
    if isinstance(value, list | tuple):
        inside = next((text for text in map(describe_unusable, value) if text is not None), None)
        if inside is not None:
            return f"a {type(value).__name__} with {inside}"
    name = next((text for kind, text in _NAMES.items() if isinstance(value, kind)), None)
    if name is not None:
        return f"{name}; {POSSIBLE}"
    try:
        array = jnp.asarray(value)
    except jax.errors.JAXTypeError:
        raise
    except (TypeError, ValueError, OverflowError):
        kind = type(value).__name__
        uneven = isinstance(value, list | tuple)
        return f"a {kind}{' whose items differ in shape' if uneven else ''}; {POSSIBLE}"
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        return f"complex numbers ({array.dtype}); {POSSIBLE}, such as jnp.real, jnp.imag or jnp.abs of it"
    if not (jnp.issubdtype(array.dtype, jnp.floating) or is_discrete(array)):
        return f"an array of type {array.dtype}; {POSSIBLE}"
    if array.size == 0:
        return f"an array without any number (shape {array.shape}); {POSSIBLE}"
    return None


def is_discrete(value: object) -> bool:
    """Whether a value is of integers or booleans, which have no derivative."""
    dtype = jnp.asarray(value).dtype
    return bool(jnp.issubdtype(dtype, jnp.integer) or jnp.issubdtype(dtype, jnp.bool_))


def describe_discrete(value: object) -> str:
    """`integers (int64), which have no derivative`."""
    dtype = jnp.asarray(value).dtype
    kind = "booleans" if jnp.issubdtype(dtype, jnp.bool_) else f"integers ({dtype})"
    return f"{kind}, which have no derivative"
