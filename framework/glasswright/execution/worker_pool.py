"""The pool of worker processes of one executor."""

import contextlib
import hashlib
import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

import cloudpickle

from .._errors import RunError, named
from .answer import Answer, Relay
from .task import Item, Output, Task
from .worker import Worker, WorkerDied

# Seconds of work in threads before workers are started: each compiles everything anew, which takes about half as long.
START_AFTER = 30.0
# How often an item may lose its worker: by then it is the item's fault, or memory is short.
MAX_DEATHS = 3

logger = logging.getLogger(__name__)


class WorkerPool:
    """Worker processes that are started once they are worth it.

    Items of a worker that dies are given to others, and another worker takes its place.

    **Arguments:**

    - `size`: how many there may be.
    """

    def __init__(self, size: int):
        self._size = size
        self._seconds = 0.0
        self._workers: list[Worker] = []
        self._starting: list[Future[None]] = []
        self._idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        self._pickled: tuple[object, bytes, bytes] = None, b"", b""
        self._relay = Relay()
        self._lock = threading.Lock()
        self._closed = False

    @property
    def pids(self) -> list[int]:
        """The process identifiers of the workers that have been started."""
        return [worker.pid for worker in self._workers]

    def start_after(self, seconds: float, n_items: int) -> None:
        """Start workers in the background once threads have worked for long enough; at most one for each item."""
        self._seconds += seconds
        if self._seconds < START_AFTER or self._workers or self._closed:
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
        known, digest, content = self._pickled
        try:
            while self._starting:
                self._starting.pop().result()
                self._idle.put(self._workers[len(self._starting)])
            if known is not task:
                content = cloudpickle.dumps(task)
                digest = hashlib.sha256(content).digest()
                self._pickled = task, digest, content
        except Exception as error:
            self.give_up(error)
            return None

        def run(item: Item) -> Output:
            answer = self._run(digest, content, item)
            self._relay.pass_on(answer)
            result: Output = answer.result
            return result

        return run

    def give_up(self, error: Exception) -> None:
        """Remain with threads, and say why."""
        if not self._closed:
            logger.warning("work stays in threads, processes failed: %s", named(error))
            self.shutdown()

    def shutdown(self) -> None:
        """End all workers, for good."""
        with self._lock:
            self._closed = True
            for worker in self._workers:
                worker.end()
            self._workers, self._starting = [], []

    def _run(self, digest: bytes, content: bytes, item: object) -> Answer:
        """The answer of the next idle worker, or of another one if that dies."""
        for attempt in range(1, MAX_DEATHS + 1):
            worker = self._idle.get()
            try:
                return worker.run(digest, content, item)
            except WorkerDied as death:
                if self._closed or attempt == MAX_DEATHS:
                    raise
                logger.warning("%s; another one takes its place, and its work is done again", death)
                worker = self._replace(worker)
            finally:
                self._idle.put(worker)
        raise AssertionError

    def _replace(self, dead: Worker) -> Worker:
        """A worker in the place of one that has died, ready to work."""
        dead.end()
        with self._lock:
            if self._closed:
                return dead
            try:
                worker = Worker()
            except OSError as error:
                raise RunError(f"no worker process can be started: {named(error)}") from error
            self._workers[self._workers.index(dead)] = worker
        # One that dies at once is found out when it is given work.
        with contextlib.suppress(WorkerDied):
            worker.wait()
        return worker
