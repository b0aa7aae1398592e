"""Damaged files of LAMMPS: each is refused with the line, and none is read as something that it does not say."""

import re
from collections.abc import Callable
from pathlib import Path

import glasswright as gw
import numpy as np
import pytest
from glasswright.run.packings import read_packing, read_packings

DUMP = """\
ITEM: TIMESTEP
0
ITEM: NUMBER OF ATOMS
3
ITEM: BOX BOUNDS pp pp pp
0 8
0 8
-0.5 0.5
ITEM: ATOMS id type x y z
3 1 4 4 0
1 1 1 1 0
2 2 1.8 1 0
"""
DATA = """\
three particles

3 atoms  # as announced
2 atom types

0 8 xlo xhi
0 8 ylo yhi
-0.5 0.5 zlo zhi

Masses

1 1
2 1

Atoms # atomic

3 1 4 4 0
1 1 1 1 0
2 2 1.8 1 0

Velocities

1 0 0 0
2 0 0 0
3 0 0 0
"""
FILES = {"dump": DUMP, "data": DATA}


def without(line: str) -> Callable[[str], str]:
    return lambda text: text.replace(line + "\n", "", 1)


def doubled(line: str) -> Callable[[str], str]:
    return lambda text: text.replace(line + "\n", f"{line}\n{line}\n", 1)


def changed(old: str, new: str) -> Callable[[str], str]:
    return lambda text: text.replace(old, new, 1)


# Damages to both formats, and the beginning of what is said, behind the file's name.
BOTH = [
    (without("1 1 1 1 0"), r"line \d+: 3 particles announced, 2 found"),
    (without("2 2 1.8 1 0"), r"line \d+: 3 particles announced, 2 found"),
    (doubled("1 1 1 1 0"), r"line \d+: (particle 1 is in line|3 particles announced, 4 found)"),
    (
        changed("2 2 1.8 1 0", "2 2 1.8 1 0\n4 2 2.8 1 0"),
        r"line \d+: ('4 2 2.8 1 0' is neither|3 particles .* 4 found)",
    ),
    (changed("2 2 1.8", "1 2 1.8"), r"line \d+: particle 1 is in line \d+ already"),
    (changed("1.8", "nan"), r"line \d+: 'nan' is not a finite number"),
    (changed("1.8", "1_8"), r"line \d+: '1_8' is not a finite number"),
    (changed("1.8", "1,8"), r"line \d+: '1,8' is not a finite number"),
    (changed("1.8", "1e999"), "must be finite"),
    (changed("1.8 1 0", "1.8 1"), r"line \d+: '2 2 1.8 1' has 4 columns, and there should be 5"),
    (changed("1.8 1 0", "1.8 1 0 7"), r"line \d+: '2 2 1.8 1 0 7' has 6 columns, and there should be 5"),
    (changed("0 8", "8 0"), r"line \d+: the box must end above where it begins"),
    (changed("\n3", "\n4"), r"line \d+: 4 particles announced, 3 found"),
    (changed("\n3", "\n2"), r"line \d+: (2 particles announced, 3 found|'2 2 1.8 1 0' is neither)"),
    (lambda text: text[: text.index("1.8")], r"line \d+: "),
    (lambda text: text.encode("utf-16").decode("latin-1"), ""),
]
OF_DUMP = [
    (without("0 8"), "line 5: 'ITEM: BOX BOUNDS pp pp pp' is followed by 2 lines, not by 3"),
    (doubled("ITEM: TIMESTEP"), r"line 2: 'ITEM: TIMESTEP' is not expected here"),
    (without("ITEM: BOX BOUNDS pp pp pp"), r"line \d+: "),
    (doubled("-0.5 0.5"), "line 5: 'ITEM: BOX BOUNDS pp pp pp' is followed by 4 lines, not by 3"),
    (changed("id type x y z", "id type x y vz"), "line 9: needs the columns x, y and z"),
    (changed("id type x y z", "id x x y z"), "line 9: a column is declared twice"),
    (changed("\n3\n", "\nthree\n"), "line 4: must be the number of particles, not 'three'"),
]
OF_DATA = [
    (without("0 8 ylo yhi"), r"line \d+: 'ylo yhi' is missing before this line"),
    (changed("0 8 ylo yhi", "0 8 xlo xhi"), r"line 7: 'xlo xhi' is given twice"),
    (changed("0 8 ylo yhi", "0 8 xy ylo yhi"), r"line \d+: "),
    (changed("\nAtoms # atomic\n", "\nAtoms # atomic\n\n3 1 4 4 0\n\nAtoms\n"), r"line \d+: needs one section 'Atoms'"),
]
DAMAGES = [
    *[("dump", *damage) for damage in [*BOTH, *OF_DUMP]],
    *[("data", *damage) for damage in [*BOTH, *OF_DATA]],
]


@pytest.mark.parametrize(("name", "damage", "message"), DAMAGES, ids=[str(k) for k in range(len(DAMAGES))])
def test_a_damaged_file_is_refused(tmp_path: Path, name: str, damage: Callable[[str], str], message: str) -> None:
    path = tmp_path / f"packing.{name}"
    path.write_text(damage(FILES[name]))
    assert path.read_text() != FILES[name]
    with pytest.raises(gw.RequestError) as raised:
        read_packing(path)
    assert re.match(rf"configuration={re.escape(str(path))}: .*({message})", str(raised.value))
    assert "\n" not in str(raised.value)


DIALECTS = {
    "as it is": lambda text: text,
    "no end of the last line": lambda text: text.rstrip("\n"),
    "other ends of lines": lambda text: text.replace("\n", "\r\n"),
    "further columns": lambda text: text.replace("y z\n", "y z c_1\n").replace(" 0\n", " 0 0\n"),
    "units": lambda text: text.replace("ITEM: TIMESTEP", "ITEM: UNITS\nlj\nITEM: TIME\n0.5\nITEM: TIMESTEP", 1),
}


LEGAL = [("dump", dialect) for dialect in DIALECTS] + [("data", dialect) for dialect in list(DIALECTS)[:3]]


@pytest.mark.parametrize(("name", "dialect"), LEGAL)
def test_what_is_legal_is_read(tmp_path: Path, name: str, dialect: str) -> None:
    path = tmp_path / f"packing.{name}"
    path.write_bytes(DIALECTS[dialect](FILES[name]).encode())
    packing = read_packing(path)
    np.testing.assert_allclose(packing.position, [[1.0, 1.0], [1.8, 1.0], [4.0, 4.0]], rtol=0, atol=1e-14)
    np.testing.assert_array_equal(packing.species, [0, 1, 0])
    np.testing.assert_array_equal(packing.box, [[8.0, 0.0], [0.0, 8.0]])


def test_every_configuration_of_a_dump_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "packings.dump"
    path.write_text(DUMP + DUMP)
    assert len(read_packings(path)) == 2
    path.write_text(DUMP + DUMP.replace("\n3\n", "\n4\n", 1))
    with pytest.raises(gw.RequestError, match="line 25: 4 particles announced, 3 found"):
        read_packings(path)
