"""Diagnostics of the library on the terminal: the only place that decides how they look."""

import contextlib
import logging
import sys
import warnings
from collections.abc import Iterator
from typing import Any

from .._compiled import remove_unreadable

LOGGERS = ("glasswright", "glasswright_plugins")


class _StandardError(logging.Handler):
    """Writes `glasswright: …` or, for warnings, `glasswright: warning: …` on standard error.

    More serious records are errors, which end a command and are shown by it.
    """

    def emit(self, record: logging.LogRecord) -> None:
        word = "" if record.levelno < logging.WARNING else f"{record.levelname.lower()}: "
        # Looked up at each record: somebody may have redirected it.
        print(f"glasswright: {word}{record.getMessage()}", file=sys.stderr)


@contextlib.contextmanager
def diagnostics() -> Iterator[None]:
    """Show notes and warnings of the library on standard error, and nowhere else, while a command runs."""
    handler = _StandardError()
    show = warnings.showwarning

    def show_warning(message: Warning | str, *where: Any, **others: Any) -> None:
        # What cannot be loaded is compiled again.
        if not remove_unreadable(str(message)):
            show(message, *where, **others)

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
