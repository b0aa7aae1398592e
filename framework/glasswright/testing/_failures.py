from collections.abc import Callable, Iterable, Mapping
from typing import NoReturn

from .._errors import LONGEST, named


class ConformanceError(AssertionError):
    """A component breaks a rule of its kind; the text says which, with numbers, and what to do."""


def fail(text: str) -> NoReturn:
    """Raise a `ConformanceError` without a traceback through the kit (in pytest)."""
    __tracebackhide__ = True
    raise ConformanceError(text)


def run_all(title: str, checks: Mapping[str, Callable[[], None]]) -> None:
    """Run every check; raises one error that lists all that failed, so that one run is enough to see them."""
    __tracebackhide__ = True
    failures = []
    for name, check in checks.items():
        try:
            check()
        except ConformanceError as error:
            failures.append(f"{name}: {error}")
        except Exception as error:  # what one check has found can keep the next from running at all
            failures.append(f"{name}: {raised(error)}")
    if failures:
        number = "1 check fails" if len(failures) == 1 else f"{len(failures)} checks fail"
        fail("\n".join([f"{title}: {number}", *(f"- {failure}" for failure in failures)]))


def raised(error: BaseException) -> str:
    """An exception as part of a sentence, on one line and not too long."""
    return named(error, LONGEST)


def listed(names: Iterable[object]) -> str:
    """Names as a list in a sentence."""
    return ", ".join(str(name) for name in names)
