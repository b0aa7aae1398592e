"""The pool of worker processes of one executor."""

import hashlib
import queue
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import cloudpickle

from .._errors import RunError, named
from .task import Item, Output, Task
from .worker import Worker

# Seconds of work in threads before workers are started: each compiles everything anew, which takes about half as long.
START_AFTER = 30.0


class WorkerPool:
    """Worker processes that are started once they are worth it.

    **Arguments:**

    - `size`: how many there may be.
    """

    def __init__(self, size: int):
        self._size = size
        self._seconds = 0.0
        self._workers: list[Worker] = []
        self._starting: list[Future[None]] = []
        self._idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        self._sent: tuple[Any, bytes, bytes] = None, b"", b""
        self._printed: set[str] = set()
        self._given_up = False

    @property
    def pids(self) -> list[int]:
        """The process identifiers of the workers that have been started."""
        return [worker.pid for worker in self._workers]

    def start_after(self, seconds: float, n_items: int) -> None:
        """Start workers in the background once threads have worked for long enough; at most one for each item."""
        self._seconds += seconds
        if self._seconds < START_AFTER or self._workers or self._given_up:
            return
        try:
            for _ in range(min(self._size, n_items)):
                self._workers.append(Worker())
        except (OSError, RunError) as error:
            self.give_up(error)
            return
        waiting = ThreadPoolExecutor(len(self._workers), "start")
        self._starting = [waiting.submit(worker.wait) for worker in self._workers]
        waiting.shutdown(wait=False)

    def wait(self) -> None:
        """Wait until all workers that have been started can work."""
        wait(self._starting)

    def remote(self, task: Task[Item, Output]) -> Callable[[Item], Output] | None:
        """The task as a function that the next idle worker runs; None while there are no workers."""
        if not self._workers or not all(start.done() for start in self._starting):
            return None
        known, digest, content = self._sent
        try:
            while self._starting:
                self._starting.pop().result()
                self._idle.put(self._workers[len(self._starting)])
            if known is not task:
                content = cloudpickle.dumps(task)
                digest = hashlib.sha256(content).digest()
                self._sent = task, digest, content
        except Exception as error:
            self.give_up(error)
            return None

        def run(item: Item) -> Any:
            worker = self._idle.get()
            try:
                result, printed = worker.run(digest, content, item)
            finally:
                self._idle.put(worker)
            self._print(printed)
            return result

        return run

    def give_up(self, error: Exception) -> None:
        """Remain with threads, and say why."""
        if not self._given_up:
            self._given_up = True
            print(f"glasswright: warning: work stays in threads, processes failed: {named(error)}", file=sys.stderr)
            self.shutdown()

    def shutdown(self) -> None:
        """End all workers."""
        for worker in self._workers:
            worker.end()
        self._workers, self._starting = [], []

    def _print(self, text: str) -> None:
        """Print what a worker printed, each line once: all workers print the same warnings."""
        for line in text.splitlines():
            if line not in self._printed:
                self._printed.add(line)
                print(line, file=sys.stderr)
