"""`glasswright plugins`: every plugin with its components, or with the error that kept it out."""

import argparse
import json
import sys
from typing import Any, NoReturn

from ._errors import RequestError
from .registry import KINDS, Registry, registry


def main(arguments: list[str]) -> int:
    """List the plugins; exit code 0 whatever state they are in."""
    parser = _Parser(prog="glasswright plugins", description="Which components there are, and whose they are.")
    parser.add_argument("--json", action="store_true", help="machine-readable output")
    given = parser.parse_args(arguments)
    listing = describe(registry())
    if given.json:
        print(json.dumps(listing, indent=2))
    elif sys.stdout.isatty():
        _print_table(listing)
    else:
        _print_plain(listing)
    return 0


def describe(components: Registry) -> dict[str, Any]:
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


def _print_plain(listing: dict[str, Any]) -> None:
    for plugin in listing["plugins"]:
        label = f"{plugin['entry_point']}  {plugin['distribution']} {plugin['version']}"
        print(f"{label}  {plugin['status']}  {plugin['error']}".rstrip())
        for kind, names in plugin["components"].items():
            print(f"  {kind}: {', '.join(names)}")


def _print_table(listing: dict[str, Any]) -> None:
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


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise RequestError(f"{self.prog}: {message}")
