"""Checks of single values of a configuration against the parameters they are meant for."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from .._errors import RequestError, suggestion
from .._types import Numbers, Setting
from ..registry.parameters import Parameter

MISSING = "???"
# Larger integers have no room in an array, seeds included.
_LARGEST = 2**63 - 1


def check_value(parameter: Parameter, value: Setting, key: str) -> object:
    """The value as the constructor takes it, or a `RequestError` that says what is possible."""
    if value is None:
        if parameter.optional:
            return None
        raise RequestError(f"{key}: must be {_expected(parameter)}, not null")
    if parameter.kind == "integer":
        if isinstance(value, bool) or not isinstance(value, int):
            raise RequestError(f"{key}={value!r}: must be an integer")
    elif parameter.kind in ("number", "schedule"):
        infinite = isinstance(parameter.default, float) and math.isinf(parameter.default)
        value = number(value, key, infinite=infinite)
        if parameter.kind == "schedule" and value < 0:
            raise RequestError(f"{key}={value:g}: must not be negative")
    elif parameter.kind == "boolean":
        if not isinstance(value, bool):
            raise RequestError(f"{key}={value!r}: must be true or false")
    elif parameter.kind == "text":
        if not isinstance(value, str):
            raise RequestError(f"{key}={value!r}: must be a text")
    elif parameter.kind == "path":
        if not isinstance(value, str) or not value:
            raise RequestError(f"{key}={value!r}: must be the name of a file or a directory")
        return Path(value)
    elif parameter.kind == "choice":
        if value not in parameter.choices:
            raise RequestError(f"{key}={value}: {suggestion(str(value), map(str, parameter.choices))}")
        return parameter.values[parameter.choices.index(value)]
    elif parameter.kind == "array":
        return _array(value, key)
    elif parameter.kind == "any":
        _finite(value, key)
    return value


def number(value: object, key: str, *, infinite: bool = False) -> float:
    """A plain number: neither NaN nor a text, and not infinite unless that is allowed."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise RequestError(f"{key}={value!r}: must be a number")
    if math.isnan(value) or (math.isinf(value) and not infinite):
        raise RequestError(f"{key}={value!r}: must be {'a number' if infinite else 'a finite number'}")
    return float(value)


def integer(value: object, key: str, *, least: int) -> int:
    """A whole number of at least `least`, and of 64 bits."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise RequestError(f"{key}={value!r}: must be an integer of at least {least}")
    if value > _LARGEST:
        raise RequestError(f"{key}={value!r}: must be an integer of at most {_LARGEST}")
    return int(value)


def at_least_zero(value: object, key: str) -> float:
    """A finite number that is not negative."""
    given = number(value, key)
    if given < 0:
        raise RequestError(f"{key}={given:g}: must not be negative")
    return given


def share(value: object, key: str) -> float:
    """A number between 0 and 1."""
    given = number(value, key)
    if not 0.0 <= given <= 1.0:
        raise RequestError(f"{key}={given:g}: must be between 0 and 1")
    return given


def boolean(value: object, key: str) -> bool:
    """True or false, and nothing that could be taken for it."""
    if not isinstance(value, bool):
        raise RequestError(f"{key}={value!r}: must be true or false")
    return value


def check_names(given: Mapping[str, object], known: Mapping[str, object], key: str, what: str) -> None:
    """Refuse names that do not exist."""
    for name in given:
        if name not in known:
            path = f"{key}.{name}" if key else str(name)
            raise RequestError(f"{path}: no such {what}; {suggestion(str(name), known)}")


def missing_keys(node: object, key: str = "") -> list[str]:
    """The keys whose value is required and was not given."""
    if node == MISSING:
        return [key]
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path for name, value in items for path in missing_keys(value, f"{key}.{name}" if key else str(name))]


def require_values(data: Mapping[str, object]) -> None:
    """Refuse a configuration in which something that is required was not given."""
    missing = missing_keys(data)
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        hint = f"for instance {missing[0]}=VALUE"
        raise RequestError(f"{', '.join(missing)} {verb} required: {hint}")


def _array(value: object, key: str) -> Numbers:
    if isinstance(value, list):
        items = [_array(item, key) for item in value]
        if len({np.shape(item) for item in items}) > 1:
            raise RequestError(f"{key}={value!r}: the rows of a list of lists must have one length")
        return items
    try:
        return number(value, key)
    except RequestError:
        raise RequestError(
            f"{key}={value!r}: must be a finite number, a list of them, or a file of them (.csv, .txt)"
        ) from None


def _finite(value: object, key: str) -> None:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in items:
        _finite(item, key)
    if isinstance(value, float) and math.isnan(value):
        raise RequestError(f"{key}={value!r}: must not be NaN")


def _expected(parameter: Parameter) -> str:
    if parameter.kind == "choice":
        return f"one of {', '.join(map(str, parameter.choices))}"
    return {
        "integer": "an integer",
        "number": "a number",
        "boolean": "true or false",
        "text": "a text",
        "path": "the name of a file or a directory",
        "array": "a number or a list of numbers",
        "schedule": "a number or a schedule",
        "component": f"a {parameter.group}",
        "components": f"{parameter.group}s by name",
    }.get(parameter.kind, "a value")


ENDINGS = (".csv", ".dat", ".tsv", ".txt")


def names_numbers(value: object) -> bool:
    """Whether a value of a configuration is the name of a file of numbers rather than a number or a list."""
    return isinstance(value, str) and value.lower().endswith(ENDINGS)


def read_numbers(name: str, key: str) -> list[Numbers]:
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
    numbers: list[Numbers] = table[:, 0].tolist() if table.shape[1] == 1 else table.tolist()
    return numbers
