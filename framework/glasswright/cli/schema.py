"""`glasswright schema`: the JSON schema of a composed configuration, or of a preset, for editors that check YAML."""

import json
from collections.abc import Iterable

from .._errors import RequestError, suggestion
from .._types import JSON
from ..commands.command import AUTO
from ..commands.table import COMMANDS, load_command
from ..commands.train import TrainNode
from ..config.data import OVERWRITE
from ..config.nodes import PlotsNode, TermNode, field_types, schedules
from ..config.values import MISSING
from ..evaluation.estimator import NAMES
from ..plots.options import FORMATS, LEAST_WIDTH, MOST_WIDTH, WIDTHS
from ..registry.component import KINDS, Component
from ..registry.describe import describe_component
from ..registry.parameters import Parameter, parameters
from ..registry.registry import registry
from .parser import Parser

DIALECT = "https://json-schema.org/draft/2020-12/schema"
# What a preset may hold in the place of a value: an interpolation, or nothing yet.
OPEN = {"anyOf": [{"const": MISSING}, {"type": "string", "pattern": r"^\$\{.*\}$"}]}
ARRAY = {"anyOf": [{"type": "number"}, {"type": "array", "items": {"$ref": "#/$defs/numbers"}}]}
POSITIVE = {"type": "number", "exclusiveMinimum": 0}


def main(arguments: list[str]) -> int:
    """Print the schema."""
    parser = Parser(prog="glasswright schema", description="JSON schema of a configuration, for editors.")
    parser.add_argument("command", nargs="?", default="train", help=f"whose: {', '.join(COMMANDS)} (default: train)")
    parser.add_argument("--preset", action="store_true", help="of the files in experiment/, in which all is optional")
    given = parser.parse_args(arguments)
    if given.command not in COMMANDS:
        raise RequestError(
            f"{given.command}: no such command with a configuration; {suggestion(given.command, COMMANDS)}"
        )
    print(json.dumps(schema(given.command, preset=given.preset), indent=2))
    return 0


def schema(name: str = "train", *, preset: bool = False) -> dict[str, JSON]:
    """The JSON schema of what a command composes, with every component that is registered here.

    With `preset` that of a file in `experiment/`: everything may be left out, components are known by what chose them.
    """
    kinds = [*KINDS, "schedule"]
    groups = {kind: schedules() if kind == "schedule" else registry().components(kind) for kind in kinds}
    definitions: dict[str, JSON] = {
        kind: {"anyOf": [_component(component, preset) for component in _classes(group.values())]}
        for kind, group in groups.items()
    }
    definitions["numbers"] = ARRAY
    interval = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
    variable = {
        "bounds": interval | {"description": "lower and upper bound"},
        "estimator": {"enum": [*NAMES, None], "description": "how its gradient is obtained; null suits the variable"},
        "width": {"anyOf": [POSITIVE, {"type": "null"}], "description": "relative width of a pair of packings"},
    }
    definitions["bounds"] = {
        "anyOf": [
            interval,
            _object(variable, True, required=["bounds"]),
            {"type": "object", "additionalProperties": {"$ref": "#/$defs/bounds"}},
        ]
    }
    term = {
        "property": {"$ref": "#/$defs/property"},
        "objective": {"anyOf": [{"$ref": "#/$defs/objective"}, {"type": "null"}]},
        "weight": _open({"type": "number", "minimum": 0}, preset),
        "scale": _open(POSITIVE, preset),
    }
    assert set(term) == set(field_types(TermNode).keys())
    shared: dict[str, JSON] = {
        **{kind: {"$ref": f"#/$defs/{kind}"} for kind in sorted(KINDS.keys() - {"property", "objective", "tracker"})},
        "terms": {"type": "object", "additionalProperties": _object(term, preset)},
        "design": {"type": "object", "additionalProperties": {"$ref": "#/$defs/bounds"}},
        "train": _object(_fields(TrainNode, preset), preset),
        "seed": {"type": "integer", "minimum": 0},
        "devices": AUTO,
        "chunk_size": AUTO,
        "plots": _object(_plots(), True),
        "trackers": {"type": "object", "additionalProperties": {"$ref": "#/$defs/tracker"}},
    }
    command = load_command(name)
    keys = {key: value for key, value in shared.items() if key in command.shared} | dict(command.own)
    keys[OVERWRITE] = {"type": "boolean"}
    if preset:
        keys |= {"defaults": {"type": "array"}, "hydra": {"type": "object"}}
    what = "preset" if preset else "configuration"
    title = {"$schema": DIALECT, "title": f"glasswright {name}: {what}"}
    return title | _object(keys, True) | {"$defs": definitions}


def _plots() -> dict[str, JSON]:
    """The keys of `plots`."""
    names = {"enum": list(FORMATS)}
    width = {"type": "number", "minimum": LEAST_WIDTH, "maximum": MOST_WIDTH}
    keys: dict[str, JSON] = {
        "format": {"anyOf": [names, {"type": "array", "items": names, "minItems": 1}]},
        "width": {"anyOf": [{"enum": list(WIDTHS)}, width]},
        "style": {"type": ["string", "null"]},
    }
    assert keys.keys() == field_types(PlotsNode).keys()
    return keys


def _classes(components: Iterable[Component]) -> list[Component]:
    """One component of each class: a class may have several names, whose keys are the same."""
    return list({component.target: component for component in components}.values())


def _component(component: Component, preset: bool) -> dict[str, JSON]:
    described = describe_component(component)
    meanings = {parameter["name"]: parameter["meaning"] for parameter in described["parameters"]}
    properties: dict[str, JSON] = {"_target_": {"const": component.target}}
    for name, parameter in parameters(component).items():
        told = {"description": meanings[name]} if meanings.get(name) else {}
        properties[name] = _open(_value(parameter), preset) | told
    result = _object(properties, preset, required=["_target_"])
    return {"title": component.name, "description": described["summary"]} | result


def _value(parameter: Parameter) -> dict[str, JSON]:
    possible: dict[str, list[dict[str, JSON]]] = {
        "integer": [{"type": "integer"}],
        "number": [{"type": "number"}],
        "boolean": [{"type": "boolean"}],
        "text": [{"type": "string"}],
        "path": [{"type": "string"}],
        "array": [{"$ref": "#/$defs/numbers"}],
        "choice": [{"enum": [choice for choice in parameter.choices if choice is not None]}],
        "component": [{"$ref": f"#/$defs/{parameter.group}"}],
        "components": [{"type": "object", "additionalProperties": {"$ref": f"#/$defs/{parameter.group}"}}],
        "schedule": [{"type": "number"}, {"$ref": "#/$defs/schedule"}],
    }
    options = possible.get(parameter.kind, [])
    if not options:
        return {}
    if parameter.optional:
        options = [*options, {"type": "null"}]
    return options[0] if len(options) == 1 else {"anyOf": options}


def _fields(node: type, preset: bool) -> dict[str, JSON]:
    types: dict[str, dict[str, JSON]] = {
        "int": {"type": "integer"},
        "float": {"type": "number"},
        "float | None": {"type": ["number", "null"]},
        "int | None": {"type": ["integer", "null"]},
    }
    names = {name: str(getattr(kind, "__name__", kind)) for name, kind in field_types(node).items()}
    return {name: _open(types.get(kind, {}), preset) for name, kind in names.items()}


def _open(value: dict[str, JSON], preset: bool) -> dict[str, JSON]:
    return {"anyOf": [value, *OPEN["anyOf"]]} if preset and value else value


def _object(properties: dict[str, JSON], optional: bool, required: list[str] | None = None) -> dict[str, JSON]:
    needed = {} if optional else {"required": required or sorted(properties)}
    return {"type": "object", "properties": properties, "additionalProperties": False} | needed
