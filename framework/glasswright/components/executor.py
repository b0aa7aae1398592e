"""Executors: where the configurations of a run are prepared and measured."""

import abc
from typing import ClassVar

from .._errors import RequestError
from ..execution.executor import Executor
from ..execution.hosts import peers
from ..execution.workers import AbstractWorkers


class AbstractExecutor(abc.ABC):
    """Starts what works for a run: in this process, in others of this machine, or on other machines.

    A configuration is a pure function of its index and the design, so that no result depends on the executor. Where
    the numbers of other machines differ in the last digits, as those of other processors do, so do packings.

    **Attributes:**

    - `spans_hosts`: whether its workers may be on other hosts. Then the run itself is a single process: those that
      `srun` starts would each have all of them.
    """

    spans_hosts: ClassVar[bool] = False

    # Nothing is no abstract method: most executors can work whatever is asked for.
    def check(self, n_workers: int | None) -> None:  # noqa: B027
        """Raise `RequestError`, in one line, for what is known to be wrong before the run; by default nothing is.

        It is called before any file is written and must start nothing. `n_workers` is that of `start`.
        """

    @abc.abstractmethod
    def start(self, n_workers: int | None) -> AbstractWorkers:
        """Workers, ready to work, which the run closes at its end.

        **Arguments:**

        - `n_workers`: how many items to work on at a time, the key `devices`; None leaves it to the executor.

        Raises `RequestError` or `RunError` if there are none.
        """


def check_executor(executor: AbstractExecutor | None, n_workers: int | None) -> None:
    """Raise `RequestError` for an executor that cannot do what it is asked for, before any file is written."""
    if executor is None:
        return
    if executor.spans_hosts and peers().count > 1:
        raise RequestError(
            f"executor: {type(executor).__name__} has workers of its own on other hosts, and there are {peers().count} "
            "processes of this run; start one process, or choose executor=local, and they divide the configurations"
        )
    executor.check(n_workers)


def started(executor: AbstractExecutor | None, n_workers: int | None) -> Executor:
    """The executor at work; without one, the threads and processes of this machine."""
    check_executor(executor, n_workers)
    return Executor(n_workers) if executor is None else Executor(workers=executor.start(n_workers))
