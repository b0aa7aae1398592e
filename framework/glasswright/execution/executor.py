"""The executor: maps a function over items, by the workers of this process and together with other processes.

On a CPU each configuration is prepared by itself. Threads come first: XLA computes outside of Python's lock, and all
threads call the same compiled programs. Work that goes on for longer moves to worker processes, each bound to one
core, which are faster but have to compile first. Several hosts divide the configurations of a step among them and
exchange the results bit by bit. An executor of a plugin brings workers of its own. No number depends on which process
computed it.
"""

from collections.abc import Callable, Sequence

import jax

from .._jax import prepare_jax
from .._types import Plain
from .hosts import exchange, peers
from .task import Item, Local, Result
from .worker_pool import WorkerPool
from .workers import AbstractWorkers, LocalWorkers


class Executor:
    """Maps functions over items; results come in the order of the items.

    **Arguments:**

    - `n_workers`: how many items this process works on at a time; None takes one for each device.
    - `accelerators`: devices on which many configurations are prepared side by side; None takes all there are.
    - `worker_pool`: worker processes to use; None makes a pool of its own.
    - `workers`: what works for this process, in the place of threads and worker processes of this machine.
    """

    def __init__(
        self,
        n_workers: int | None = None,
        accelerators: Sequence[jax.Device] | None = None,
        worker_pool: WorkerPool | None = None,
        *,
        workers: AbstractWorkers | None = None,
    ):
        prepare_jax()
        self.workers = workers or LocalWorkers(n_workers, accelerators, worker_pool)
        self.n_hosts, self.rank = peers().count, peers().rank

    @property
    def n_workers(self) -> int:
        """How many items this process works on at a time."""
        return self.workers.n_workers

    @property
    def accelerators(self) -> Sequence[jax.Device]:
        """Devices of this process on which many configurations are prepared side by side."""
        return self.workers.accelerators

    @property
    def worker_pool(self) -> WorkerPool:
        """The worker processes of this machine."""
        assert isinstance(self.workers, LocalWorkers)
        return self.workers.pool

    def __enter__(self) -> "Executor":
        return self

    def __exit__(self, *_: object) -> None:
        self.workers.close()

    def map(
        self, function: Callable[[Item], Result[Local]], items: Sequence[Item], *, local: bool = False
    ) -> list[Result[Local]]:
        """The function's result for every item. Items must be the same, in the same order, on all hosts.

        `local` says that items or results are large: it takes longer to send one than to use it.
        """
        mine = range(self.rank, len(items), self.n_hosts)
        computed = self.workers.map(function, [items[k] for k in mine], local=local)
        if self.n_hosts == 1:
            return computed
        results = dict(zip(mine, computed, strict=True))
        gathered = exchange({k: result.gathered for k, result in results.items()})
        elsewhere: Result[Local] = Result(None)
        return [
            Result(gathered[k], results.get(k, elsewhere).local, results.get(k, elsewhere).kept)
            for k in range(len(items))
        ]

    def fetch(self, kept: object) -> object:
        """What a `Kept` stands for; any other object as it is."""
        return self.workers.fetch(kept)

    def any_process(self, flag: bool) -> bool:
        """Whether the flag is set in any host's process."""
        if self.n_hosts == 1:
            return flag
        return any(exchange({self.rank: flag}).values())

    def gather(self, numbered: dict[int, Plain]) -> dict[int, Plain]:
        """The union of the numbered values of all hosts' processes."""
        return numbered if self.n_hosts == 1 else exchange(numbered)
