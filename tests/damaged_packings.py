"""Valid files of packings and eleven kinds of damage to them, each with what the damaged file says."""

import dataclasses
import re
from collections.abc import Callable

import numpy as np

NAMES = ("B", "C", "N")


@dataclasses.dataclass
class Packing:
    """What a file says: labels, positions, lattice vectors as rows, and periodic directions."""

    labels: list[str]
    positions: np.ndarray
    cell: np.ndarray
    pbc: list[bool]


@dataclasses.dataclass
class File:
    """A valid file in parts, so that each can be damaged, and what it says."""

    says: Packing
    count: str
    items: dict[str, str]
    rows: list[list[str]]

    @property
    def text(self) -> str:
        header = " ".join(f"{key}={value}" for key, value in self.items.items())
        return "\n".join([self.count, header, *(" ".join(row) for row in self.rows)]) + "\n"

    @property
    def dimension(self) -> int:
        return sum(self.says.pbc)


# Stands for: whatever ASE reads.
ASK_ASE = "ask ASE"
Damaged = tuple[str | bytes, Packing | str | None]
Damage = Callable[[File, np.random.Generator], Damaged]


def valid_file(rng: np.random.Generator) -> File:
    n, d = int(rng.integers(24, 61)), int(rng.integers(2, 4))
    cell = np.eye(3)
    cell[:d, :d] = 5.0 * np.eye(d) + np.tril(rng.uniform(-2.0, 2.0, (d, d)), -1)
    positions = np.zeros((n, 3))
    positions[:, :d] = rng.random((n, d)) @ cell[:d, :d]
    labels = [NAMES[k] for k in rng.integers(0, 3, n)]
    pbc = [True, True, d == 3]
    items = {
        "Lattice": '"' + " ".join(f"{x:.17g}" for x in cell.ravel()) + '"',
        "Properties": "species:S:1:pos:R:3",
        "pbc": '"T T T"' if d == 3 else '"T T F"',
        "energy": "-1.5",
    }
    rows = [[label, *(f"{x:.17g}" for x in position)] for label, position in zip(labels, positions, strict=True)]
    return File(Packing(labels, positions, cell, pbc), str(n), items, rows)


def damaged_rows(file: File, rng: np.random.Generator) -> Damaged:
    k, m = rng.choice(len(file.rows), 2, replace=False)
    kind = rng.integers(8)
    if kind == 0:
        del file.rows[k]
    elif kind == 1:
        file.rows.insert(m, file.rows[k])
    elif kind == 2:
        file.rows.insert(m, [])
    elif kind == 3:
        file.rows[k] = file.rows[k] + file.rows[m]
        del file.rows[m]
    elif kind == 4:
        file.rows[k].pop(rng.integers(4))
    elif kind == 5:
        file.rows[k].insert(rng.integers(5), "1")
    elif kind == 6:
        a = rng.integers(1, 4)
        file.rows[k][0], file.rows[k][a] = file.rows[k][a], file.rows[k][0]
    else:
        file.rows[k], file.rows[m] = file.rows[m], file.rows[k]
        return file.text, ASK_ASE
    return file.text, None


def damaged_columns(file: File, rng: np.random.Generator) -> Damaged:
    kind = rng.integers(9)
    if kind == 0:
        file.items["Properties"] = "species:S:1:pos:R:" + str(rng.choice(["1", "2", "4", "0", "-3", "3.0", "x"]))
    elif kind == 1:
        file.items["Properties"] = "species:S:1:" + str(rng.choice(["position:R:3", "pos:S:3", "pos:Q:3", "pos:R"]))
    elif kind == 2:
        file.items["Properties"] = str(
            rng.choice(["pos:R:3:species:S:1", "species:I:1:pos:R:3", "species:L:1:pos:R:3"])
        )
    elif kind == 3:
        file.items["Properties"] += ":" + str(rng.choice(["pos:R:3", "mass:R:1", "species:S:1", "mass"]))
    elif kind == 4:
        del file.items["Properties"]
        return file.text, file.says
    elif kind == 5:
        if file.dimension == 3:
            file.items["Properties"] = "species:S:1:pos:R:2:radius:R:1"
            return file.text, None
        file.items["Properties"] = "species:S:1:pos:R:2:radius:R:1"
        for row in file.rows:
            row[3] = f"{rng.random():.3f}"
        return file.text, file.says
    elif kind == 6:
        for row in file.rows:
            row.append("1")
    else:
        columns = [("momenta", "R", 3), ("id", "I", 1), ("fixed", "L", 1), ("molecule", "S", 1)]
        made = {"R": f"{rng.normal():.6e}", "I": "7", "L": "T", "S": "water"}
        order = rng.permutation(6)
        known = [("species", "S", 1), ("pos", "R", 3), *columns]
        file.items["Properties"] = ":".join(":".join(map(str, known[k])) for k in order)
        for at, row in enumerate(file.rows):
            parts = [row[:1], row[1:], *([made[letter] for _ in range(width)] for _, letter, width in columns)]
            file.rows[at] = [x for k in order for x in parts[k]]
        return file.text, file.says
    return file.text, None


def damaged_keys(file: File, rng: np.random.Generator) -> Damaged:
    kind = rng.integers(10)
    key = str(rng.choice(["Lattice", "Properties", "pbc"]))
    text = file.text
    if kind == 0:
        return text.replace(
            "Lattice=", str(rng.choice(["lattic=", "Cell=", "Lattice", "Lattice:", "my_Lattice="]))
        ), None
    if kind == 1:
        return text.replace(f"{key}=", f"{key}= {key}="), None
    if kind == 2:
        return text.replace(f"{key}=", f"{key}={file.items[key]} {key}="), None
    if kind == 3:
        quotes = [match.start() for match in re.finditer('"', text)]
        place = int(rng.choice(quotes))
        return text[:place] + text[place + 1 :], None
    if kind == 4:
        decoy = rng.choice(["reference-{}", "old.{}", "my_{}", "{}_0", "x{}", "{}2"])
        value = rng.choice(
            ['"9 0 0 0 9 0 0 0 9"', '"F F F"', "species:S:1:pos:R:2", "[[1, 2], [3, 4]]", r'"a \" pbc=F"']
        )
        behind = str(rng.choice(list(file.items)))
        return text.replace(f"{behind}=", f"{str(decoy).format(key)}={value} {behind}="), file.says
    if kind == 5:
        file.items = {str(name): file.items[str(name)] for name in rng.permutation(list(file.items))}
        return file.text, file.says
    if kind == 6:
        return text.replace('"', "'") if rng.integers(2) else re.sub('"([^"]*)"', r"{ \1 }", text), file.says
    if kind == 7:
        rows = [", ".join(file.items["Lattice"].strip('"').split()[k : k + 3]) for k in (0, 3, 6)]
        file.items["Lattice"] = "[" + ", ".join(f"[{row}]" for row in rows) + "]"
        file.items["pbc"] = "[" + ", ".join("FT"[x] for x in file.says.pbc) + "]"
        return file.text, file.says
    if kind == 8:
        words = [("true", "false"), ("True", "FALSE"), ("1", "0")][rng.integers(3)]
        file.items["pbc"] = '"' + " ".join(words[not x] for x in file.says.pbc) + '"'
        return file.text, file.says
    if file.dimension == 3:
        del file.items["pbc"]
        return file.text, file.says
    file.items["pbc"] = str(
        rng.choice(['"F F F"', '"T F F"', '"T T"', '"T T T T"', "F", "110", '"T T -"', '""', "T,T"])
    )
    return file.text, None


def damaged_numbers(file: File, rng: np.random.Generator) -> Damaged:
    k, a = int(rng.integers(len(file.rows))), int(rng.integers(file.dimension))
    kind = rng.integers(8)
    if kind == 0:
        bad = [
            "nan",
            "inf",
            "-inf",
            "1e999",
            "1_0",
            "0x1",
            "1,5",
            "one",
            "--1",
            "1.2.3",
            "****",
            "1e",
            "NaN",
            "1d+",
            "T",
        ]
        file.rows[k][1 + a] = str(rng.choice(bad))
        return file.text, None
    if kind == 1:
        file.rows[k][1 + a] = f"{rng.choice([-1, 1]) * 10.0 ** rng.integers(11, 300):.17g}"
        return file.text, None
    if kind == 2:
        if file.dimension == 2:
            file.rows[k][3] = f"{10.0 ** rng.uniform(-6, 2):.6g}"
            return file.text, None
        return file.text, file.says
    if kind == 3:
        for at, position in enumerate(file.says.positions):
            value = position + rng.integers(-1000, 1001, file.dimension) @ file.says.cell[: file.dimension]
            file.rows[at][1:] = [f"{x:.17g}" for x in value]
        return file.text, file.says
    if kind == 4:
        digits = [match.start() for match in re.finditer("[0-9]", file.rows[k][1 + a])]
        place, number = int(rng.choice(digits)), file.rows[k][1 + a]
        file.rows[k][1 + a] = number[:place] + str(rng.integers(10)) + number[place + 1 :]
        return file.text, ASK_ASE
    if kind == 5:
        for row in file.rows:
            row[1:] = [f"{float(x):.17e}".replace("e", str(rng.choice(["D", "d", "E"]))) for x in row[1:]]
        return file.text, file.says
    lattice = file.items["Lattice"].strip('"').split()
    place = int(rng.integers(3 * file.dimension))
    if kind == 6:
        lattice[place] = str(rng.choice(["nan", "inf", "1e999", "x", "", "1 1", "1_0", "1,,1"]))
        file.items["Lattice"] = '"' + " ".join(lattice) + '"'
        return file.text, None
    # Another basis of the same lattice.
    cell = file.says.cell.copy()
    cell[1] += int(rng.integers(-20, 21)) * cell[0]
    file.items["Lattice"] = '"' + " ".join(f"{x:.17g}" for x in cell.ravel()) + '"'
    return file.text, file.says


def damaged_encoding(file: File, rng: np.random.Generator) -> Damaged:
    data = file.text.encode()
    kind = rng.integers(8)
    first = data.index(b"\n", data.index(b"\n") + 1) + 1
    place = int(rng.integers(first, len(data) - 1))
    if kind == 0:
        return b"\xef\xbb\xbf" + data, file.says
    if kind == 1:
        return data.replace(b"\n", b"\r\n"), file.says
    if kind == 2:
        return file.text.encode("utf-16"), None
    if kind == 3:
        return data[:place] + bytes([int(rng.integers(128, 192))]) + data[place:], None
    if kind == 4:
        return data[:place] + bytes([int(rng.choice([0, 1, 7, 11, 12, 27, 28, 127]))]) + data[place:], None
    if kind == 5:
        character = str(rng.choice(["\u00a0", "\u2028", "\u0661", "\u200b", "\ufeff", "\u0410"]))
        return data[:place] + character.encode() + data[place:], None
    if kind == 6:
        return data.replace(b" ", b"\t ") + b"\n \n\t\n", file.says
    return data[: first - 1] + " Größe=„groß“".encode() + data[first - 1 :], file.says


def truncated(file: File, rng: np.random.Generator) -> Damaged:
    text = file.text
    place = int(rng.integers(len(text))) if rng.integers(2) else len(text) - int(rng.integers(40))
    return text[:place], ASK_ASE


def wrong_count(file: File, rng: np.random.Generator) -> Damaged:
    n = len(file.rows)
    wrong = [
        f"{n - 1}",
        f"{n + 1}",
        f"{n}.0",
        f"-{n}",
        f"{n} particles",
        "",
        "0",
        "1",
        "N",
        f"{n}\n",
        f"1{n}",
        f"{n}_0",
    ]
    choice = int(rng.integers(len(wrong) + 1))
    if choice == len(wrong):
        file.count = f"  {n}\t"
        return file.text, file.says
    file.count = wrong[choice]
    return file.text, None


def several(file: File, rng: np.random.Generator) -> Damaged:
    kind = rng.integers(4)
    if kind == 0:
        return file.text + file.text, None
    if kind == 1:
        return file.text + "\n" + file.text, None
    if kind == 2:
        return file.text + str(rng.choice(["B 1 1 0", "VEC1 1 0 0", "# end", "3", "B"])) + "\n", None
    return "\n" + file.text, None


def deleted(file: File, rng: np.random.Generator) -> Damaged:
    place, length = int(rng.integers(len(file.text))), int(rng.choice([1, 1, 1, 2, 20]))
    return file.text[:place] + file.text[place + length :], ASK_ASE


def inserted(file: File, rng: np.random.Generator) -> Damaged:
    text = file.text
    # Half of them into the header, where more can go wrong.
    end = text.index("\n", text.index("\n") + 1) if rng.integers(2) else len(text)
    place = int(rng.integers(end))
    return text[:place] + str(rng.choice(list("\"'{}[]=:, \n-.0123456789edTFAx_\\"))) + text[place:], ASK_ASE


def replaced(file: File, rng: np.random.Generator) -> Damaged:
    text = file.text
    end = text.index("\n", text.index("\n") + 1) if rng.integers(2) else len(text)
    place = int(rng.integers(end))
    return text[:place] + str(rng.choice(list("\"'{}[]=:, \n-.0123456789edTFAx_\\"))) + text[place + 1 :], ASK_ASE


DAMAGES = (
    damaged_rows,
    damaged_columns,
    damaged_keys,
    damaged_numbers,
    damaged_encoding,
    truncated,
    wrong_count,
    several,
    deleted,
    inserted,
    replaced,
)
