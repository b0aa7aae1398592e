"""What the shell may offer where Hydra does not answer: commands, and the words that come after `plugins`."""

import os
from collections.abc import Iterable

from ..commands.table import COMMANDS

OPTIONS = ("--help", "--version")


def complete_words(arguments: list[str], commands: Iterable[str]) -> bool:
    """Answer the shell's question if it is about a word that Hydra knows nothing of; returns whether it was."""
    question = next((argument for argument in arguments if argument.startswith("query=")), None)
    if question is None:
        return False
    line = os.environ.get("COMP_LINE", "")
    # The word under the cursor is the last one; empty behind a blank.
    words = [*line.split(), ""] if line.endswith(" ") else line.split()
    if len(words) < 2:
        return False
    candidates = _candidates(words[1:-1], commands)
    if candidates is None:
        return False
    matches = [word for word in candidates if word.startswith(words[-1])]
    print(("\n" if question == "query=fish" else " ").join(matches))
    return True


def _candidates(before: list[str], commands: Iterable[str]) -> list[str] | None:
    """What may follow these words; None where Hydra is to say."""
    if not before:
        return [*sorted(commands), *OPTIONS]
    if before[0] == "plugins":
        from ..registry.component import KINDS
        from ..registry.registry import registry
        from .new_plugin import FIRST_USE

        if before[-1] == "--kind":
            return list(FIRST_USE)
        names = sorted({name for kind in KINDS for name in registry().components(kind)})
        known = {"show": names, "new": ["--directory", "--kind"]}
        return ["--json", "new", "show"] if len(before) == 1 else known.get(before[1], [])
    if before[0] == "schema":
        return ["--preset", *sorted(COMMANDS)]
    return None if before[0] in COMMANDS else []
