"""The executor: maps a function over items in threads, in worker processes, on accelerators and on several hosts.

On a CPU each configuration is prepared by itself. Threads come first: XLA computes outside of Python's lock, and all
threads call the same compiled programs. Work that goes on for longer moves to worker processes, each bound to one
core, which are faster but have to compile first. Several hosts divide the configurations of a step among them and
exchange the results bit by bit. No number depends on which process computed it.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Any

import jax

from .._jax import prepare_jax
from .hosts import exchange, peers
from .task import Item, Local, Result, Task
from .worker import Unsendable
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


class Executor:
    """Maps functions over items; results come in the order of the items.

    **Arguments:**

    - `n_workers`: how many items this process works on at a time; None takes one for each device.
    - `accelerators`: devices on which many configurations are prepared side by side; None takes all there are.
    - `worker_pool`: worker processes to use; None makes a pool of its own.
    """

    def __init__(
        self,
        n_workers: int | None = None,
        accelerators: Sequence[jax.Device] | None = None,
        worker_pool: WorkerPool | None = None,
    ):
        prepare_jax()
        self.n_workers = available_devices() if n_workers is None else n_workers
        if accelerators is None:
            accelerators = [] if jax.default_backend() == "cpu" else jax.local_devices()[: self.n_workers]
        self.accelerators = list(accelerators)
        self.n_hosts, self.rank = peers().count, peers().rank
        parallel = self.n_workers > 1 or worker_pool is not None
        self._threads = ThreadPoolExecutor(self.n_workers, "worker") if parallel else None
        self._compiled = False
        self.worker_pool = worker_pool or WorkerPool(min(self.n_workers, available_cores()))

    def __enter__(self) -> "Executor":
        return self

    def __exit__(self, *_: object) -> None:
        self.worker_pool.shutdown()
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    def map(
        self, function: Callable[[Item], Result[Local]], items: Sequence[Item], *, local: bool = False
    ) -> list[Result[Local]]:
        """The function's result for every item. Items must be the same, in the same order, on all hosts.

        With `local` nothing is sent to worker processes: a large item takes longer to send than to use.
        """
        mine = range(self.rank, len(items), self.n_hosts)
        results = dict(zip(mine, self._map([items[k] for k in mine], function, local), strict=True))
        if self.n_hosts == 1:
            return list(results.values())
        gathered = exchange({k: result.gathered for k, result in results.items()})
        return [Result(gathered[k], results[k].local if k in results else None) for k in range(len(items))]

    def any_process(self, flag: bool) -> bool:
        """Whether the flag is set in any host's process."""
        if self.n_hosts == 1:
            return flag
        return any(exchange({self.rank: flag}).values())

    def gather(self, numbered: dict[int, Any]) -> dict[int, Any]:
        """The union of the numbered values of all hosts' processes."""
        return numbered if self.n_hosts == 1 else exchange(numbered)

    def _map(self, items: list[Item], function: Callable[[Item], Result[Local]], local: bool) -> list[Result[Local]]:
        if self._threads is None:
            return [function(item) for item in items]
        sendable = isinstance(function, Task) and len(items) > 1 and not (local or self.accelerators)
        task = function if isinstance(function, Task) and sendable else None
        if task is not None:
            remote = self.worker_pool.remote(task)
            if remote is not None:
                try:
                    return list(self._threads.map(remote, items))
                except Unsendable as error:
                    self.worker_pool.give_up(error)
        begin = perf_counter()
        # The first item compiles; several at once would each do so.
        head = [] if self._compiled else [function(item) for item in items[:1]]
        self._compiled = self._compiled or bool(items)
        results = head + list(self._threads.map(function, items[len(head) :]))
        if task is not None:
            self.worker_pool.start_after(perf_counter() - begin, len(items))
        return results
