import hashlib
import queue
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import cloudpickle

from .._errors import RunError, named
from .worker import Item, Work, Worker

# Seconds of work in threads before workers are started. These compile everything anew, which takes about half as long.
HIRE_AFTER = 30.0


class Crew:
    """The workers of a team, once they are worth their start.

    **Arguments:**

    - `size`: how many there may be.
    """

    def __init__(self, size: int):
        self._size = size
        self._seconds = 0.0
        self._workers: list[Worker] = []
        self._starting: list[Future[None]] = []
        self._idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        self._work: tuple[Any, bytes, bytes] = None, b"", b""
        self._printed: set[str] = set()
        self._given_up = False

    def hire_after(self, seconds: float, n_items: int) -> None:
        """Start workers, in the background, once work in threads has taken long enough; never more than items."""
        self._seconds += seconds
        if self._seconds < HIRE_AFTER or self._workers or self._given_up:
            return
        try:
            for _ in range(min(self._size, n_items)):
                self._workers.append(Worker())
        except (OSError, RunError) as error:
            self.give_up(error)
            return
        waiting = ThreadPoolExecutor(len(self._workers), "hire")
        self._starting = [waiting.submit(worker.wait) for worker in self._workers]
        waiting.shutdown(wait=False)

    def wait(self) -> None:
        """Until all that have been started can work."""
        wait(self._starting)

    def asked(self, work: Work[Item, Any]) -> Callable[[Item], Any] | None:
        """The same as `work`, done by whichever worker is idle; None while there are none."""
        if not self._workers or not all(one.done() for one in self._starting):
            return None
        known, name, content = self._work
        try:
            while self._starting:
                self._starting.pop().result()
                self._idle.put(self._workers[len(self._starting)])
            if known is not work:
                content = cloudpickle.dumps(work)
                name = hashlib.sha256(content).digest()
                self._work = work, name, content
        except Exception as error:
            self.give_up(error)
            return None

        def ask(item: Item) -> Any:
            worker = self._idle.get()
            try:
                result, printed = worker.run(name, content, item)
            finally:
                self._idle.put(worker)
            self._print(printed)
            return result

        return ask

    def give_up(self, error: Exception) -> None:
        """Remain with threads, and say why."""
        if not self._given_up:
            self._given_up = True
            print(f"glasswright: warning: lanes stay threads, processes failed: {named(error)}", file=sys.stderr)
            self.dismiss()

    def dismiss(self) -> None:
        """End all workers."""
        for worker in self._workers:
            worker.end()
        self._workers, self._starting = [], []

    def _print(self, text: str) -> None:
        """What a worker printed, but no line twice: each of them says what the first has said."""
        for line in text.splitlines():
            if line not in self._printed:
                self._printed.add(line)
                print(line, file=sys.stderr)
