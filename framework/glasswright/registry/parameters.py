"""From a class to its configuration node: which parameters it has, of which types, with which defaults."""

import collections.abc
import dataclasses
import enum
import functools
import inspect
import types
import typing
from collections.abc import Callable
from typing import Any

import jax
import jaxtyping
import numpy as np
import optax

from ..components.combination import AbstractCombination
from ..components.objective import AbstractObjective
from ..components.property import AbstractProperty
from ..components.protocol import AbstractProtocol
from ..components.sampler import AbstractSampler
from ..physics.potential import AbstractPotential
from .component import Component, PluginError


class _Required:
    """Stands for a default that there is not."""


REQUIRED = _Required()
# A parameter of one of these names is the system's business: it follows `system.<name>`.
FOLLOWS_SYSTEM = ("n_particles", "n_species", "dimension", "density")
GROUPS: dict[type, str] = {
    AbstractPotential: "potential",
    AbstractProtocol: "protocol",
    AbstractSampler: "sampler",
    AbstractProperty: "property",
    AbstractObjective: "objective",
    AbstractCombination: "combination",
    optax.GradientTransformation: "optimizer",
}


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One parameter of a component.

    **Attributes:**

    - `kind`: `integer`, `number`, `boolean`, `text`, `choice`, `array`, `component`, `schedule` (a number or
      an optax schedule) or `any`.
    - `optional`: whether null is legal.
    - `default`: plain data, or `REQUIRED`.
    - `choices`: of a `choice`, the legal values as they are written in a configuration.
    - `group`: of a `component`, the group it is chosen from.
    - `values`: of a `choice`, what the constructor gets for each legal value.
    """

    name: str
    kind: str
    optional: bool = False
    default: Any = REQUIRED
    choices: tuple[Any, ...] = ()
    values: tuple[Any, ...] = ()
    group: str = ""

    @property
    def follows_system(self) -> bool:
        return self.name in FOLLOWS_SYSTEM and self.kind in ("integer", "number")


@functools.cache
def _parameters(cls: Callable[..., Any]) -> dict[str, Parameter]:
    """The parameters of a class or function, from its own `__init__` or else from its dataclass fields."""
    hints = _hints(cls)
    result = {}
    for name, parameter in inspect.signature(cls).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise PluginError(f"{_title(cls)}: parameter {name!r} must be possible by keyword")
        given = REQUIRED if parameter.default is parameter.empty else parameter.default
        default = _plain(cls, name, given)
        described = _describe(name, hints.get(name, Any), default)
        if described is not None:
            result[name] = described
        elif given is REQUIRED:
            raise PluginError(
                f"{_title(cls)}: required parameter {name!r} of type {hints.get(name)} cannot be configured"
            )
    return result


def parameters(component: Component) -> dict[str, Parameter]:
    """The parameters of a component, with the defaults that its registration gave."""
    result = dict(_parameters(component.cls))
    for key, value in component.defaults.items():
        name = key.split(".")[0]
        if name not in result:
            raise PluginError(f"{component.kind} {component.name!r}: register was given {key!r}, which is no parameter")
        if key == name:
            result[name] = dataclasses.replace(result[name], default=value)
    return result


def _title(cls: Callable[..., Any]) -> str:
    return getattr(cls, "__qualname__", str(cls))


def _hints(cls: Callable[..., Any]) -> dict[str, Any]:
    init: Any = getattr(cls, "__init__") if isinstance(cls, type) else cls  # noqa: B009
    # A generated constructor has lost the types of fields with converters: those are read from the class.
    generated = (
        isinstance(cls, type) and init.__code__.co_filename == "<string>" if hasattr(init, "__code__") else False
    )
    source = cls if generated else init
    try:
        return typing.get_type_hints(source, include_extras=True)
    except Exception:  # names that exist for type checkers only
        return dict(getattr(source, "__annotations__", {}))


def _plain(cls: Callable[..., Any], name: str, default: Any) -> Any:
    """A default as plain data."""
    factories = {f.name: f.default_factory for f in dataclasses.fields(cls)} if dataclasses.is_dataclass(cls) else {}
    factory = factories.get(name, dataclasses.MISSING)
    if default is not REQUIRED and factory is not dataclasses.MISSING:
        default = factory()
    if isinstance(default, (jax.Array, np.ndarray, np.generic)):
        return np.asarray(default).tolist()
    return list(default) if isinstance(default, tuple) else default


def _describe(name: str, hint: Any, default: Any) -> Parameter | None:
    """What a parameter of this annotation accepts; None where no configuration can say it."""
    options = _options(hint)
    optional = type(None) in options or default is None
    options = [option for option in options if option is not type(None)]
    make = functools.partial(Parameter, name=name, optional=optional, default=default)
    for option in options:
        group = _group(option)
        if group:
            return make(kind="component", group=group)
    literal = [value for option in options if typing.get_origin(option) is typing.Literal for value in option.__args__]
    if literal:
        return make(kind="choice", choices=tuple(literal), values=tuple(literal), optional=optional or None in literal)
    if any(isinstance(option, type) and issubclass(option, enum.Enum) for option in options):
        members = list(next(o for o in options if isinstance(o, type) and issubclass(o, enum.Enum)))
        default = default.name if isinstance(default, enum.Enum) else default
        return make(kind="choice", choices=tuple(m.name for m in members), values=tuple(members), default=default)
    callables = [
        o for o in options if typing.get_origin(o) is collections.abc.Callable or o is collections.abc.Callable
    ]
    if callables:
        return make(kind="schedule") if float in options or jax.Array in options else None
    if any(_is_array(option) for option in options):
        return make(kind="array")
    scalars = {bool: "boolean", int: "integer", float: "number", str: "text"}
    kinds = {scalars.get(option) for option in options}
    if kinds == {"integer", "number"}:
        return make(kind="number")
    (kind, *others) = kinds or {None}
    if kind is not None and not others:
        return make(kind=kind)
    if default is REQUIRED or default is None or isinstance(default, (bool, int, float, str, list, dict)):
        return make(kind="any", optional=True)
    return None


def _options(hint: Any) -> list[Any]:
    """The members of a union, without aliases, `Annotated` and the like around them."""
    origin = typing.get_origin(hint)
    if origin is typing.Annotated:
        return _options(hint.__origin__)
    if origin is typing.Union or isinstance(hint, types.UnionType):
        return [option for member in hint.__args__ for option in _options(member)]
    if isinstance(hint, typing.NewType):
        return _options(hint.__supertype__)
    return [hint]


def _group(option: Any) -> str:
    if isinstance(option, type):
        for base, group in GROUPS.items():
            if issubclass(option, base):
                return group
    return ""


def _is_array(option: Any) -> bool:
    if isinstance(option, type) and issubclass(option, (jaxtyping.AbstractArray, jax.Array, np.ndarray, np.number)):
        return True
    origin = typing.get_origin(option) or option
    sequence = isinstance(origin, type) and issubclass(origin, collections.abc.Sequence) and origin is not str
    if not sequence:
        return False
    members = [o for argument in typing.get_args(option) if argument is not Ellipsis for o in _options(argument)]
    return all(o in (int, float, bool) or _is_array(o) for o in members)
