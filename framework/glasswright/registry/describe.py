"""Components as data for people and programs: what they are, where they come from, which parameters they have."""

import inspect
import re
from typing import Any

from .component import Component
from .parameters import REQUIRED, Parameter, parameters

TYPES = {"integer": "integer", "number": "number", "boolean": "true or false", "text": "text", "array": "numbers"}
_UNITS = re.compile(r"\bin (units of [^,;:.()]+|(?:energy|length|time|mass)[^,;:.()]* per [^,;:.()]+)")


def describe_component(component: Component) -> dict[str, Any]:
    """Everything about a component as plain data: provider, docstring, units, source, and its parameters."""
    text = docstring(component)
    meanings = descriptions(text)
    return {
        "kind": component.kind,
        "name": component.name,
        "class": component.target,
        "distribution": component.distribution,
        "version": component.version,
        "entry_point": component.entry_point,
        "summary": " ".join(text.split("\n\n")[0].split()),
        "docstring": text,
        "units": _fact(component, "units"),
        "source": source(component),
        "parameters": [
            describe_parameter(parameter, meanings.get(name, "")) for name, parameter in parameters(component).items()
        ],
    }


def describe_parameter(parameter: Parameter, meaning: str = "") -> dict[str, Any]:
    """One parameter: its type, its default, and what the docstring says about it."""
    units = _UNITS.search(meaning)
    default = None if parameter.default is REQUIRED else parameter.default
    return {
        "name": parameter.name,
        "type": type_of(parameter),
        "optional": parameter.optional,
        "required": parameter.default is REQUIRED and not parameter.follows_system,
        "default": f"${{system.{parameter.name}}}" if parameter.follows_system else _plain(default),
        "choices": [str(choice) for choice in parameter.choices],
        "units": units[1].strip().removeprefix("units of ") if units else "",
        "meaning": meaning,
    }


def docstring(component: Component) -> str:
    """The docstring of a component's class; empty where it is only what a dataclass gives itself."""
    text = inspect.cleandoc(component.cls.__doc__ or "")
    return "" if text.startswith(f"{getattr(component.cls, '__name__', '')}(") else text


def source(component: Component) -> str:
    """Where a component is defined: its `source`, or the paragraph `Source:` of its docstring."""
    stated = _fact(component, "source")
    found = re.search(r"^Sources?: (.*?)(?:\n\n|\Z)", docstring(component), re.DOTALL | re.MULTILINE)
    return stated or (" ".join(found[1].split()) if found else "")


def _fact(component: Component, title: str) -> str:
    fact = getattr(component.cls, title, "")
    return fact if isinstance(fact, str) else ""


def descriptions(text: str) -> dict[str, str]:
    """What a docstring says about each parameter."""
    result = {}
    for names, meaning in re.findall(r"^- ((?:`\w+`(?:, )?)+): (.*?)(?=^- |\n\n|\Z)", text, re.DOTALL | re.MULTILINE):
        for name in re.findall(r"`(\w+)`", names):
            result[name] = " ".join(meaning.split())
    return result


def type_of(parameter: Parameter) -> str:
    """The type of a parameter in words."""
    if parameter.kind == "choice":
        return " or ".join(f"`{choice}`" for choice in parameter.choices)
    if parameter.kind == "component":
        return f"{'an' if parameter.group[0] in 'aeiou' else 'a'} {parameter.group}"
    if parameter.kind == "schedule":
        return "number or schedule"
    return TYPES.get(parameter.kind, "anything")


def _plain(default: Any) -> Any:
    if isinstance(default, (bool, int, float, str, list, dict)) or default is None:
        return default
    return str(default)
