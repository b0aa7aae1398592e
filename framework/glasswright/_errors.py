"""Errors that end a command, and how errors are put into one line."""

import difflib
from collections.abc import Iterable


class RequestError(ValueError):
    """The request was wrong: one clear line that names the key, what was given and what is possible (exit code 2)."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in the place of a traceback."""
        return [named(self)]


class RunError(RuntimeError):
    """The run itself failed: one clear line (exit code 1)."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in the place of a traceback."""
        return [named(self)]


class Stopped(Exception):
    """A signal ended the run early and nothing is lost: one line that says how to resume it (exit code 0)."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C ended the run early and nothing is lost: one line that says how to resume it (exit code 130)."""


# Characters of a message that are shown: some libraries put whole arrays into theirs.
LONGEST = 300


def one_line(error: BaseException, limit: int | None = None) -> str:
    """The message of an exception on one line, cut at `limit` characters."""
    text = " ".join(str(error).split())
    return text if limit is None or len(text) <= limit else text[: limit - 1] + "…"


def named(error: BaseException, limit: int | None = None) -> str:
    """The type and the message of an exception on one line: `TypeError: …`."""
    text = one_line(error, limit)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def suggestion(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: `did you mean 'x'? possible: a, b, x`."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}possible: {', '.join(known) if known else '(none)'}"
