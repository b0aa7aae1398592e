"""Worker processes, each bound to a core of its own.

Within one process XLA's threads hand every program from core to core, which costs half as much again as the work itself
(`docs/performance.md`). A worker has one core, and hence one thread. It is told what to do through its standard input,
answers through its standard output, and ends with the process that started it, whatever becomes of that.
"""

import contextlib
import io
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import cloudpickle

from .._errors import RunError, named

# The path comes first: with it, the worker finds whatever its parent finds.
START = (
    "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); "
    "from glasswright.execution.worker import serve; serve()"
)
# Locks that this process holds, for as long as it lives.
_claims: list[IO[str]] = []


class Unsendable(Exception):
    """The work, or what it gave, cannot be sent between processes."""


class Worker:
    """The parent's end of a worker."""

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
        self._sent: set[bytes] = set()
        self._say(sys.path)

    @property
    def pid(self) -> int:
        """The identifier of its process."""
        return self._process.pid

    def wait(self) -> None:
        """Wait until it can work, which takes as long as importing JAX does."""
        self._hear()

    def run(self, name: bytes, work: bytes, item: Any) -> tuple[Any, str]:
        """The result of pickled work, known by a name, on an item, and what was printed meanwhile.

        Raises what the work raises, `Unsendable` if it does not come so far, `RunError` if the worker is gone.
        """
        try:
            task = cloudpickle.dumps((name, None if name in self._sent else work, item))
        except Exception as error:
            raise Unsendable(str(error)) from error
        self._say(task)
        self._sent.add(name)
        result, failure, said = self._hear()
        if failure is not None:
            raise failure
        return result, said

    def end(self) -> None:
        """End the process, at once."""
        self._process.kill()
        self._process.wait()
        for stream in (self._tasks, self._answers):
            with contextlib.suppress(OSError):
                stream.close()

    def _say(self, message: Any) -> None:
        try:
            pickle.dump(message, self._tasks)
            self._tasks.flush()
        except OSError:
            raise self._gone() from None

    def _hear(self) -> Any:
        try:
            return pickle.load(self._answers)
        except (EOFError, pickle.UnpicklingError):
            raise self._gone() from None

    def _gone(self) -> RunError:
        code = self._process.wait()
        how = f"by signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"with exit code {code}"
        hint = "; if memory was short, ask for fewer with devices=" if code == -signal.SIGKILL else ""
        return RunError(f"a worker process was ended {how}{hint}")


def serve() -> None:
    """The worker's end: work until the parent is gone."""
    tasks, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    # Whatever a library prints must not come between the answers.
    os.dup2(2, 1)
    # Meant for the parent, which finishes its step and then ends its workers.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    claim_core()
    known: dict[bytes, Callable[[Any], Any]] = {}
    answer = pickle.dumps(None)
    while True:
        try:
            answers.write(answer)
            answers.flush()
            task = pickle.load(tasks)
        except (EOFError, BrokenPipeError):
            return
        answer = _answer(task, known)


def _answer(task: bytes, known: dict[bytes, Callable[[Any], Any]]) -> bytes:
    """Pickled: result, error, and what was printed."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            name, work, item = pickle.loads(task)
            if work is not None:
                # Kept, and not made anew for every item: what it holds is what compiled functions are known by.
                known[name] = pickle.loads(work)
        except Exception as error:
            return pickle.dumps((None, Unsendable(named(error)), said.getvalue()))
        try:
            result, failure = known[name](item), None
        except Exception as error:
            result, failure = None, error
    try:
        if failure is not None:
            # A traceback does not survive pickling, a note does.
            failure.add_note("In a worker process:\n" + "".join(traceback.format_exception(failure)))
        answer = cloudpickle.dumps((result, failure, said.getvalue()))
        if failure is not None:
            # Exceptions are often made of other arguments than they keep.
            pickle.loads(answer)
        return answer
    except Exception as error:
        # An exception that does not survive pickling, or a result.
        other = Unsendable(named(error)) if failure is None else RunError(named(failure))
        return pickle.dumps((None, other, said.getvalue()))


def claim_core() -> int | None:
    """Bind this process to a core that no other worker on this machine has; None if there is none.

    A claim is a lock on a file, so that several runs on one machine keep out of each other's way, and nothing is left
    of those that are gone. Must be called before JAX's first array: its threads inherit the core.
    """
    if not hasattr(os, "sched_setaffinity"):
        return None
    import fcntl

    folder = Path(tempfile.gettempdir()) / f"glasswright-cores-{os.getuid()}"
    for core in sorted(os.sched_getaffinity(0)):
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            if folder.stat().st_uid != os.getuid():
                return None
            file = (folder / str(core)).open("a")
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue
        _claims.append(file)
        os.sched_setaffinity(0, {core})
        return core
    return None
