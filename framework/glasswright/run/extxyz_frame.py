"""The text of an extended XYZ file, cut into frames whose fields are of the types that are declared for them."""

import dataclasses
import re
from pathlib import Path
from typing import NoReturn

from .._errors import RequestError
from .compression import read_bytes
from .extxyz_header import NUMBER, Column, Header, HeaderError, parse_header, quoted

# Integers have a length that fits into 64 bits.
INTEGER = re.compile(r"[+-]?[0-9]{1,18}")

_KINDS = {
    "S": re.compile(r"\S+"),
    "I": INTEGER,
    # Columns that are not used may hold what is no number: a stress that was not computed, for instance.
    "R": re.compile(rf"{NUMBER.pattern}|[+-]?(?:nan|inf|infinity)", re.IGNORECASE),
    "L": re.compile(r"T|F|[tT]rue|[fF]alse|TRUE|FALSE"),
}


class Source:
    """The lines of a file, without blank ones at its end, and how its faults are reported."""

    lines: list[str]

    def __init__(self, path: str | Path, key: str) -> None:
        self._given = f"{key}={path}"
        try:
            text = read_bytes(path).decode("utf-8-sig")
        except FileNotFoundError:
            raise RequestError(f"{self._given}: no such file") from None
        except (OSError, UnicodeDecodeError) as error:
            raise RequestError(f"{self._given}: cannot be read as text ({error})") from None
        # Not `splitlines`, which also breaks lines at characters that do not end a line in this format.
        self.lines = re.split("\r\n|\n|\r", text)
        while self.lines and not self.lines[-1].strip():
            self.lines.pop()

    def refuse(self, index: int, message: str) -> NoReturn:
        """Refuse the file because of the line with this index, which is called line `index + 1`."""
        raise RequestError(f"{self._given}: line {index + 1}: {message}") from None

    def begins_frame(self, index: int) -> bool:
        """Whether the line can be the first one of a frame."""
        return INTEGER.fullmatch(self.lines[index].strip()) is not None


@dataclasses.dataclass(frozen=True)
class Frame:
    """One configuration as written.

    **Attributes:**

    - `source`: the file.
    - `start`: index of the frame's first line.
    - `header`: what its comment line says.
    - `rows`: the fields of each particle's line.
    """

    source: Source
    start: int
    header: Header
    rows: list[list[str]]

    @property
    def end(self) -> int:
        """Index of the first line behind the frame."""
        return self.start + 2 + len(self.rows)

    def column(self, column: Column) -> list[str]:
        """A column of width one."""
        return [row[column.start] for row in self.rows]

    def refuse_header(self, message: str) -> NoReturn:
        """Refuse the file because of the comment line."""
        self.source.refuse(self.start + 1, message)

    def refuse_row(self, particle: int, message: str) -> NoReturn:
        """Refuse the file because of a particle's line."""
        self.source.refuse(self.start + 2 + particle, message)

    def refuse_surplus(self) -> NoReturn:
        """Refuse the file because of the line behind the frame."""
        line = quoted(self.source.lines[self.end])
        message = f"{line} is neither one of the {len(self.rows)} particles announced nor another configuration"
        self.source.refuse(self.end, message)


def read_frame(source: Source, start: int = 0) -> Frame:
    """The frame that begins at the line with index `start`."""
    lines = source.lines
    count = lines[start].strip() if start < len(lines) else ""
    if not re.fullmatch(r"\+?[0-9]{1,15}", count):
        source.refuse(start, f"must be the number of particles, not {quoted(count)}")
    n_particles, available = int(count), max(len(lines) - start - 2, 0)
    if n_particles < 2 or len(lines) < start + 2:
        source.refuse(start, f"{n_particles} particles and {available} lines for them; needs two particles or more")
    try:
        header = parse_header(lines[start + 1])
    except HeaderError as error:
        source.refuse(start + 1, str(error))
    if available < n_particles:
        message = f"{n_particles} particles announced, {available} found (truncated?)"
        source.refuse(len(lines) - 1, f"the file ends here: {message}")
    texts = lines[start + 2 : start + 2 + n_particles]
    # Plain XYZ may have further columns, of whatever there is.
    width = max(header.n_columns, len(texts[0].split())) if header.is_plain else header.n_columns
    rows = [_fields(source, start + 2 + k, text, header, width) for k, text in enumerate(texts)]
    return Frame(source, start, header, rows)


def _fields(source: Source, index: int, line: str, header: Header, width: int) -> list[str]:
    """The fields of a particle's line."""
    if not (line.isascii() and line.replace("\t", " ").isprintable()):
        source.refuse(index, f"{quoted(line)} has characters that are not printable ASCII")
    fields = line.split()
    if len(fields) != width:
        source.refuse(index, f"{quoted(line)} has {len(fields)} columns, and there should be {width}")
    for column in header.columns.values():
        for field in fields[column.start : column.start + column.width]:
            if not _KINDS[column.kind].fullmatch(field):
                source.refuse(index, f"{quoted(field)} in column {quoted(column.name)} is not of type {column.kind}")
    return fields
