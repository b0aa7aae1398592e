"""Tasks in processes that a library manages, such as Dask's workers: what is sent there, and what is done there.

A task and each of its items go there as bytes. What a result keeps stays there, and is handed to the tasks of later
items, wherever a `Kept` stands for it in them.
"""

import dataclasses
import hashlib
import io
import pickle
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import cloudpickle
import jax
import numpy as np

from .._environment import enable_64_bit
from .._errors import named
from .answer import Answer, Unsendable, answer_of
from .task import Kept, Result, Task

# Tasks that a process remembers: of a training, those of both phases of a step.
MOST_TASKS = 8
# `Any`: they come as bytes, which do not say what a task takes and gives.
_tasks: dict[bytes, Task[Any, Any]] = {}
_lock = threading.Lock()


class Sent(NamedTuple):
    """An object as bytes, and what stands in it for what workers keep, in the order of its places."""

    content: bytes
    kept: list[Kept]


class Done(NamedTuple):
    """What has come of an item: the answer as bytes, which is sent back, and what stays."""

    answer: bytes
    kept: "Held | None"


class Held:
    """What a worker keeps, with its true size: libraries that move objects about ask for it."""

    def __init__(self, value: object):
        self.value = value

    def __sizeof__(self) -> int:
        leaves = jax.tree.leaves(self.value)
        return sum(leaf.nbytes for leaf in leaves if isinstance(leaf, jax.Array | np.ndarray)) + 1024


def pack(item: object) -> Sent:
    """A task or an item as bytes; raises `Unsendable`."""
    file = io.BytesIO()
    pickler = _Pickler(file)
    try:
        pickler.dump(item)
    except Exception as error:
        raise Unsendable(named(error)) from error
    return Sent(file.getvalue(), pickler.kept)


def digest(content: bytes) -> bytes:
    """What a task is known by."""
    return hashlib.sha256(content).digest()


def perform(task: bytes, item: bytes, kept: Sequence[Held | None], *, keep: bool) -> Done:
    """Call a task with an item, in the process of a worker. Never raises: errors are part of the answer.

    **Arguments:**

    - `task`, `item`: contents of `pack`.
    - `kept`: what the worker has in the places of the item's `Kept`.
    - `keep`: whether what the result keeps stays here; else it is part of the answer.
    """
    stays: Held | None = None

    def compute() -> object:
        nonlocal stays
        try:
            function = _unpacked(task)
            argument = _Unpickler(item, kept).load()
        except Exception as error:
            raise Unsendable(named(error)) from error
        # A module that the task has brought along may have turned them off.
        enable_64_bit()
        result = function(argument)
        if keep and isinstance(result, Result) and result.kept is not None:
            stays = Held(result.kept)
            result = dataclasses.replace(result, kept=True)
        return result

    answer = answer_of(compute)
    return Done(answer.packed(), stays)


def unpack(answer: bytes) -> Answer:
    """The answer of a worker."""
    result: Answer = pickle.loads(answer)
    return result


def _unpacked(content: bytes) -> Task[Any, Any]:  # which bytes do not say
    """A task, the same object for the same content: compiled functions are found again by what it holds."""
    key = digest(content)
    with _lock:
        task = _tasks.pop(key, None)
        if task is None:
            task = pickle.loads(content)
        _tasks[key] = task
        while len(_tasks) > MOST_TASKS:
            del _tasks[next(iter(_tasks))]
    return task


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Pickles an object without what workers keep, of which only the number is written."""

    def __init__(self, file: io.BytesIO):
        super().__init__(file)
        self.kept: list[Kept] = []

    def persistent_id(self, obj: object) -> int | None:
        """The number of a `Kept`; None for anything else, which is pickled."""
        if not isinstance(obj, Kept):
            return None
        self.kept.append(obj)
        return len(self.kept) - 1


class _Unpickler(pickle.Unpickler):
    def __init__(self, content: bytes, kept: Sequence[Held | None]):
        super().__init__(io.BytesIO(content))
        self._kept = kept

    def persistent_load(self, number: int) -> object:
        """The object of that number."""
        held = self._kept[number]
        assert held is not None
        return held.value
