"""Who does the work: threads on the cores of a CPU, accelerators, and other hosts.

On a CPU every configuration is prepared by itself in a thread of its own (a lane): XLA computes outside of Python's
lock, and all lanes call the same compiled programs, so that no number depends on how many there are. Several processes
under `jax.distributed` share the configurations of a step and exchange what they found, bit by bit.
"""

import base64
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, NamedTuple, TypeVar

import jax
import numpy as np

from ._errors import RequestError

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
    if jax.default_backend() != "cpu":
        return jax.local_device_count()
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

    def __enter__(self) -> "Team":
        return self

    def __exit__(self, *_: object) -> None:
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    def map(self, function: Callable[[Item], Found[Kept]], items: Sequence[Item]) -> list[Found[Kept]]:
        """`function` of every item, which must be the same, in the same order, in all processes."""
        mine = range(self.rank, len(items), self.hosts)
        found = dict(zip(mine, self._map([items[k] for k in mine], function), strict=True))
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

    def _map(self, items: list[Item], function: Callable[[Item], Found[Kept]]) -> list[Found[Kept]]:
        if self._threads is None:
            return [function(item) for item in items]
        # The first one compiles; several at once would each do so.
        head = [] if self._warm else [function(item) for item in items[:1]]
        self._warm = self._warm or bool(items)
        return head + list(self._threads.map(function, items[len(head) :]))


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
