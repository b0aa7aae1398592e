"""Worker processes, each bound to a core of its own.

Within one process XLA's threads hand every program from core to core, which costs half as much again as the work itself
(`docs/performance.md`). A worker has one core, and hence one thread. It receives tasks through its standard input,
answers through its standard output, and ends with the process that started it, however that ends.
"""

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import cloudpickle

from .._environment import enable_64_bit
from .._errors import RunError, named
from .answer import Answer, Unsendable, answer_of

if TYPE_CHECKING:
    from filelock import BaseFileLock

# The path comes first: with it, the worker finds whatever its parent finds.
START = (
    "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); "
    "from glasswright.execution.worker import serve; serve()"
)
# Locks that this process holds for as long as it lives.
_claims: list["BaseFileLock"] = []


class WorkerDied(RunError):
    """The worker process has ended before it answered."""


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

    def run(self, digest: bytes, task: bytes, item: object) -> Answer:
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

    def _send(self, message: object) -> None:
        try:
            pickle.dump(message, self._tasks)
            self._tasks.flush()
        except (OSError, ValueError):
            raise self._death() from None

    def _receive(self) -> bytes:
        try:
            message: bytes = pickle.load(self._answers)
        except (OSError, ValueError, EOFError, pickle.UnpicklingError):
            raise self._death() from None
        return message

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
    tasks: dict[bytes, Callable[[object], object]] = {}
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


def _answer(message: bytes, tasks: dict[bytes, Callable[[object], object]]) -> bytes:
    """The pickled answer to a message."""
    return answer_of(lambda: _result(message, tasks)).packed()


def _result(message: bytes, tasks: dict[bytes, Callable[[object], object]]) -> object:
    """The task's result for an item."""
    try:
        digest, task, item = pickle.loads(message)
        if task is not None:
            # Kept, and not made anew for every item: compiled functions are found again by what the task holds.
            tasks[digest] = pickle.loads(task)
    except Exception as error:
        raise Unsendable(named(error)) from error
    # A module that the task has brought along may have turned them off.
    enable_64_bit()
    return tasks[digest](item)


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
