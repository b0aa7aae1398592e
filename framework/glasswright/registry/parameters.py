"""From a class to its configuration node: which parameters it has, of which types, with which defaults."""

import collections.abc
import dataclasses
import enum
import functools
import inspect
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jaxtyping
import numpy as np

from .._types import Setting
from .component import Component, PluginError, kind_of


class _Required:
    """The type of `REQUIRED`, which takes the place of a default where there is none."""


REQUIRED = _Required()
# A parameter of one of these names takes the value of `system.<name>`.
FOLLOWS_SYSTEM = ("n_particles", "n_species", "dimension", "density")


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One parameter of a component.

    **Attributes:**

    - `name`: name of the constructor's argument.
    - `kind`: `integer`, `number`, `boolean`, `text`, `path`, `choice`, `array`, `component`, `components` (several of
      a kind by name), `schedule` (a number or an optax schedule) or `any`.
    - `optional`: whether null is legal.
    - `default`: numbers, texts, lists and dictionaries, as a configuration holds them; or `REQUIRED`.
    - `choices`: the legal values of a `choice`, as they are written in a configuration.
    - `values`: what the constructor gets for each of the `choices`.
    - `group`: the kind of component that a `component`, or each of `components`, is chosen from.
    - `of_system`: whether it is the system's own.
    """

    name: str
    kind: str
    optional: bool = False
    default: Setting = REQUIRED
    choices: tuple[Setting, ...] = ()
    values: tuple[object, ...] = ()
    group: str = ""
    of_system: bool = False

    @property
    def follows_system(self) -> bool:
        """Whether the parameter takes the value of the system's parameter of the same name unless it is set."""
        return self.name in FOLLOWS_SYSTEM and self.kind in ("integer", "number") and not self.of_system


@functools.cache
def _parameters(cls: Callable[..., object]) -> dict[str, Parameter]:
    """The parameters of a class or function, from its own `__init__` or else from its dataclass fields."""
    hints = _hints(cls)
    result = {}
    for name, parameter in inspect.signature(cls).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise PluginError(f"{_title(cls)}: parameter {name!r} must be possible by keyword")
        given = REQUIRED if parameter.default is parameter.empty else parameter.default
        # Whatever has no annotation may be anything.
        configurable = _parameter(name, hints.get(name, Any), _default(cls, name, given))
        if configurable is not None and kind_of(cls) == "system":
            # What everything else follows, such as the density, is a number there.
            kind = "number" if configurable.kind == "array" and isinstance(given, float) else configurable.kind
            configurable = dataclasses.replace(configurable, kind=kind, of_system=True)
        if configurable is not None:
            result[name] = configurable
        elif given is REQUIRED:
            raise PluginError(
                f"{_title(cls)}: required parameter {name!r} of type {hints.get(name)} cannot be configured"
            )
    return result


def parameters(component: Component) -> dict[str, Parameter]:
    """The parameters of a component, with the defaults that its registration gave."""
    result = dict(_parameters(component.cls))
    for key, value in component.defaults.items():
        name, *inner = key.split(".")
        if name not in result or len(inner) > 1 or (inner and result[name].kind != "component"):
            raise PluginError(f"{component.kind} {component.name!r}: register was given {key!r}, which is no parameter")
        if not inner:
            result[name] = dataclasses.replace(result[name], default=value)
    for name, parameter in result.items():
        # An object cannot stand in a configuration, and its parameters could not be set.
        if parameter.kind == "component" and not isinstance(parameter.default, str | None | type(REQUIRED)):
            raise PluginError(
                f"{component.kind} {component.name!r}: the default of {name!r} is an object; give the name of a "
                f"registered {parameter.group}: register({component.name!r}, …, {name}=NAME)"
            )
    return result


def _title(cls: Callable[..., object]) -> str:
    """The name of a class or function, for messages."""
    return getattr(cls, "__qualname__", str(cls))


def _hints(cls: Callable[..., object]) -> dict[str, object]:
    """The annotation of each argument of a constructor or function."""
    # A checker of types (`jaxtyped`) wraps the constructor.
    init: Callable[..., object] = inspect.unwrap(getattr(cls, "__init__")) if isinstance(cls, type) else cls  # noqa: B009
    # A generated constructor has lost the types of fields with converters: those are read from the class.
    generated = (
        isinstance(cls, type) and init.__code__.co_filename == "<string>" if hasattr(init, "__code__") else False
    )
    source = cls if generated else init
    try:
        return typing.get_type_hints(source, include_extras=True)
    except Exception:  # an annotation that only type checkers can resolve
        return dict(getattr(source, "__annotations__", {}))


def _default(cls: Callable[..., object], name: str, default: object) -> Setting:
    """The default of an argument as a configuration holds it: arrays and tuples become lists."""
    factories = {f.name: f.default_factory for f in dataclasses.fields(cls)} if dataclasses.is_dataclass(cls) else {}
    factory = factories.get(name, dataclasses.MISSING)
    if default is not REQUIRED and factory is not dataclasses.MISSING:
        default = factory()
    if isinstance(default, (jax.Array, np.ndarray, np.generic)):
        return np.asarray(default).tolist()
    if isinstance(default, collections.abc.Mapping):
        return dict(default)
    return list(default) if isinstance(default, tuple) else default


def _parameter(name: str, hint: object, default: Setting) -> Parameter | None:
    """The parameter for an argument of this annotation; None if no configuration could hold a value of it."""
    options = _options(hint)
    optional = type(None) in options or default is None
    options = [option for option in options if option is not type(None)]
    make = functools.partial(Parameter, name=name, optional=optional, default=default)
    group = next(filter(None, map(kind_of, options)), None)
    if group is not None:
        return make(kind="component", group=group)
    group = next(filter(None, map(_kind_by_name, options)), None)
    if group is not None:
        return make(kind="components", group=group)
    literal = [
        value for option in options if typing.get_origin(option) is typing.Literal for value in typing.get_args(option)
    ]
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
    scalars: dict[object, str] = {bool: "boolean", int: "integer", float: "number", str: "text", Path: "path"}
    kinds = {scalars.get(option) for option in options}
    if kinds == {"integer", "number"}:
        return make(kind="number")
    if kinds in ({"path"}, {"path", "text"}):
        return make(kind="path", default=str(default) if isinstance(default, Path) else default)
    (kind, *others) = kinds or {None}
    if kind is not None and not others:
        return make(kind=kind)
    if default is REQUIRED or default is None or isinstance(default, (bool, int, float, str, list, dict)):
        return make(kind="any", optional=True)
    return None


def _options(hint: object) -> list[object]:
    """The members of a union, or the type itself; `Annotated` and `NewType` are replaced by what they wrap."""
    origin = typing.get_origin(hint)
    if origin is typing.Annotated:
        return _options(typing.get_args(hint)[0])
    if origin is typing.Union or isinstance(hint, types.UnionType):
        return [option for member in typing.get_args(hint) for option in _options(member)]
    if isinstance(hint, typing.NewType):
        return _options(hint.__supertype__)
    return [hint]


def _kind_by_name(option: object) -> str | None:
    """The kind of component that a type maps names to."""
    origin = typing.get_origin(option)
    is_mapping = isinstance(origin, type) and issubclass(origin, collections.abc.Mapping)
    return kind_of(typing.get_args(option)[1]) if is_mapping else None


def _is_array(option: object) -> bool:
    """Whether a type is an array, or a sequence of numbers or of such sequences."""
    if isinstance(option, type) and issubclass(option, (jaxtyping.AbstractArray, jax.Array, np.ndarray, np.number)):
        return True
    origin = typing.get_origin(option) or option
    sequence = isinstance(origin, type) and issubclass(origin, collections.abc.Sequence) and origin is not str
    if not sequence:
        return False
    members = [o for argument in typing.get_args(option) if argument is not Ellipsis for o in _options(argument)]
    return all(o in (int, float, bool) or _is_array(o) for o in members)
