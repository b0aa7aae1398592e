"""Checks of LAMMPS files before ASE reads them: what a file announces must be there, once, and nothing else.

ASE 3.29 stops at the announced number of particles and drops the rest without a word, takes fewer than announced,
loses a particle where two have the same number, takes the edge of a box that is missing for 1, and reads `1_8` as 18.
"""

import re
from collections.abc import Iterator, Sequence

from .._errors import RequestError
from .extxyz_header import quoted

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_POSITIVE = re.compile(r"[0-9]{1,18}")
_EDGES = ("xlo xhi", "ylo yhi", "zlo zhi")
# Columns of a dump that are used.
_USED = re.compile(r"id|type|[xyz](?:s|u|su)?")
# Items that a configuration of a dump may begin with.
_BEFORE = ("UNITS", "TIME", "TIMESTEP")
# The coordinates of a dump as written, scaled, unwrapped, and both.
_COORDINATES = tuple(tuple(axis + kind for axis in "xyz") for kind in ("", "s", "u", "su"))


class _Fault(ValueError):
    """What is wrong in a line of a file, by the index of the line."""

    def __init__(self, index: int, message: str):
        super().__init__(f"line {index + 1}: {message}")


def check_dump(text: str, where: str) -> None:
    """Raise `RequestError`, which begins with `where` and names the line, unless a dump holds what it announces."""
    lines = _lines(text)
    try:
        start = 0
        while start < len(lines):
            start = _check_frame(lines, start)
    except _Fault as fault:
        raise RequestError(f"{where}: {fault}") from None


def check_data(text: str, where: str) -> None:
    """Raise `RequestError`, which begins with `where` and names the line, unless a data file is what it announces."""
    lines = [line.partition("#")[0].strip() for line in _lines(text)]
    try:
        _check_data(lines)
    except _Fault as fault:
        raise RequestError(f"{where}: {fault}") from None


def _lines(text: str) -> list[str]:
    lines = re.split("\r\n|\n|\r", text)
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def _check_frame(lines: Sequence[str], start: int) -> int:
    """Check one configuration of a dump; returns where the next one begins."""
    items: dict[str, int] = {}
    for index, name in _items(lines, start):
        if name in items or ("TIMESTEP" not in items and name not in _BEFORE):
            raise _Fault(index, f"'ITEM: {name}' is not expected here; a configuration begins with 'ITEM: TIMESTEP'")
        items[name] = index
        if name == "ATOMS":
            break
    for name in ("NUMBER OF ATOMS", "BOX BOUNDS", "ATOMS"):
        if name not in items:
            raise _Fault(start, f"the configuration that begins here has no 'ITEM: {name}'")
    _only(lines, items["TIMESTEP"], 1)
    n = _count(items["NUMBER OF ATOMS"] + 1, lines[items["NUMBER OF ATOMS"] + 1].strip())
    _only(lines, items["NUMBER OF ATOMS"], 1)
    _only(lines, items["BOX BOUNDS"], 3)
    tilted = "xy xz yz" in lines[items["BOX BOUNDS"]]
    for index in range(items["BOX BOUNDS"] + 1, items["BOX BOUNDS"] + 4):
        bounds = _numbers(lines, index, 3 if tilted else 2)
        if not bounds[0] < bounds[1]:
            raise _Fault(index, f"the box must end above where it begins, not {quoted(lines[index].strip())}")
    columns = lines[items["ATOMS"]].split()[2:]
    if not any(set(kind) <= set(columns) for kind in _COORDINATES):
        raise _Fault(items["ATOMS"], "needs the columns x, y and z (or xs, ys, zs; xu, yu, zu; xsu, ysu, zsu)")
    if len(set(columns)) < len(columns):
        raise _Fault(items["ATOMS"], "a column is declared twice")
    first = items["ATOMS"] + 1
    _check_rows(lines, first, n, [_USED.fullmatch(name) is not None for name in columns])
    if "id" in columns:
        _check_distinct(lines, range(first, first + n), columns.index("id"))
    return first + n


def _items(lines: Sequence[str], start: int) -> Iterator[tuple[int, str]]:
    """Where items begin, and their names without what follows them."""
    if not lines[start].startswith("ITEM: "):
        raise _Fault(start, f"{quoted(lines[start])} is neither one of the particles announced nor a new configuration")
    for index in range(start, len(lines)):
        if lines[index].startswith("ITEM: "):
            name = lines[index].removeprefix("ITEM: ").strip()
            yield index, next((known for known in ("BOX BOUNDS", "ATOMS") if name.startswith(known)), name)


def _only(lines: Sequence[str], item: int, count: int) -> None:
    """An item has as many lines as it should."""
    end = next((k for k in range(item + 1, len(lines)) if lines[k].startswith("ITEM: ")), len(lines))
    if end - item - 1 != count:
        raise _Fault(item, f"{quoted(lines[item].strip())} is followed by {end - item - 1} lines, not by {count}")


def _check_data(lines: Sequence[str]) -> None:
    # The first line says what its author liked.
    sections = [k for k, line in enumerate(lines) if k > 0 and line[:1].isalpha()]
    header = range(1, sections[0] if sections else len(lines))
    announced = _announced(lines, header)
    for name in ("atoms", *_EDGES):
        if name not in announced:
            raise _Fault(header.stop - 1, f"'{name}' is missing before this line")
    for name in _EDGES:
        low, high = _numbers(lines, announced[name], 2, 4)
        if not low < high:
            raise _Fault(announced[name], f"the box must end above where it begins: {quoted(lines[announced[name]])}")
    n = _count(announced["atoms"], lines[announced["atoms"]].split()[0])
    atoms = [k for k in sections if lines[k] == "Atoms"]
    if len(atoms) != 1:
        where = atoms[1] if atoms else header.stop - 1
        raise _Fault(where, "needs one section 'Atoms'" + ("" if atoms else " behind this line"))
    end = next((k for k in sections if k > atoms[0]), len(lines))
    if atoms[0] + 1 < len(lines) and lines[atoms[0] + 1]:
        raise _Fault(atoms[0] + 1, "a blank line must follow the name of a section")
    rows = [k for k in range(atoms[0] + 1, end) if lines[k]]
    if len(rows) != n:
        raise _Fault(atoms[0], f"{n} particles announced, {len(rows)} found in the section 'Atoms'")
    n_columns = len(lines[rows[0]].split()) if rows else 0
    for index in rows:
        _numbers(lines, index, n_columns, n_columns)
    _check_distinct(lines, rows, 0)


def _announced(lines: Sequence[str], header: range) -> dict[str, int]:
    """The line of each keyword that says how much there is of what."""
    keywords: dict[str, int] = {}
    for index in header:
        name = " ".join(word for word in lines[index].split() if word[:1].isalpha())
        if name in keywords:
            raise _Fault(index, f"'{name}' is given twice")
        if name:
            keywords[name] = index
    return keywords


def _check_rows(lines: Sequence[str], first: int, n: int, is_number: Sequence[bool]) -> None:
    """A dump has as many rows as were announced, each with as many fields as columns."""
    for index in range(first, first + n):
        if index >= len(lines) or lines[index].startswith("ITEM:"):
            raise _Fault(index, f"{n} particles announced, {index - first} found (truncated?)")
        for field, numeric in zip(_fields(lines, index, len(is_number)), is_number, strict=True):
            if numeric:
                _number(index, field)


def _check_distinct(lines: Sequence[str], rows: Sequence[int], column: int) -> None:
    """No two particles have the same number."""
    seen: dict[str, int] = {}
    for index in rows:
        name = lines[index].split()[column]
        if name in seen:
            raise _Fault(index, f"particle {name} is in line {seen[name] + 1} already")
        seen[name] = index


def _count(index: int, text: str) -> int:
    if _POSITIVE.fullmatch(text) is None:
        raise _Fault(index, f"must be the number of particles, not {quoted(text)}")
    return int(text)


def _numbers(lines: Sequence[str], index: int, count: int, n_fields: int | None = None) -> list[float]:
    """The first numbers of a line that has that many fields (by default no others)."""
    fields = _fields(lines, index, count if n_fields is None else n_fields)
    return [_number(index, field) for field in fields[:count]]


def _fields(lines: Sequence[str], index: int, count: int) -> list[str]:
    """The fields of a line that has that many."""
    fields = lines[index].split()
    if len(fields) != count:
        raise _Fault(index, f"{quoted(lines[index].strip())} has {len(fields)} columns, and there should be {count}")
    return fields


def _number(index: int, field: str) -> float:
    if _NUMBER.fullmatch(field) is None:
        raise _Fault(index, f"{quoted(field)} is not a finite number")
    return float(field)
