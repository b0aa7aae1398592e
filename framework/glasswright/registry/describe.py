"""Descriptions of components for people and programs: docstring, units, source, plugin and parameters."""

import inspect
import re
from typing import TypedDict

from .._types import JSON, Setting
from .component import Component
from .parameters import REQUIRED, Parameter, parameters

TYPES = {
    "integer": "integer",
    "number": "number",
    "boolean": "true or false",
    "text": "text",
    "path": "path",
    "array": "numbers",
}
_UNITS = re.compile(r"\bin (units of [^,;:.()]+|(?:energy|length|time|mass)[^,;:.()]* per [^,;:.()]+)")


class ParameterDescription(TypedDict):
    """A parameter as JSON: its type in words, its default, and its units and meaning from the docstring."""

    name: str
    type: str
    optional: bool
    required: bool
    default: Setting
    choices: list[str]
    units: str
    meaning: str


# "class" is no identifier, hence the functional form.
ComponentDescription = TypedDict(
    "ComponentDescription",
    {
        "kind": str,
        "name": str,
        "class": str,
        "distribution": str,
        "version": str,
        "entry_point": str,
        "summary": str,
        "docstring": str,
        "units": str,
        "source": str,
        "parameters": list[ParameterDescription],
    },
)


def describe_component(component: Component) -> ComponentDescription:
    """Describe a component: the plugin that provides it, its docstring, units and source, and its parameters."""
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


def describe_parameter(parameter: Parameter, meaning: str = "") -> ParameterDescription:
    """Describe a parameter, given its `meaning` from the docstring of its class."""
    units = _UNITS.search(meaning)
    default = None if parameter.default is REQUIRED else parameter.default
    return {
        "name": parameter.name,
        "type": type_of(parameter),
        "optional": parameter.optional,
        "required": parameter.default is REQUIRED and not parameter.follows_system,
        "default": f"${{system.{parameter.name}}}" if parameter.follows_system else _as_data(default),
        "choices": [str(choice) for choice in parameter.choices],
        "units": units[1].strip().removeprefix("units of ") if units else "",
        "meaning": meaning,
    }


def docstring(component: Component) -> str:
    """The docstring of a component's class; empty if a dataclass generated it."""
    text = inspect.cleandoc(component.cls.__doc__ or "")
    return "" if text.startswith(f"{getattr(component.cls, '__name__', '')}(") else text


def source(component: Component) -> str:
    """The publication that defines a component: its `source`, or the paragraph `Source:` of its docstring."""
    stated = _fact(component, "source")
    paragraph = re.search(r"^Sources?: (.*?)(?:\n\n|\Z)", docstring(component), re.DOTALL | re.MULTILINE)
    return stated or (" ".join(paragraph[1].split()) if paragraph else "")


def _fact(component: Component, title: str) -> str:
    """A class attribute of a component, if it is a text."""
    fact = getattr(component.cls, title, "")
    return fact if isinstance(fact, str) else ""


def descriptions(text: str) -> dict[str, str]:
    """The meaning of each parameter, from the list of arguments in a docstring."""
    result: dict[str, str] = {}
    for names, meaning in re.findall(r"^- ((?:`\w+`(?:, )?)+): (.*?)(?=^- |\n\n|\Z)", text, re.DOTALL | re.MULTILINE):
        for name in re.findall(r"`(\w+)`", names):
            result[name] = " ".join(meaning.split())
    # In the style of Google, as optax has it.
    section = re.search(r"^Args:\n(.*?)(?=^\S|\Z)", text, re.DOTALL | re.MULTILINE)
    arguments = section[1] if section else ""
    for name, meaning in re.findall(r"^ {2,4}(\w+): (.*?)(?=^ {2,4}\w+:|\Z)", arguments, re.DOTALL | re.MULTILINE):
        result.setdefault(name, " ".join(meaning.split()))
    return result


def type_of(parameter: Parameter) -> str:
    """The type of a parameter in words."""
    if parameter.kind == "choice":
        return " or ".join(f"`{choice}`" for choice in parameter.choices)
    if parameter.kind == "component":
        return f"{'an' if parameter.group[0] in 'aeiou' else 'a'} {parameter.group}"
    if parameter.kind == "components":
        return f"{parameter.group}s by name"
    if parameter.kind == "schedule":
        return "number or schedule"
    return TYPES.get(parameter.kind, "anything")


def _as_data(default: Setting) -> JSON:
    """A default as JSON; an object of any other type becomes text."""
    if isinstance(default, (bool, int, float, str, list, dict)) or default is None:
        return default
    return str(default)
