"""The processes of a run as each of them sees the others."""

from abc import ABC, abstractmethod

import jax
import numpy as np

from .._errors import RequestError, RunError, named


class PeerLost(RunError):
    """Another process of the run has failed or cannot be reached any more."""


class PeerRefused(RequestError):
    """Another process of the run was asked for something wrong."""


class AbstractPeers(ABC):
    """The processes of one run, of which this is one.

    **Attributes:**

    - `rank`, `count`: its number, from 0, and how many there are. The first one writes the files.
    """

    rank: int = 0
    count: int = 1

    @abstractmethod
    def allgather(self, data: bytes) -> list[bytes]:
        """What every process has given, in their order. All of them have to call it. Raises `PeerLost`."""

    @abstractmethod
    def leave(self, error: BaseException | None = None) -> None:
        """Part from the others, who are told what went wrong, if anything did."""


class Alone(AbstractPeers):
    """A process that has the run for itself."""

    def allgather(self, data: bytes) -> list[bytes]:
        return [data]

    def leave(self, error: BaseException | None = None) -> None:
        pass


class JaxPeers(AbstractPeers):
    """Processes that a caller has joined by `jax.distributed.initialize()`."""

    def __init__(self) -> None:
        self.rank, self.count = jax.process_index(), jax.process_count()

    def allgather(self, data: bytes) -> list[bytes]:
        from jax.experimental.multihost_utils import process_allgather

        own = np.frombuffer(data, dtype=np.uint8)
        try:
            sizes = np.asarray(process_allgather(np.asarray([len(own)]))).reshape(-1)
            padded = np.zeros(int(sizes.max()), dtype=np.uint8)
            padded[: len(own)] = own
            parts = np.asarray(process_allgather(padded)).reshape(len(sizes), -1)
        except Exception as error:
            raise PeerLost(f"process {self.rank} of {self.count} has lost the others: {named(error, 200)}") from error
        return [part[: int(size)].tobytes() for part, size in zip(parts, sizes, strict=True)]

    def leave(self, error: BaseException | None = None) -> None:
        pass
