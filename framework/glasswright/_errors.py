import difflib
from collections.abc import Iterable


class RequestError(ValueError):
    """The request was wrong: one clear line that names the key, what was given and what is possible (exit code 2)."""


class RunError(RuntimeError):
    """The run itself failed: one clear line (exit code 1)."""


class Stopped(Exception):
    """A signal ended the run early, in good order: one line that says how to go on (exit code 0)."""


# Some libraries put whole arrays into their messages.
LONGEST = 300


def one_line(error: BaseException, limit: int | None = None) -> str:
    """What an exception says, on one line, and cut where it is longer than `limit`."""
    text = " ".join(str(error).split())
    return text if limit is None or len(text) <= limit else text[: limit - 1] + "…"


def named(error: BaseException, limit: int | None = None) -> str:
    """The same behind the exception's type: `TypeError: …`."""
    text = one_line(error, limit)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def suggestion(name: str, known: Iterable[str]) -> str:
    """`Did you mean 'x'? Possible: a, b, x.` for an unknown name."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}possible: {', '.join(known) if known else '(none)'}"
