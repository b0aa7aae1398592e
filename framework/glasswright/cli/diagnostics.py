"""Diagnostics of the library on the terminal: the only place that decides how they look."""

import contextlib
import logging
import sys
import warnings
from collections.abc import Iterator
from typing import TextIO

from .._compiled import remove_unreadable

LOGGERS = ("glasswright", "glasswright_plugins")


class _StandardError(logging.Handler):
    """Writes `glasswright: …` or, for warnings, `glasswright: warning: …` on standard error.

    More serious records are errors, which end a command and are shown by it.
    """

    # What comes before the message of one of several jobs, such as `job 3: `.
    job = ""

    def emit(self, record: logging.LogRecord) -> None:
        word = "" if record.levelno < logging.WARNING else f"{record.levelname.lower()}: "
        # Looked up at each record: somebody may have redirected it.
        print(f"glasswright: {word}{self.job}{record.getMessage()}", file=sys.stderr)


@contextlib.contextmanager
def diagnostics() -> Iterator[None]:
    """Show notes and warnings of the library on standard error, and nowhere else, while a command runs."""
    if _handlers():  # a job of a sweep, in the process of its command
        yield
        return
    handler = _StandardError()
    show = warnings.showwarning

    def show_warning(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        # What cannot be loaded is compiled again.
        if not remove_unreadable(str(message)):
            show(message, category, filename, lineno, file, line)

    warnings.showwarning = show_warning
    before = [(logger, logger.level, logger.propagate) for logger in map(logging.getLogger, LOGGERS)]
    for logger, _, _ in before:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        # Hydra shows what reaches the root logger on standard output.
        logger.propagate = False
    try:
        yield
    finally:
        warnings.showwarning = show
        for logger, level, propagate in before:
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate


@contextlib.contextmanager
def diagnostics_of_job(number: int) -> Iterator[None]:
    """As `diagnostics`, for a job of a sweep, in whatever process a launcher runs it: messages carry its number."""
    with diagnostics():
        handlers = _handlers()
        for handler in handlers:
            handler.job = f"job {number}: "
        try:
            yield
        finally:
            for handler in handlers:
                handler.job = ""


def _handlers() -> list[_StandardError]:
    """The handlers that are installed: one while a command runs."""
    return [handler for handler in logging.getLogger(LOGGERS[0]).handlers if isinstance(handler, _StandardError)]
