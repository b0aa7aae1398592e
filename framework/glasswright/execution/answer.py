"""What a process that works for a run sends back: results, errors, and what was logged and printed meanwhile."""

import contextlib
import dataclasses
import io
import logging
import pickle
import sys
import traceback
from collections.abc import Callable
from typing import Any

import cloudpickle

from .._errors import RunError, named


class Unsendable(Exception):
    """The task, or its result, cannot be sent between processes."""


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a worker sends back for one item.

    - `result`: what the task returned; None if it failed.
    - `failure`: what the task raised.
    - `printed`: what was printed meanwhile.
    - `records`: what was logged meanwhile: name of the logger, level and message.
    """

    # Of a task that this process may know as bytes only.
    result: Any = None
    failure: Exception | None = None
    printed: str = ""
    records: tuple[tuple[str, int, str], ...] = ()

    def packed(self) -> bytes:
        """The answer as bytes, for `pickle`; one that does not survive pickling is replaced by one that says so."""
        try:
            content: bytes = cloudpickle.dumps(self)
            if self.failure is not None:
                # Exceptions are often made of other arguments than they keep.
                pickle.loads(content)
            return content
        except Exception as error:
            other = Unsendable(named(error)) if self.failure is None else RunError(named(self.failure))
            return pickle.dumps(dataclasses.replace(self, result=None, failure=other))


def answer_of(compute: Callable[[], object]) -> Answer:
    """Call a function; what it logs and prints goes into the answer."""
    printed, log = io.StringIO(), _Log()
    result: object = None
    failure: Exception | None = None
    with contextlib.redirect_stderr(printed), contextlib.redirect_stdout(printed), log:
        try:
            result = compute()
        except Unsendable as error:
            failure = error
        except Exception as error:
            # A traceback does not survive pickling, a note does.
            error.add_note("In a worker process:\n" + "".join(traceback.format_exception(error)))
            failure = error
    return Answer(result, failure, printed.getvalue(), tuple(log.records))


class Relay:
    """Logs and prints what workers have logged and printed, each line once: all workers say the same."""

    def __init__(self) -> None:
        self._passed_on: set[tuple[str, int, str] | str] = set()

    def pass_on(self, answer: Answer) -> None:
        """Log and print what is new in an answer."""
        for record in answer.records:
            if record not in self._passed_on:
                self._passed_on.add(record)
                name, level, message = record
                logging.getLogger(name).log(level, "%s", message)
        for line in answer.printed.splitlines():
            if line not in self._passed_on:
                self._passed_on.add(line)
                # Not this library's words: they go where the worker would have printed them.
                sys.stderr.write(f"{line}\n")


class _Log(logging.Handler):
    """Collects what the library logs while it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[tuple[str, int, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append((record.name, record.levelno, record.getMessage()))

    def __enter__(self) -> "_Log":
        for logger in _library():
            logger.setLevel(logging.INFO)
            logger.propagate = False
            logger.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        for logger in _library():
            logger.removeHandler(self)


def _library() -> list[logging.Logger]:
    return [logging.getLogger("glasswright"), logging.getLogger("glasswright_plugins")]
