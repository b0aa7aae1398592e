"""Checks that need no packing: documentation, configuration, pickling, serialisation."""

import enum
import inspect
import io
import pickle
import re
from collections.abc import Callable, Mapping

import equinox as eqx
import jax
import numpy as np

from .._types import Setting
from ..config.instantiate import construct
from ..config.nodes import reread
from ..registry.component import Component, kind_of
from ..registry.parameters import parameters
from ..registry.registry import registry
from ._failures import fail, listed, raised
from ._packings import SIZE


def static_checks(instance: object, component: Component) -> dict[str, Callable[[], None]]:
    """By name, the checks that every Equinox component has to pass."""
    return {
        "documentation": lambda: check_documentation(component),
        "configuration": lambda: check_configuration(instance, component),
        "pickling": lambda: check_pickling(instance),
        "serialisation": lambda: check_serialisation(instance),
    }


def plain_checks(instance: object, component: Component, methods: Mapping[str, str]) -> dict[str, Callable[[], None]]:
    """By name, the checks that every component has to pass that is no Equinox module.

    **Arguments:**

    - `methods`: the one argument that each method is called with, by name of the method.
    """
    return {
        "documentation": lambda: check_documentation(component),
        "configuration": lambda: check_keys(instance, component),
        "methods": lambda: check_methods(instance, methods),
    }


def as_component(instance: object, name: str = "") -> Component:
    """The registered component that an instance is of, or one made up for a class that nobody registered."""
    cls = type(instance)
    known = [c for c in registry().by_target().values() if c.cls is cls]
    kind = kind_of(cls)
    if kind is None:
        raise TypeError(f"{cls.__qualname__} is no component: it derives from none of the interfaces")
    return known[0] if known and not name else Component(kind, name or cls.__name__, cls, "?", "?", "?")


def check_documentation(component: Component) -> None:
    """A docstring of its own; for a property also its units and where it is defined."""
    cls = component.cls
    text = inspect.cleandoc(vars(cls).get("__doc__") or "" if isinstance(cls, type) else cls.__doc__ or "")
    title = getattr(cls, "__name__", component.name)
    # A dataclass without docstring gets its signature for one.
    if not text or text.startswith(f"{title}("):
        fail(f"{title} has no docstring; write one sentence that defines it, then its equation and its conventions")
    if component.kind != "property":
        return
    for fact, example in (("units", '"energy / volume", or "dimensionless"'), ("source", "a paper with its equation")):
        stated = getattr(cls, fact, "")
        if fact == "source" and re.search(r"^Sources?: ", text, re.MULTILINE):
            continue
        if not isinstance(stated, str) or not stated.strip():
            fail(f'{title} does not state its {fact}; add the class attribute `{fact} = "…"` ({example})')


def check_configuration(instance: object, component: Component) -> None:
    """Its keys, written as YAML and read again through the typed node, build the same component."""
    given = node_of(instance, component)
    try:
        data = reread(component, given)
        for name, parameter in parameters(component).items():
            # What follows the system is an interpolation, which a component on its own has nothing to resolve from.
            if parameter.follows_system and name not in given:
                data.pop(name)
        rebuilt = construct(component, data, component.name, SIZE | {n: given[n] for n in SIZE if n in given})
    except Exception as error:
        fail(
            f"cannot be built from its own keys {_short(given)}: {raised(error)}; annotations, defaults and converters "
            "of the constructor must accept what a YAML file can hold"
        )
    else:
        if not eqx.tree_equal(rebuilt, instance):
            fail(
                f"built again from its own keys {_short(given)} it is another: {rebuilt} instead of {instance}; the "
                "constructor must take what it keeps, under the same name"
            )


def check_keys(instance: object, component: Component) -> None:
    """Its keys, written as YAML and read again through the typed node, build a component with the same keys."""
    given = node_of(instance, component)
    try:
        rebuilt = construct(component, reread(component, given), component.name, {})
    except Exception as error:
        fail(f"cannot be built from its own keys {given}: {raised(error)}")
    else:
        again = node_of(rebuilt, component)
        if again != given:
            fail(f"built again from its own keys it has {again} instead of {given}; keep them under the same names")


def check_methods(instance: object, methods: Mapping[str, str]) -> None:
    """Each method takes the one argument that it is called with."""
    for name, argument in methods.items():
        try:
            inspect.signature(getattr(instance, name)).bind(None)
        except TypeError as error:
            fail(f"{name}({argument}) is not possible: {error}")


def node_of(instance: object, component: Component) -> dict[str, Setting]:
    """The configuration node of an instance, from its attributes; parameters that it does not keep are left out."""
    node: dict[str, Setting] = {"_target_": component.target}
    for name, parameter in parameters(component).items():
        if not hasattr(instance, name):
            continue
        value = getattr(instance, name)
        if parameter.kind == "component" and value is not None:
            node[name] = node_of(value, as_component(value))
        elif parameter.kind == "components":
            node[name] = {key: node_of(item, as_component(item)) for key, item in value.items()}
        elif parameter.kind == "choice" and value is not None:
            index = list(parameter.values).index(value)
            node[name] = parameter.choices[index]
        else:
            node[name] = _plain(value)
    return node


def _plain(value: object) -> Setting:
    if isinstance(value, (np.ndarray, np.generic, jax.Array)):
        return np.asarray(value).tolist()
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _short(node: dict[str, Setting]) -> str:
    return "{" + listed(f"{k}: {v}" for k, v in node.items() if k != "_target_") + "}"


def check_pickling(instance: object) -> None:
    """It survives pickling, which is how joblib and its like hand things to other processes."""
    try:
        again = pickle.loads(pickle.dumps(instance))
    except Exception as error:
        fail(
            f"cannot be pickled ({raised(error)}), so joblib could not hand it to another process; keep numbers, "
            "arrays and modules in fields, no lambdas, locks, files or classes defined inside functions"
        )
    else:
        if not eqx.tree_equal(again, instance):
            fail(f"pickled and unpickled it is another: {again} instead of {instance}")


def check_serialisation(instance: object) -> None:
    """Its arrays survive `eqx.tree_serialise_leaves`, which is how checkpoints are written."""
    stream = io.BytesIO()
    try:
        eqx.tree_serialise_leaves(stream, instance)
        stream.seek(0)
        again = eqx.tree_deserialise_leaves(stream, instance)
    except Exception as error:
        fail(f"cannot be serialised ({raised(error)}); fields that are no arrays should be `eqx.field(static=True)`")
    else:
        if not eqx.tree_equal(again, instance):
            fail(f"serialised and read again it is another: {again} instead of {instance}")
