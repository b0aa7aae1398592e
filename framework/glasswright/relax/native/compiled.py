"""Functions compiled by Numba, as type checkers see them."""

import inspect
import os
from collections.abc import Callable
from typing import TypeVar

import numba

from ..._compiled import folder_in_use
from ..._types import Untyped

Function = TypeVar("Function", bound=Callable[..., object])

# Compiled functions are kept where XLA's programs are, or not at all.
_folder = folder_in_use()
if _folder is not None and "NUMBA_CACHE_DIR" not in os.environ:
    settings: Untyped = numba.config  # whose names are made when it is imported
    settings.CACHE_DIR = str(_folder / "native")


def compiled(function: Function) -> Function:
    """The function, compiled at its first call.

    Sums may be reordered by the compiler, once and for all: results are the same in every run on a processor. Without
    Python's lock, so that threads can run side by side. What checkers of types have wrapped is unwrapped.
    """
    # Numba's annotations say that the result is something else than a function.
    decorate: Untyped = numba.njit(
        cache=_folder is not None, nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz"}
    )
    result: Function = decorate(inspect.unwrap(function))
    return result
