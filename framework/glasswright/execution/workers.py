"""What works for one process of a run: the interface, and the threads and worker processes of this machine."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

import jax

from .answer import Unsendable
from .task import Item, Local, Result, Task
from .worker_pool import WorkerPool

# Threads for each core at most: more than one gains nothing, but shows that results do not depend on it.
MAX_OVERSUBSCRIPTION = 8


def available_devices() -> int:
    """The number of accelerators or, without any, of CPU cores that this process may use."""
    return available_cores() if jax.default_backend() == "cpu" else jax.local_device_count()


def available_cores() -> int:
    """The number of CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class AbstractWorkers(ABC):
    """What maps functions over items for one process of a run, until it is closed.

    **Attributes:**

    - `n_workers`: how many items are worked on at a time.
    - `accelerators`: devices of this process on which many configurations are prepared side by side.
    """

    accelerators: Sequence[jax.Device] = ()

    @property
    @abstractmethod
    def n_workers(self) -> int:
        """How many items are worked on at a time, at least one; it may change."""

    @abstractmethod
    def map(
        self, function: Callable[[Item], Result[Local]], items: Sequence[Item], *, local: bool = False
    ) -> list[Result[Local]]:
        """The function's result for every item, in the order of the items. Raises what the function raises.

        Only a `Task` gives the same results in other processes; any other function has to be called in this one.
        `local` says that items or results are large: their way between processes costs more than most.
        """

    def fetch(self, kept: object) -> object:
        """What a `Kept` stands for; any other object as it is."""
        return kept

    def close(self) -> None:  # noqa: B027
        """End the work, whatever is under way; by default nothing happens."""


class LocalWorkers(AbstractWorkers):
    """Threads first, worker processes for work that goes on for longer, and accelerators.

    **Arguments:**

    - `n_workers`: how many items this process works on at a time; None takes one for each device.
    - `accelerators`: devices on which many configurations are prepared side by side; None takes all there are.
    - `pool`: worker processes to use; None makes a pool of its own.
    """

    def __init__(
        self,
        n_workers: int | None = None,
        accelerators: Sequence[jax.Device] | None = None,
        pool: WorkerPool | None = None,
    ):
        self._n_workers = available_devices() if n_workers is None else n_workers
        if accelerators is None:
            accelerators = [] if jax.default_backend() == "cpu" else jax.local_devices()[: self._n_workers]
        self.accelerators = list(accelerators)
        parallel = self._n_workers > 1 or pool is not None
        self._threads = ThreadPoolExecutor(self._n_workers, "worker") if parallel else None
        self._compiled = False
        self.pool = pool or WorkerPool(min(self._n_workers, available_cores()))

    @property
    def n_workers(self) -> int:
        """How many items are worked on at a time."""
        return self._n_workers

    def close(self) -> None:
        """End the worker processes; threads end with what they are doing."""
        self.pool.shutdown()
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    def map(
        self, function: Callable[[Item], Result[Local]], items: Sequence[Item], *, local: bool = False
    ) -> list[Result[Local]]:
        """The function's result for every item. With `local` nothing is sent to worker processes."""
        if self._threads is None:
            return [function(item) for item in items]
        sendable = isinstance(function, Task) and len(items) > 1 and not (local or self.accelerators)
        task = function if isinstance(function, Task) and sendable else None
        if task is not None:
            remote = self.pool.remote(task)
            if remote is not None:
                try:
                    return list(self._threads.map(remote, items))
                except Unsendable as error:
                    self.pool.give_up(error)
        begin = perf_counter()
        # The first item compiles; several at once would each do so.
        head = [] if self._compiled else [function(item) for item in items[:1]]
        self._compiled = self._compiled or bool(items)
        results = head + list(self._threads.map(function, items[len(head) :]))
        if task is not None:
            self.pool.start_after(perf_counter() - begin, len(items))
        return results
