"""`glasswright plugins`: every plugin with its components, one component in full, or a new package to begin with."""

import argparse
import json
import sys

from .._errors import RequestError, suggestion
from .._types import JSON
from ..registry.component import KINDS
from ..registry.describe import describe_component
from ..registry.registry import Registry, registry
from .parser import Parser


def main(arguments: list[str]) -> int:
    """List the plugins; exit code 0 whatever state they are in."""
    parser = Parser(prog="glasswright plugins", description="Which components there are, and whose they are.")
    parser.add_argument("--json", action="store_true", help="machine-readable output")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    show = commands.add_parser("show", help="all about one component, or one plugin")
    show.add_argument("name", metavar="NAME", help="component (pressure, property=pressure), or plugin")
    show.add_argument("--json", action="store_true", help="machine-readable output", default=argparse.SUPPRESS)
    new = commands.add_parser("new", help="write a complete package with a component of your own")
    new.add_argument("name", metavar="NAME", help="what the component will be called")
    new.add_argument("--kind", default="property", help="kind of component, such as potential (default: property)")
    new.add_argument("--directory", default=None, help="where to write it (default: ./glasswright-NAME)")
    first = next((argument for argument in arguments if not argument.startswith("-")), None)
    if first is not None and first not in commands.choices:
        raise RequestError(f"plugins {first}: no such command; {suggestion(first, commands.choices)}")
    given = parser.parse_args(arguments)
    if given.command == "new":
        from .new_plugin import new_plugin

        new_plugin(given.name, given.kind, given.directory)
        return 0
    if given.command == "show":
        matches = find(registry(), given.name)
        print(json.dumps(matches, indent=2) if given.json else "\n\n".join(map(_text, matches)))
        return 0
    listing = describe(registry())
    if given.json:
        print(json.dumps(listing, indent=2))
    elif sys.stdout.isatty():
        _print_table(listing)
    else:
        _print_plain(listing)
    return 0


def describe(components: Registry) -> dict[str, JSON]:
    """The plugins and the components of each, as plain data."""
    plugins = []
    for plugin in components.plugins:
        owned = {
            kind: [
                name
                for name, component in components.components(kind).items()
                if (component.entry_point, component.distribution) == (plugin.entry_point, plugin.distribution)
            ]
            for kind in KINDS
        }
        plugins.append(
            {
                "entry_point": plugin.entry_point,
                "distribution": plugin.distribution,
                "version": plugin.version,
                "status": plugin.status,
                "error": plugin.error,
                "components": {kind: names for kind, names in owned.items() if names},
            }
        )
    return {"plugins": plugins, "components": {kind: list(components.components(kind)) for kind in KINDS}}


def find(components: Registry, name: str) -> list[dict[str, JSON]]:
    """Every component and plugin of a name; `kind=name` looks among one kind only."""
    given_kind, _, bare = name.rpartition("=")
    if given_kind and given_kind not in KINDS:
        raise RequestError(f"{name}: no such kind of component; {suggestion(given_kind, KINDS)}")
    kinds = [given_kind] if given_kind else list(KINDS)
    matches: list[dict[str, JSON]] = [
        {**describe_component(group[bare])} for kind in kinds if bare in (group := components.components(kind))
    ]
    plugins = describe(components)["plugins"]
    # A broken plugin is shown for whatever it tried to register, too.
    for plugin, record in zip(plugins, components.plugins, strict=True):
        tried = any(attempt in record.attempted for attempt in ((kind, bare) for kind in kinds))
        if (name in (plugin["entry_point"], plugin["distribution"])) or (plugin["status"] == "failed" and tried):
            matches.append({"kind": "plugin", **plugin})
    if not matches:
        known = [component for kind in kinds for component in components.components(kind)]
        known += [record.entry_point for record in components.plugins if not given_kind]
        broken = "".join(f"; {p.label} could not be loaded: {p.error}" for p in components.plugins if p.error)
        what = f"no such {given_kind}" if given_kind else "no such component or plugin"
        raise RequestError(f"{name}: {what}; {suggestion(bare, known)}{broken}")
    return matches


def _text(described: dict[str, JSON]) -> str:
    if described["kind"] == "plugin":
        lines = [
            f"plugin {described['entry_point']} ({described['distribution']} {described['version']}): "
            f"{described['status']}"
        ]
        lines += [described["error"]] if described["error"] else []
        return "\n".join(
            [*lines, *(f"  {kind}: {', '.join(names)}" for kind, names in described["components"].items())]
        )
    lines = [
        f"{described['kind']} {described['name']}",
        f"from {described['distribution']} {described['version']}: {described['class']}",
    ]
    lines += [f"{fact}: {described[fact]}" for fact in ("units", "source") if described[fact]]
    lines += ["", described["docstring"] or "(no docstring)"]
    if described["parameters"]:
        lines += ["", "parameters:"]
    for parameter in described["parameters"]:
        default = "required" if parameter["required"] else f"default {_shown(parameter['default'])}"
        units = f", {parameter['units']}" if parameter["units"] else ""
        lines.append(f"  {parameter['name']}: {parameter['type'].replace('`', '')}{units} ({default})")
    return "\n".join(lines)


def _shown(value: JSON) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _print_plain(listing: dict[str, JSON]) -> None:
    for plugin in listing["plugins"]:
        label = f"{plugin['entry_point']}  {plugin['distribution']} {plugin['version']}"
        print(f"{label}  {plugin['status']}  {plugin['error']}".rstrip())
        for kind, names in plugin["components"].items():
            print(f"  {kind}: {', '.join(names)}")


def _print_table(listing: dict[str, JSON]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("entry point", "distribution", "version", "status", "components or error", show_lines=True)
    for plugin in listing["plugins"]:
        owned = "\n".join(f"{kind}: {', '.join(names)}" for kind, names in plugin["components"].items())
        colour = {"loaded": "green", "failed": "red"}.get(plugin["status"], "yellow")
        table.add_row(
            Text(plugin["entry_point"]),
            Text(plugin["distribution"]),
            Text(plugin["version"]),
            Text(plugin["status"], style=colour),
            Text(plugin["error"] or owned),
        )
    Console().print(table)
