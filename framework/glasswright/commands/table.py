"""The table of configured commands: name, summary, and where the `Command` is. Nothing is imported before it is used.

The usage text, dispatch, completion, the schema and the API follow this table: a new command is a file with a
`Command`, and one entry here.
"""

import dataclasses
import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .._errors import RequestError, suggestion
from .._types import Setting

if TYPE_CHECKING:
    from .command import AnyCommand


@dataclasses.dataclass(frozen=True)
class Entry:
    """A name of the command line, what it does in a few words, and where that is defined: `module:attribute`."""

    name: str
    summary: str
    path: str

    # `Any`: what it is, whoever makes the table knows.
    def load(self) -> Any:
        """What stands at the path; imports its module."""
        module, _, attribute = self.path.partition(":")
        return getattr(importlib.import_module(module), attribute)


def table(*entries: Entry) -> dict[str, Entry]:
    """Entries by name."""
    return {entry.name: entry for entry in entries}


COMMANDS = table(
    Entry(
        "train",
        "find interactions that give packings the properties somebody wants",
        "glasswright.commands.train:TRAIN",
    ),
    Entry(
        "validate",
        "what a trained design gives on packings that it has never seen",
        "glasswright.commands.validate:VALIDATE",
    ),
    Entry(
        "measure",
        "properties of an existing packing, and their gradients",
        "glasswright.commands.measure:MEASURE",
    ),
    Entry(
        "analyse",
        "what a packing or an ensemble can become and at what cost; its bonds and vibrations",
        "glasswright.commands.analyse:ANALYSE",
    ),
)


def load_command(name: str) -> "AnyCommand":
    """The configured command of that name."""
    if name not in COMMANDS:
        raise RequestError(f"command={name!r}: no such command; {suggestion(name, COMMANDS)}")
    command: AnyCommand = COMMANDS[name].load()
    return command


def command_of(configuration: Mapping[str, Setting]) -> str | None:
    """The name of the command that a run directory's configuration is of."""
    return next((name for name in COMMANDS if load_command(name).recognise(configuration)), None)
