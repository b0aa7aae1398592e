"""Functions compiled by Numba, as type checkers see them."""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import numba

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """The function, compiled at its first call and kept on disk.

    Sums may be reordered by the compiler, once and for all: results are the same in every run on a processor. Without
    Python's lock, so that threads can run side by side. What checkers of types have wrapped is unwrapped.
    """
    # Numba's annotations say that the result is something else than a function.
    decorate: Any = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz"})
    result: Function = decorate(inspect.unwrap(function))
    return result
