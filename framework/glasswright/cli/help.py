"""`glasswright COMMAND --help`: how a command is used, what can be chosen, and each key with its value and meaning."""

import inspect
import json
import re
import textwrap
from collections.abc import Iterator, Mapping

from .._types import Setting
from ..commands.command import AnyCommand
from ..commands.table import COMMANDS
from ..components.objective import Term
from ..config.data import OVERWRITE, Config, resolved
from ..config.nodes import schedules
from ..jobs.experiment import Experiment
from ..plots.options import PlotOptions
from ..registry.component import KINDS, Component
from ..registry.describe import descriptions, docstring
from ..registry.parameters import parameters
from ..registry.registry import Registry

WIDTH = 110
# Where descriptions begin, behind `key=value`.
COLUMN = 42
TARGET = "_target_"
# A key that is filled in from the directory of a run, and is nobody's to give.
FILLED_IN = "trained"
REQUIRED = "???"

# Lines of a section: `key=value` and its description.
Lines = list[tuple[str, str]]


def help_text(name: str, command: AnyCommand, config: Config, components: Registry, presets: list[str]) -> str:
    """The text of `--help`.

    **Arguments:**

    - `config`: what the command composes, whose values are shown.
    - `presets`: the names that `experiment` can have.
    """
    data = resolved(config)
    lines = [
        f"glasswright {name}: {COMMANDS[name].summary}",
        "",
        f"usage: glasswright {name} [KEY=VALUE ...] [--multirun] [--cfg job] [--hydra-help]",
    ]
    of_run = _is_required(config, "run")
    if "experiment" in _choices(config) and not of_run:
        lines += ["", "presets: experiment=NAME", *_wrapped(", ".join(presets))]
    kinds = [
        kind
        for kind in KINDS
        if kind in command.shared or f"{kind}s" in command.shared or _is_chosen(data, kind) or kind == "property"
    ]
    kinds += ["objective"] if "terms" in command.shared else []
    if of_run:
        kinds = ["property"]
    lines += ["", "components: KIND=NAME (`glasswright plugins show NAME` describes one)"]
    for kind in kinds:
        lines += _wrapped(f"{kind}: {', '.join(components.components(kind))}", indent="    ")
    if of_run:
        own = [*command.own, OVERWRITE]
        data = {key: data[key] for key in own if key in data}
    for title, rows in _sections(data, command, components):
        lines += ["", title, *(line for key, meaning in rows for line in _row(key, meaning))]
    if of_run:
        lines += ["", "Every other key is that of the run and can be overridden: glasswright train --help lists them."]
    return "\n".join([*lines, ""])


def _sections(data: Mapping[str, Setting], command: AnyCommand, components: Registry) -> Iterator[tuple[str, Lines]]:
    """The keys by topic: those of the command, the system, the design, and each component."""
    by_target = {component.target: component for kind in KINDS for component in components.components(kind).values()}
    by_target |= {component.target: component for component in schedules().values()}
    of_experiment = _of_class(Experiment)
    meanings = of_experiment | {name: str(schema.get("description", "")) for name, schema in command.own.items()}
    meanings[OVERWRITE] = "whether an earlier run in the run directory is removed"
    single = {key: value for key, value in data.items() if not isinstance(value, Mapping) and key != FILLED_IN}
    single |= {key: data[key] for key in command.own if isinstance(data.get(key), Mapping) and key != FILLED_IN}
    yield "the run", [(_pair(key, value), meanings.get(key, "")) for key, value in single.items()]
    if "train" in data:
        yield "train", [(_pair(f"train.{key}", v), of_experiment.get(key, "")) for key, v in data["train"].items()]
    if "design" in data and "design" not in command.own:
        bounds = [(_pair(f"design.{key}", value), "lower and upper bound") for key, value in data["design"].items()]
        yield "design: which parameters are varied", bounds or [("design.NAME=[LOWER,UPPER]", "a parameter to vary")]
    if "plots" in data:
        of_plots = _of_class(PlotOptions)
        yield "plots", [(_pair(f"plots.{key}", value), of_plots[key]) for key, value in data["plots"].items()]
    for kind in KINDS:
        if _is_chosen(data, kind):
            yield from _of_component(data[kind], kind, by_target)
    for name, node in (data.get("trackers") or {}).items():
        yield from _of_component(node, f"trackers.{name}", by_target)
    of_term = _of_class(Term)
    for name, term in (data.get("terms") or {}).items():
        path = f"terms.{name}"
        for part in ("property", "objective"):
            if isinstance(term.get(part), Mapping):
                yield from _of_component(term[part], f"{path}.{part}", by_target)
        yield path, [(_pair(f"{path}.{key}", term[key]), of_term[key]) for key in ("weight", "scale") if key in term]


def _of_component(
    node: Mapping[str, Setting], path: str, by_target: Mapping[str, Component]
) -> Iterator[tuple[str, Lines]]:
    """The keys of a component, and those of the components that it is made of."""
    component = by_target.get(str(node.get(TARGET)))
    meanings = {} if component is None else descriptions(docstring(component))
    # What follows the system is set there.
    following = set() if component is None else {key for key, p in parameters(component).items() if p.follows_system}
    rows = [
        (_pair(f"{path}.{key}", value), meanings.get(key, ""))
        for key, value in node.items()
        if key != TARGET and key not in following and not isinstance(value, Mapping)
    ]
    if rows:
        yield f"{path}={component.name if component else node.get(TARGET)}", rows
    for key, value in node.items():
        if isinstance(value, Mapping) and TARGET in value:
            yield from _of_component(value, f"{path}.{key}", by_target)


def _of_class(cls: type) -> dict[str, str]:
    return descriptions(inspect.cleandoc(cls.__doc__ or ""))


def _pair(key: str, value: Setting) -> str:
    """`key=value` as it is typed, for values that a configuration can hold."""
    if value == REQUIRED:
        return f"{key}=… (required)"
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":")).replace('"', "")
    return f"{key}={text}"


def _row(pair: str, meaning: str) -> list[str]:
    """A key and the first sentence about it, in as many lines as it takes."""
    sentence = re.split(r"(?<=[^.])[.;:]\s", f"{meaning} ", maxsplit=1)[0].strip().rstrip(".").replace("`", "")
    first = f"  {pair}"
    if not sentence:
        return [first]
    blank = " " * COLUMN
    wrapped = textwrap.wrap(sentence, WIDTH - COLUMN)
    if len(first) + 2 > COLUMN:
        return [first, *(blank + line for line in wrapped)]
    return [first.ljust(COLUMN) + wrapped[0], *(blank + line for line in wrapped[1:])]


def _wrapped(text: str, indent: str = "  ") -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent=indent)


def _choices(config: Config) -> Mapping[str, Setting]:
    choices: Mapping[str, Setting] = config["hydra"]["runtime"]["choices"]
    return choices


def _is_chosen(data: Mapping[str, Setting], kind: str) -> bool:
    return isinstance(data.get(kind), Mapping) and TARGET in data[kind]


def _is_required(config: Config, key: str) -> bool:
    return resolved(config).get(key) == REQUIRED
