import dataclasses
from collections.abc import Callable

import numpy as np

from .._errors import RequestError
from ..components.executor import AbstractExecutor
from ..execution.task import Local, Result, Task
from ..execution.workers import AbstractWorkers
from ..registry.component import Component
from ._failures import fail, raised, run_all
from ._static import as_component, plain_checks

WRONG = "a configuration says what is wrong with it"


@dataclasses.dataclass(frozen=True)
class Roots(Task[tuple[float, object], Result[tuple[str, float]]]):
    """The work of the check: square roots, and an array that the next item needs."""

    offset: float

    def __call__(self, item: tuple[float, object]) -> Result[tuple[str, float]]:
        """The root of a number; what is kept grows by it. Negative numbers are refused."""
        number, before = item
        if number < 0.0:
            raise RequestError(WRONG)
        root = np.sqrt(number + self.offset)
        kept = np.full(3, root) if before is None else np.asarray(before) + root
        return Result({"root": root, "sum": np.asarray(kept).sum()}, ("here", number), kept)


def check_executor(instance: AbstractExecutor) -> None:
    """Check everything that an executor has to do; raises one `ConformanceError` that lists what it does not."""
    __tracebackhide__ = True
    component = as_component(instance)
    run_all(f"executor {component.name}", executor_checks(component, instance))


def executor_checks(component: Component, instance: AbstractExecutor) -> dict[str, Callable[[], None]]:
    """The checks of one executor, by name."""
    return {
        **plain_checks(instance, component, {"check": "n_workers", "start": "n_workers"}),
        "work": lambda: check_work(instance),
    }


def check_work(instance: AbstractExecutor) -> None:
    """Its workers give the results that a loop gives, in its order, and raise what a task raises."""
    try:
        instance.check(1)
        workers = instance.start(1)
    except Exception as error:
        fail(f"cannot be started with one worker: {raised(error)}")
    try:
        if workers.n_workers < 1:
            fail(f"n_workers is {workers.n_workers}: there is at least one")
        _check_results(workers)
        _check_errors(workers)
    finally:
        workers.close()


def _check_results(workers: AbstractWorkers) -> None:
    numbers = [2.0, 5.0, 3.0, 7.0, 11.0]
    task = Roots(0.25)
    expected = [task((number, None)) for number in numbers]
    results = workers.map(task, [(number, None) for number in numbers])
    _compare("map", results, expected)
    # As followed packings go from step to step.
    for step in range(3):
        results = workers.map(task, [(n, r.kept) for n, r in zip(numbers, results, strict=True)], local=True)
        expected = [task((n, r.kept)) for n, r in zip(numbers, expected, strict=True)]
        _compare(f"map of what was kept {step + 1} times", results, expected)
    for result, wanted in zip(results, expected, strict=True):
        if not np.array_equal(np.asarray(workers.fetch(result.kept)), np.asarray(wanted.kept)):
            fail(f"fetch gives {workers.fetch(result.kept)} instead of {wanted.kept}")
    if workers.map(task, []) != []:
        fail("map of no items must be an empty list")
    seen: list[int] = []

    def note(item: int) -> Result[None]:
        seen.append(item)
        return Result(None)

    workers.map(note, [1, 2])
    if sorted(seen) != [1, 2]:
        fail("map must call a function that is no Task in this process, where it may change things")


def _check_errors(workers: AbstractWorkers) -> None:
    task = Roots(0.5)
    try:
        workers.map(task, [(2.0, None), (-1.0, None)])
    except RequestError as error:
        if str(error) != WRONG:
            fail(f"an error of a task arrives with another message: {error}")
    except Exception as error:
        fail(f"a RequestError of a task arrives as {raised(error)}")
    else:
        fail("an error of a task is lost: map must raise it")
    _compare("map after an error", workers.map(task, [(2.0, None)]), [task((2.0, None))])


def _compare(what: str, results: list[Result[Local]], expected: list[Result[Local]]) -> None:
    ours = [(result.gathered, result.local) for result in results]
    wanted = [(result.gathered, result.local) for result in expected]
    if ours != wanted:
        fail(f"{what} gives {ours} instead of {wanted}: in the order of the items, and equal to the last bit")


__all__ = ["check_executor", "executor_checks"]
