"""Who does the work: lanes on the cores of a CPU, accelerators, and other hosts.

On a CPU every configuration is prepared by itself, in one of several lanes. A lane is at first a thread: XLA computes
outside of Python's lock, and all threads call the same compiled programs. Work that goes on for longer is given to
processes, each on a core of its own, which are faster but have to compile first. Several hosts under
`jax.distributed` share the configurations of a step and exchange what they found, bit by bit. No number depends on who
worked on what.
"""

import base64
import hashlib
import json
import os
import queue
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from time import perf_counter
from typing import Any, Generic, NamedTuple, TypeVar

import cloudpickle
import jax
import numpy as np

from ._errors import RequestError, RunError, named
from ._worker import Unsendable, Work, Worker

Item = TypeVar("Item")
Kept = TypeVar("Kept")
# Lanes for each core at most: more than one gains nothing, but shows that results do not depend on it.
MAX_OVERSUBSCRIPTION = 8
# Seconds of work in threads before workers are started. These compile everything anew, which takes about half as long.
HIRE_AFTER = 30.0


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


def join_hosts() -> None:
    """Make this process one of several, where it was started as such: by SLURM's `srun`, or by JAX's variables.

    The variables are `JAX_COORDINATOR_ADDRESS`, `JAX_NUM_PROCESSES` and `JAX_PROCESS_ID`. Must be called before the
    first array.
    """
    if jax.distributed.is_initialized():
        return
    address = os.environ.get("JAX_COORDINATOR_ADDRESS")
    if address and "JAX_NUM_PROCESSES" in os.environ:
        number, count = os.environ.get("JAX_PROCESS_ID", "0"), os.environ["JAX_NUM_PROCESSES"]
        if not (number.isdecimal() and count.isdecimal() and int(number) < int(count)):
            raise RequestError(f"JAX_PROCESS_ID={number}, JAX_NUM_PROCESSES={count}: must be numbers, id below count")
        if int(count) > 1:
            jax.distributed.initialize(address, int(count), int(number))
    elif int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1 and "SLURM_PROCID" in os.environ:
        jax.distributed.initialize()


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


def exchange(mine: dict[int, Any]) -> dict[int, Any]:
    """What every process knows by number, in every process."""
    from jax.experimental.multihost_utils import process_allgather

    data = np.frombuffer(json.dumps(_encode(mine)).encode(), dtype=np.uint8)
    sizes = np.asarray(process_allgather(np.asarray([len(data)]))).reshape(-1)
    padded = np.zeros(int(sizes.max()), dtype=np.uint8)
    padded[: len(data)] = data
    parts = np.asarray(process_allgather(padded)).reshape(len(sizes), -1)
    result: dict[int, Any] = {}
    for part, size in zip(parts, sizes, strict=True):
        known = _decode(json.loads(part[: int(size)].tobytes().decode()))
        result |= {int(key): value for key, value in known.items()}
    # In one order everywhere, or files would depend on who knew what.
    return dict(sorted(result.items()))


def _encode(value: Any) -> Any:
    """Plain data that JSON knows, arrays as their bytes."""
    if isinstance(value, dict):
        return {str(key): _encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encode(item) for item in value]
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        array = np.ascontiguousarray(value)
        return {"__array__": [array.dtype.str, np.shape(value), base64.b64encode(array.tobytes()).decode()]}
    if isinstance(value, bytes):
        return {"__bytes__": base64.b64encode(value).decode()}
    return value


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return [_decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"__array__"}:
        kind, shape, data = value["__array__"]
        return np.frombuffer(base64.b64decode(data), dtype=np.dtype(kind)).reshape(shape)
    if set(value) == {"__bytes__"}:
        return base64.b64decode(value["__bytes__"])
    return {key: _decode(item) for key, item in value.items()}
