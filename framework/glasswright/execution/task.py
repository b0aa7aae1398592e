"""What an executor runs, and what it gives back."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

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


@dataclass(frozen=True)
class Result(Generic[Local]):
    """The result for one item.

    - `gathered`: numbers, arrays, texts, lists and dictionaries of them; known to every process.
    - `local`: any object; known only to the process that computed it, None elsewhere.
    """

    gathered: Any
    local: Local | None = None
