"""Packings from files of several formats: extended XYZ, GSD, LAMMPS data and dump, and whatever else ASE reads."""

import re
from collections.abc import Sequence
from pathlib import Path

from .._errors import RequestError
from ..physics.configuration import Configuration
from .compression import read_bytes
from .extxyz import read_frames
from .foreign import read_gsd, read_with_ase

_GSD = bytes.fromhex("df65df65df65df65")
# Endings of files that are extended XYZ, or nothing that anybody could know the format of.
_OWN = ("", ".extxyz", ".txt", ".xyz")
_COMPRESSED = (".bz2", ".gz", ".xz")
# How much of a file tells its format.
_HEAD = 8192


def read_packings(
    path: str | Path, key: str = "configuration", species: Sequence[str] | None = None
) -> list[Configuration]:
    """All packings of a file, in order.

    The format follows from the content: extended XYZ (`read_frames`), GSD, LAMMPS data and dump. Only where that does
    not tell, it follows from the ending, and ASE reads the file. Files may be compressed. A label is the same species
    in all packings: 0, 1, … in sorted order, or in the order of `species`.

    Raises `RequestError`, which begins with the key and the file, for whatever cannot be read, for packings that are
    not periodic, and for labels that `species` does not name.
    """
    where = f"{key}={path}"
    try:
        content = read_bytes(path)
    except FileNotFoundError:
        raise RequestError(f"{where}: no such file") from None
    except OSError as error:
        raise RequestError(f"{where}: cannot be read ({error.strerror or error})") from None
    if content.startswith(_GSD):
        return read_gsd(content, where, species)
    head = content[:_HEAD].decode(errors="replace")
    if head.startswith("ITEM: "):
        return read_with_ase(content, "lammps-dump-text", "a LAMMPS dump", where, species)
    if re.search(r"^\s*\d+\s+atoms\b", head, re.MULTILINE) and "xlo xhi" in head:
        return read_with_ase(content, "lammps-data", "a LAMMPS data file", where, species)
    name = Path(path)
    is_extxyz = re.match(r"\s*\+?\d+[ \t]*[\r\n]", head) is not None
    ending = name.with_suffix("").suffix if name.suffix in _COMPRESSED else name.suffix
    if is_extxyz or ending.lower() in _OWN:
        return read_frames(path, key, species)
    return read_with_ase(name, None, f"a file *{ending}", where, species)


def read_packing(path: str | Path, key: str = "configuration") -> Configuration:
    """The one packing of a file; a file of several is refused."""
    packings = read_packings(path, key)
    if len(packings) > 1:
        raise RequestError(f"{key}={path}: has {len(packings)} packings; put the one that is meant into its own file")
    return packings[0]
