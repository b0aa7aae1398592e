"""From the node of a component to the component, through the registry: nothing is imported by name."""

import re
from collections.abc import Mapping

from .._errors import RequestError, one_line, suggestion
from .._types import Built, Setting
from ..registry.component import Component
from ..registry.parameters import REQUIRED, parameters
from ..registry.registry import registry
from .nodes import NESTED_PROPERTY, schedules
from .values import MISSING, check_names, check_value, names_numbers, read_numbers


def instantiate(kind: str, node: Setting, key: str, system: Mapping[str, Setting]) -> Built:
    """The component that a node describes; parameters such as `n_species` have to agree with `system`."""
    if node is None or node == MISSING:
        possible = ", ".join(schedules() if kind == "schedule" else registry().components(kind))
        raise RequestError(f"{key} is required: no {kind} is chosen; possible: {possible}")
    return construct(_component(kind, node, key), node, key, system)


def default_node(component: Component, system: Mapping[str, Setting]) -> dict[str, Setting]:
    """The node of a component of which nothing is said: all its parameters at the defaults of its registration."""
    node: dict[str, Setting] = {"_target_": component.target}
    for name, parameter in parameters(component).items():
        if parameter.follows_system and name in system:
            node[name] = system[name]
        elif parameter.kind == "component" and isinstance(parameter.default, str):
            node[name] = default_node(registry().get(parameter.group, parameter.default), system)
        elif parameter.default is not REQUIRED:
            node[name] = parameter.default
    for key, value in component.defaults.items():
        outer, _, inner = key.partition(".")
        if inner:
            node[outer][inner] = value
    return node


def construct(component: Component, node: dict[str, Setting], key: str, system: Mapping[str, Setting]) -> Built:
    """This component with the parameters of a node, each checked against its type."""
    known = parameters(component)
    given = {name: value for name, value in node.items() if name != "_target_"}
    check_names(given, known, key, f"parameter of {component.name}")
    arguments = {}
    for name, value in given.items():
        path, parameter = f"{key}.{name}", known[name]
        if parameter.kind == "component" and isinstance(value, dict):
            arguments[name] = instantiate(parameter.group, value, path, system)
        elif parameter.kind == "components":
            arguments[name] = _by_name(parameter.group, value, path, system)
        elif parameter.kind == "schedule" and isinstance(value, dict):
            arguments[name] = instantiate("schedule", value, path, system)
        elif parameter.kind == "component" and (value is not None or not parameter.optional):
            group = NESTED_PROPERTY if parameter.group == "property" else parameter.group
            shown = "null" if value is None else repr(value)
            raise RequestError(f"{path}={shown}: must be a {parameter.group}; choose {group}@{path}=…")
        else:
            if parameter.kind == "array" and names_numbers(value):
                # In place, so that the configuration that is kept has the numbers.
                value = node[name] = read_numbers(value, path)
            arguments[name] = check_value(parameter, value, path)
        if parameter.follows_system and name in system and value is not None and value != system[name]:
            raise RequestError(f"{path}={value}: it follows the system, which has {system[name]}; set system.{name}")
    for name, parameter in known.items():
        if parameter.default is REQUIRED and name not in arguments:
            raise RequestError(f"{key}.{name} is required")
    try:
        return component.cls(**arguments)
    except RequestError:
        raise
    except Exception as error:  # a constructor may object in any way
        raise RequestError(constructor_error(error, key, known)) from error


def _by_name(kind: str, node: Setting, key: str, system: Mapping[str, Setting]) -> dict[str, Built]:
    """Several components of a kind, in the order in which they were chosen."""
    if not isinstance(node, dict):
        raise RequestError(f"{key}={node!r}: must be {kind}s by name; choose one with +{kind}@{key}.NAME=…")
    return {name: instantiate(kind, value, f"{key}.{name}", system) for name, value in node.items()}


def _component(kind: str, node: Setting, key: str) -> Component:
    if not isinstance(node, dict):
        raise RequestError(f"{key}={node!r}: must be a {kind}; choose one with {key}=NAME")
    target = node.get("_target_")
    candidates = schedules() if kind == "schedule" else registry().components(kind)
    for component in candidates.values():
        if component.target == target:
            return component
    if target is None:
        raise RequestError(f"{key}: no {kind} is chosen; possible: {', '.join(candidates)}")
    targets = [component.target for component in candidates.values()]
    raise RequestError(f"{key}._target_={target}: refused, it is no registered {kind}; {suggestion(target, targets)}")


def constructor_error(error: Exception, key: str, known: Mapping[str, object]) -> str:
    """The constructor's message behind the key it is about, which a good message quotes as `name=`."""
    text = one_line(error) or type(error).__name__
    if not isinstance(error, ValueError):
        text = f"{type(error).__name__}: {text}"
    for name in re.findall(r"\b(\w+)=", text):
        if name in known:
            return f"{key}.{name}: {text}"
    return f"{key}: {text}"
