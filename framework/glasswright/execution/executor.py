"""Who does the work: lanes on the cores of a CPU, accelerators, and other hosts.

On a CPU every configuration is prepared by itself, in one of several lanes. A lane is at first a thread: XLA computes
outside of Python's lock, and all threads call the same compiled programs. Work that goes on for longer is given to
processes, each on a core of its own, which are faster but have to compile first. Several hosts under
`jax.distributed` share the configurations of a step and exchange what they found, bit by bit. No number depends on who
worked on what.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Any, Generic, NamedTuple, TypeVar

import jax

from .hosts import exchange
from .worker import Unsendable, Work
from .worker_pool import Crew

Item = TypeVar("Item")
Kept = TypeVar("Kept")
# Lanes for each core at most: more than one gains nothing, but shows that results do not depend on it.
MAX_OVERSUBSCRIPTION = 8


class Found(NamedTuple, Generic[Kept]):
    """What the work on one item came to.

    - `shared`: numbers, arrays, texts, lists and dictionaries of them: known to every process.
    - `kept`: anything: known only to the process that found it, None elsewhere.
    """

    shared: Any
    kept: Kept | None = None


def available_devices() -> int:
    """How many devices there are: accelerators, or the cores of the CPU that this process may use."""
    return available_cores() if jax.default_backend() == "cpu" else jax.local_device_count()


def available_cores() -> int:
    """How many cores of the CPU this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Team:
    """Maps functions over items, in threads and over processes; results come in the order of the items.

    **Arguments:**

    - `lanes`: how many items this process works on at a time; None takes one for each device.
    - `accelerators`: devices on which many configurations are prepared side by side; None takes those there are.
    """

    def __init__(self, lanes: int | None = None, accelerators: Sequence[jax.Device] | None = None):
        self.lanes = available_devices() if lanes is None else lanes
        if accelerators is None:
            accelerators = [] if jax.default_backend() == "cpu" else jax.local_devices()[: self.lanes]
        self.accelerators = list(accelerators)
        self.hosts, self.rank = jax.process_count(), jax.process_index()
        self._threads = ThreadPoolExecutor(self.lanes, "lane") if self.lanes > 1 else None
        self._warm = False
        self._crew = Crew(min(self.lanes, available_cores()))

    def __enter__(self) -> "Team":
        return self

    def __exit__(self, *_: object) -> None:
        self._crew.dismiss()
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    def wait_for_workers(self) -> None:
        """Until those that have been hired can work; without, they are asked as soon as they can."""
        self._crew.wait()

    def map(
        self, function: Callable[[Item], Found[Kept]], items: Sequence[Item], *, here: bool = False
    ) -> list[Found[Kept]]:
        """`function` of every item, which must be the same, in the same order, on all hosts.

        `here` keeps it from being sent to workers: a memory takes longer to send than to use.
        """
        mine = range(self.rank, len(items), self.hosts)
        found = dict(zip(mine, self._map([items[k] for k in mine], function, here), strict=True))
        if self.hosts == 1:
            return list(found.values())
        everything = exchange({k: one.shared for k, one in found.items()})
        return [Found(everything[k], found[k].kept if k in found else None) for k in range(len(items))]

    def any(self, flag: bool) -> bool:
        """Whether the flag is up in any process."""
        if self.hosts == 1:
            return flag
        return any(exchange({self.rank: flag}).values())

    def all(self, mine: dict[int, Any]) -> dict[int, Any]:
        """What every process knows by number, in every process."""
        return mine if self.hosts == 1 else exchange(mine)

    def _map(self, items: list[Item], function: Callable[[Item], Found[Kept]], here: bool) -> list[Found[Kept]]:
        if self._threads is None:
            return [function(item) for item in items]
        work = function if isinstance(function, Work) and len(items) > 1 and not (here or self.accelerators) else None
        if work is not None:
            asked = self._crew.asked(work)
            if asked is not None:
                try:
                    return list(self._threads.map(asked, items))
                except Unsendable as error:
                    self._crew.give_up(error)
        begin = perf_counter()
        # The first one compiles; several at once would each do so.
        head = [] if self._warm else [function(item) for item in items[:1]]
        self._warm = self._warm or bool(items)
        found = head + list(self._threads.map(function, items[len(head) :]))
        if work is not None:
            self._crew.hire_after(perf_counter() - begin, len(items))
        return found
