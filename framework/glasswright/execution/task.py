"""What an executor runs, and what it gives back."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Generic, TypeVar

from .._types import Plain

Item = TypeVar("Item")
Output = TypeVar("Output")
Local = TypeVar("Local")


class Task(Generic[Item, Output]):
    """A function of an item that gives the same result in every process, so that a worker process may run it.

    The function is sent once to each worker, items and results each time: both must be small beside the work.
    """

    @abstractmethod
    def __call__(self, item: Item) -> Output:
        """The result for one item."""


class Kept:
    """Stands for an object that stays with the worker that made it; `AbstractWorkers.fetch` brings it here.

    It may be anywhere in an item: a task that is given the item finds the object itself in its place.
    """


@dataclass(frozen=True)
class Result(Generic[Local]):
    """The result for one item.

    - `gathered`: numbers, arrays, texts, lists and dictionaries of them; known to every process.
    - `local`: any object; known only to the process that computed it, None elsewhere.
    - `kept`: any object that only tasks of later items need; it may stay with a worker, and is a `Kept` then.
    """

    gathered: Plain
    local: Local | None = None
    kept: object = None
