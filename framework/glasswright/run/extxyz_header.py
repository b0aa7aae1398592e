"""The comment line of an extended XYZ file: keys with values, the lattice, the periodic directions and the columns.

The grammar is that of the format's specification (libAtoms/extxyz) with what ASE writes in addition: keys without a
value, and commas in place of blanks.
"""

import dataclasses
import re
from fractions import Fraction

# A number as the specification has it: Fortran's exponents, but no underscores, no infinities.
NUMBER = re.compile(r"[+-]?(?:[0-9]{1,400}\.?[0-9]{0,400}|\.[0-9]{1,400})(?:[eEdD][+-]?[0-9]{1,9})?")

_QUOTED = r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'"""
_KEY = r"""(?:[^\s"'=,{}\[\]\\]|\\.)+"""
_BARE = r"""(?:[^\s"'={}\[\]\\]|\\.)+"""
_BRACES = rf"""\{{(?:[^{{}}"']|{_QUOTED})*\}}"""
_ROW = rf"""\[(?:[^\[\]"']|{_QUOTED})*\]"""
_BRACKETS = rf"""\[(?:[^\[\]"']|{_QUOTED}|{_ROW})*\]"""
_ITEM = re.compile(
    rf"\s*({_QUOTED}|{_KEY})(?:\s*=\s*({_QUOTED}|{_BRACES}|{_BRACKETS}|{_BARE}))?(?=\s|$)", re.ASCII | re.DOTALL
)
_RESERVED = ("lattice", "properties", "pbc")
# The key under which a packing carries the potential that it was made with.
POTENTIAL = "glasswright_potential"
_FLAGS = {"t": True, "true": True, "1": True, "f": False, "false": False, "0": False}
_DEFAULT_COLUMNS = "species:S:1:pos:R:3"
# Names of the column that says what kind a particle is, in the order in which they are preferred.
_SPECIES = ("species", "type", "element", "z")


class HeaderError(ValueError):
    """What is wrong with a comment line."""


@dataclasses.dataclass(frozen=True)
class Column:
    """A quantity that a file has for each particle: its type (`S`, `I`, `R` or `L`), first column and width."""

    name: str
    kind: str
    start: int
    width: int


@dataclasses.dataclass(frozen=True)
class Header:
    """What a comment line says.

    **Attributes:**

    - `lattice`: the nine components of the three lattice vectors, one vector after the other, as written.
    - `dimension`: two or three.
    - `columns`: the columns by name.
    - `position`: the column of positions, of width two or three.
    - `species`: the columns that say what kind a particle is, the preferred one first.
    - `is_plain`: whether the columns are those of plain XYZ because the line names none; more may follow them.
    - `potential`: the potential that the packing carries, as it was written.
    """

    lattice: list[str]
    dimension: int
    columns: dict[str, Column]
    position: Column
    species: list[Column]
    is_plain: bool
    potential: str | None = None

    @property
    def n_columns(self) -> int:
        return sum(column.width for column in self.columns.values())


def parse_header(line: str) -> Header:
    """Read a comment line; raises `HeaderError` for one that is not clear."""
    values = _key_values(line)
    if "lattice" not in values:
        raise HeaderError('needs Lattice="ax ay az bx by bz cx cy cz"')
    lattice = _items(values["lattice"], nested=True)
    if len(lattice) != 9 or not all(NUMBER.fullmatch(x) for x in lattice):
        raise HeaderError(f'Lattice={quoted(values["lattice"])}: needs Lattice="ax ay az bx by bz cx cy cz"')
    properties = _text(values.get("properties", _DEFAULT_COLUMNS))
    columns = _columns(properties)
    position, species = _position_column(columns, properties), _species_columns(columns, properties)
    return Header(
        lattice=lattice,
        dimension=_dimension(None if "pbc" not in values else _flags(values["pbc"]), position.width),
        columns=columns,
        position=position,
        species=species,
        is_plain="properties" not in values,
        potential=_text(values[POTENTIAL]) if POTENTIAL in values else None,
    )


def number(text: str) -> float:
    """The number that a text of the form `NUMBER` says, as a double."""
    return float(text.lower().replace("d", "e"))


def exact_number(text: str) -> Fraction:
    """The same number without rounding."""
    # What is zero as a double may have an exponent that no fraction can hold.
    return Fraction(text.lower().replace("d", "e")) if number(text) != 0.0 else Fraction(0)


def quoted(text: str, longest: int = 60) -> str:
    """The text in quotes on one line, cut where it is long."""
    return repr(text if len(text) <= longest else text[: longest - 1] + "…")


def _key_values(line: str) -> dict[str, str]:
    """The value of each key as written, delimiters included; the keys that mean something to us in lower case."""
    line = line.strip()
    values: dict[str, str] = {}
    place = 0
    while place < len(line):
        item = _ITEM.match(line, place)
        if item is None:
            raise HeaderError(f"cannot be understood from {quoted(line[place:].strip())} on: needs key=value")
        name, place = _text(item[1]), item.end()
        key = name.lower() if name.lower() in _RESERVED else name
        if key in values:
            raise HeaderError(f"{quoted(name)} is given twice")
        if key in _RESERVED and item[2] is None:
            raise HeaderError(f"{quoted(name)} has no value")
        # A key alone is a flag; nothing here depends on one.
        values[key] = "T" if item[2] is None else item[2]
    return values


def _text(value: str) -> str:
    """A string without its quotes and backslashes."""
    inner = value[1:-1] if value[0] in "\"'" else value
    return re.sub(r"\\(.)", r"\1", inner, flags=re.DOTALL)


def _items(value: str, nested: bool = False) -> list[str]:
    """The entries of an array in any of its forms; those of a square matrix row by row, if it may be one."""
    inner = (value[1:-1] if value[0] in "\"'{[" else value).strip()
    if nested and value[0] == "[" and inner.startswith("["):
        rows = re.fullmatch(r"\[([^\[\]]*)\]\s*,?\s*\[([^\[\]]*)\]\s*,?\s*\[([^\[\]]*)\]", inner)
        entries = [] if rows is None else [_split(row) for row in rows.groups()]
        return [x for row in entries for x in row] if [len(row) for row in entries] == [3, 3, 3] else []
    return _split(inner)


def _split(text: str) -> list[str]:
    """Entries between blanks or single commas."""
    return re.split(r"\s*,\s*|\s+", text.strip())


def _flags(value: str) -> list[bool]:
    """The periodic directions."""
    items = [item.lower() for item in _items(value)]
    if len(items) == 1 and len(items[0]) in (2, 3) and set(items[0]) <= {"t", "f"}:
        items = list(items[0])
    if not all(item in _FLAGS for item in items):
        raise HeaderError(f"pbc={quoted(value)}: must be a T or an F for each direction")
    return [_FLAGS[item] for item in items] * (3 if len(items) == 1 else 1)


def _columns(properties: str) -> dict[str, Column]:
    """The columns that `Properties` declares."""
    wrong = f"Properties={quoted(properties)}"
    fields = properties.split(":")
    if len(fields) % 3:
        raise HeaderError(f"{wrong}: needs name:type:width for each column, as in {_DEFAULT_COLUMNS}")
    columns: dict[str, Column] = {}
    start = 0
    for name, kind, width in zip(fields[0::3], fields[1::3], fields[2::3], strict=True):
        if not name or kind not in ("S", "I", "R", "L") or not re.fullmatch(r"0*[1-9][0-9]{0,5}", width):
            raise HeaderError(f"{wrong}: {quoted(f'{name}:{kind}:{width}')} needs a type S, I, R or L and a width")
        if name in columns:
            raise HeaderError(f"{wrong}: {quoted(name)} is declared twice")
        columns[name] = Column(name, kind, start, int(width))
        start += int(width)
    return columns


def _only_column(columns: dict[str, Column], name: str) -> Column | None:
    """The column of this name, in capitals or not."""
    same = [column for key, column in columns.items() if key.lower() == name]
    if len(same) > 1:
        raise HeaderError(f"Properties: {quoted(name)} is declared twice")
    return same[0] if same else None


def _position_column(columns: dict[str, Column], properties: str) -> Column:
    column = _only_column(columns, "pos")
    if column is None or column.kind not in ("R", "I") or column.width not in (2, 3):
        raise HeaderError(f"Properties={quoted(properties)}: needs positions, pos:R:3 (or pos:R:2 in two dimensions)")
    return column


def _species_columns(columns: dict[str, Column], properties: str) -> list[Column]:
    known = [(name, _only_column(columns, name)) for name in _SPECIES]
    # Columns of the other names can hold something else: a height `z`, say.
    result = [c for name, c in known if c and (name == "species" or (c.kind in ("S", "I") and c.width == 1))]
    if not result or result[0].kind not in ("S", "I") or result[0].width != 1:
        raise HeaderError(f"Properties={quoted(properties)}: needs species, species:S:1 or species:I:1")
    return result


def _dimension(periodic: list[bool] | None, n_coordinates: int) -> int:
    """Two or three, from the periodic directions (all where the file does not say) and the number of coordinates."""
    if n_coordinates == 2:
        if periodic not in (None, [True, True], [True, True, False]):
            raise HeaderError('pbc: positions with two coordinates need pbc="T T F"')
        return 2
    if periodic in (None, [True, True, True]):
        return 3
    if periodic != [True, True, False]:
        raise HeaderError('pbc: must be "T T T" (three dimensions) or "T T F" (two)')
    return 2
