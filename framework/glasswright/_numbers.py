"""Numbers from a file of text, wherever a configuration takes an array."""

from pathlib import Path
from typing import Any

import numpy as np

from ._errors import RequestError

ENDINGS = (".csv", ".dat", ".tsv", ".txt")


def names_numbers(value: Any) -> bool:
    """Whether a value of a configuration is the name of a file of numbers rather than a number or a list."""
    return isinstance(value, str) and value.lower().endswith(ENDINGS)


def read_numbers(name: str, key: str) -> list[Any]:
    """The numbers of a file: a list if it has one column, a list of rows if it has more.

    Columns are separated by commas or spaces; what follows a `#` does not count. A configuration is kept with the
    numbers in it, so that a run does not depend on the file any more.
    """
    try:
        lines = Path(name).read_text().replace(",", " ").splitlines()
        table = np.loadtxt(lines, ndmin=2) if any(line.split("#")[0].strip() for line in lines) else np.empty((0, 1))
    except OSError as error:
        raise RequestError(f"{key}={name}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise RequestError(f"{key}={name}: must be lines of numbers: {' '.join(str(error).split())}") from error
    if table.size == 0:
        raise RequestError(f"{key}={name}: there are no numbers in it")
    return table[:, 0].tolist() if table.shape[1] == 1 else table.tolist()
