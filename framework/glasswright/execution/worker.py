"""Worker processes, each bound to a core of its own.

Within one process XLA's threads hand every program from core to core, which costs half as much again as the work itself
(`docs/performance.md`). A worker has one core, and hence one thread. It receives tasks through its standard input,
answers through its standard output, and ends with the process that started it, however that ends.
"""

import contextlib
import dataclasses
import io
import logging
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cloudpickle

from .._environment import enable_64_bit
from .._errors import RunError, named

if TYPE_CHECKING:
    from filelock import BaseFileLock

# The path comes first: with it, the worker finds whatever its parent finds.
START = (
    "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); "
    "from glasswright.execution.worker import serve; serve()"
)
# Locks that this process holds for as long as it lives.
_claims: list["BaseFileLock"] = []


class Unsendable(Exception):
    """The task, or its result, cannot be sent between processes."""


class WorkerDied(RunError):
    """The worker process has ended before it answered."""


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a worker sends back for one item.

    - `result`: what the task returned; None if it failed.
    - `failure`: what the task raised.
    - `printed`: what was printed meanwhile.
    - `records`: what was logged meanwhile: name of the logger, level and message.
    """

    result: Any = None
    failure: Exception | None = None
    printed: str = ""
    records: tuple[tuple[str, int, str], ...] = ()


class Worker:
    """The parent's end of a worker process."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", START],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "JAX_PLATFORMS": "cpu"},
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._tasks, self._answers = self._process.stdin, self._process.stdout
        self._known: set[bytes] = set()
        self._send(sys.path)

    @property
    def pid(self) -> int:
        """The identifier of its process."""
        return self._process.pid

    def wait(self) -> None:
        """Wait until it can work, which takes as long as importing JAX does."""
        self._receive()

    def run(self, digest: bytes, task: bytes, item: Any) -> Answer:
        """The answer of a pickled task, known by its digest, to an item. The task is sent once.

        Raises what the task raises, `Unsendable` if task, item or result cannot be pickled, `WorkerDied`.
        """
        try:
            message = cloudpickle.dumps((digest, None if digest in self._known else task, item))
        except Exception as error:
            raise Unsendable(str(error)) from error
        self._send(message)
        self._known.add(digest)
        answer: Answer = pickle.loads(self._receive())
        if answer.failure is not None:
            raise answer.failure
        return answer

    def end(self) -> None:
        """End the process at once."""
        self._process.kill()
        self._process.wait()
        for stream in (self._tasks, self._answers):
            with contextlib.suppress(OSError):
                stream.close()

    def _send(self, message: Any) -> None:
        try:
            pickle.dump(message, self._tasks)
            self._tasks.flush()
        except (OSError, ValueError):
            raise self._death() from None

    def _receive(self) -> Any:
        try:
            return pickle.load(self._answers)
        except (OSError, ValueError, EOFError, pickle.UnpicklingError):
            raise self._death() from None

    def _death(self) -> WorkerDied:
        code = self._process.wait()
        how = f"by signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"with exit code {code}"
        hint = "; if memory was short, ask for fewer with devices=" if code == -signal.SIGKILL else ""
        return WorkerDied(f"a worker process was ended {how}{hint}")


def serve() -> None:
    """Run in the worker process: answer until the parent is gone."""
    messages, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    # Whatever a library prints must not come between the answers.
    os.dup2(2, 1)
    # Meant for the parent, which finishes its step and then ends its workers.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    claim_core()
    tasks: dict[bytes, Callable[[Any], Any]] = {}
    # The first answer says that the worker is ready.
    answer = b""
    while True:
        try:
            pickle.dump(answer, answers)
            answers.flush()
            message = pickle.load(messages)
        except (EOFError, BrokenPipeError):
            return
        answer = _answer(message, tasks)


def _answer(message: bytes, tasks: dict[bytes, Callable[[Any], Any]]) -> bytes:
    """The pickled answer to a message."""
    printed, log = io.StringIO(), _Log()
    with contextlib.redirect_stderr(printed), contextlib.redirect_stdout(printed), log:
        result, failure = _result(message, tasks)
    answer = Answer(result, failure, printed.getvalue(), tuple(log.records))
    try:
        content: bytes = cloudpickle.dumps(answer)
        if failure is not None:
            # Exceptions are often made of other arguments than they keep.
            pickle.loads(content)
        return content
    except Exception as error:
        # A result, or an exception, that does not survive pickling.
        other = Unsendable(named(error)) if failure is None else RunError(named(failure))
        return pickle.dumps(dataclasses.replace(answer, result=None, failure=other))


def _result(message: bytes, tasks: dict[bytes, Callable[[Any], Any]]) -> tuple[Any, Exception | None]:
    """The task's result for an item, or what went wrong."""
    try:
        digest, task, item = pickle.loads(message)
        if task is not None:
            # Kept, and not made anew for every item: compiled functions are found again by what the task holds.
            tasks[digest] = pickle.loads(task)
    except Exception as error:
        return None, Unsendable(named(error))
    # A module that the task has brought along may have turned them off.
    enable_64_bit()
    try:
        return tasks[digest](item), None
    except Exception as error:
        # A traceback does not survive pickling, a note does.
        error.add_note("In a worker process:\n" + "".join(traceback.format_exception(error)))
        return None, error


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


def claim_core() -> int | None:
    """Bind this process to a core that no other worker on this machine has; None if there is none.

    A claim is a lock on a file, so that several runs on one machine keep out of each other's way, and nothing is left
    of those that are gone. Must be called before JAX's first array: its threads inherit the core.
    """
    if not hasattr(os, "sched_setaffinity"):
        return None
    from filelock import FileLock, Timeout

    folder = Path(tempfile.gettempdir()) / f"glasswright-cores-{os.getuid()}"
    for core in sorted(os.sched_getaffinity(0)):
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            if folder.stat().st_uid != os.getuid():
                return None
            lock = FileLock(folder / str(core))
            lock.acquire(blocking=False)
        except (OSError, NotImplementedError, Timeout):
            continue
        _claims.append(lock)
        os.sched_setaffinity(0, {core})
        return core
    return None
