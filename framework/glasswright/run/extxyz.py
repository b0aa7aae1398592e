"""Packings as extended XYZ: 17 digits, `Properties=species:S:1:pos:R:3`, readable by OVITO and most others.

Fields of quenched disorder are columns behind these, where there are any.

ASE cannot read these: species are labels (A, B, …), which it takes for chemical elements.
"""

import re
import string
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .._errors import RequestError
from ..physics.configuration import Configuration
from ..physics.disorder import FIELDS


def read_configuration(path: str | Path, key: str = "configuration") -> Configuration:
    """The first frame of a file. Labels in sorted order are species 0, 1, …; `pbc="T T F"` is two-dimensional.

    Raises `RequestError` naming the file and the line for anything missing, malformed or truncated; `key` is what the
    file was given as.
    """
    path = Path(path)
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        raise RequestError(f"{key}={path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"{key}={path}: cannot be read as text ({error})") from None

    def wrong(line: int, message: str) -> RequestError:
        return RequestError(f"{key}={path}: line {line}: {message}")

    try:
        n_particles = int(lines[0])
    except (IndexError, ValueError):
        raise wrong(1, "must be the number of particles") from None
    if n_particles < 2 or len(lines) < 2:
        raise wrong(1, f"{n_particles} particles and {max(len(lines) - 2, 0)} lines for them")
    header = dict(_key_values(lines[1]))
    lattice = _numbers(header.get("lattice", ""))
    if lattice is None or lattice.size != 9:
        raise wrong(2, 'needs Lattice="ax ay az bx by bz cx cy cz"')
    periodic = [flag.upper()[:1] for flag in header.get("pbc", "T T T").split()]
    if periodic not in (["T", "T", "T"], ["T", "T", "F"]):
        raise wrong(2, f'pbc="{header["pbc"]}": must be "T T T" (three dimensions) or "T T F" (two)')
    d = periodic.count("T")
    box = lattice.reshape(3, 3).T[:d, :d]
    if not np.all(np.isfinite(box)) or abs(np.linalg.det(box)) < 1e-12:
        raise wrong(2, "the lattice vectors must be finite and span a volume")
    columns = _columns(header.get("properties", ""), wrong)
    species_at, position_at = columns["species"], columns["pos"]
    fields_at = {name: columns[name] for name in FIELDS if name in columns}
    if ("bond_seed" in fields_at) != ("bond_spread" in fields_at):
        raise wrong(2, "bond_seed and bond_spread only go together")

    rows = lines[2 : 2 + n_particles]
    if len(rows) < n_particles:
        raise RequestError(f"{key}={path}: {n_particles} particles announced, {len(rows)} found (truncated?)")
    labels, positions = [], []
    disorder: dict[str, list[float]] = {name: [] for name in fields_at}
    for number, row in enumerate(rows, start=3):
        fields = row.split()
        position = _numbers(" ".join(fields[position_at : position_at + 3]))
        if position is None or position.size != 3 or len(fields) <= species_at or not np.all(np.isfinite(position)):
            raise wrong(number, f"needs a species and three finite coordinates, not {row!r}")
        labels.append(fields[species_at])
        positions.append(position[:d])
        for name, column in fields_at.items():
            value = _numbers(" ".join(fields[column : column + 1]))
            if value is None or value.size != 1 or not np.isfinite(value[0]):
                raise wrong(number, f"needs a finite {name}, not {row!r}")
            disorder[name].append(float(value[0]))
    names = sorted(set(labels))
    return Configuration(
        fractional=jnp.asarray(np.linalg.solve(box, np.asarray(positions).T).T),
        box=jnp.asarray(box),
        species=jnp.asarray([names.index(label) for label in labels]),
        disorder={name: _field(name, numbers) for name, numbers in disorder.items()},
    )


def write_configuration(configuration: Configuration, **comment: float) -> str:
    """The text of a file that reads back to the same packing, with further numbers in its comment line."""
    d = configuration.dimension
    box = np.eye(3)
    box[:d, :d] = np.asarray(configuration.box)
    fractional = np.asarray(configuration.fractional)
    wrapped = fractional - np.floor(fractional)
    position = np.zeros((configuration.n_particles, 3))
    for b in range(d):
        # Not a matrix product, whose last digit depends on where in memory its factors lie.
        position[:, :d] += wrapped[:, b, None] * np.asarray(configuration.box)[:, b]
    lattice = " ".join(f"{x:.17g}" for x in box.T.ravel())
    extra = "".join(f" {name}={value:.17g}" for name, value in comment.items())
    periodic = "T T F" if d == 2 else "T T T"
    disorder = {name: np.asarray(configuration.disorder[name]) for name in sorted(configuration.disorder)}
    columns = "".join(f":{name}:{'I' if field.dtype.kind in 'iu' else 'R'}:1" for name, field in disorder.items())
    lines = [
        str(configuration.n_particles),
        f'Lattice="{lattice}" Properties=species:S:1:pos:R:3{columns} pbc="{periodic}"{extra}',
    ]
    labels = species_labels(int(np.max(np.asarray(configuration.species))) + 1)
    for kind, *numbers in zip(np.asarray(configuration.species), *position.T, *disorder.values(), strict=True):
        lines.append(" ".join([labels[kind], *(f"{x:.17g}" for x in numbers)]))
    return "\n".join(lines) + "\n"


def species_labels(n_species: int) -> list[str]:
    """Labels whose sorted order is that of the species: A, B, …, and of equal length beyond 26."""
    if n_species <= 26:
        return list(string.ascii_uppercase[:n_species])
    width = len(str(n_species - 1))
    return [f"S{k:0{width}d}" for k in range(n_species)]


def _key_values(line: str):
    for match in re.finditer(r'(\w+)=(?:"([^"]*)"|(\S+))', line):
        yield match[1].lower(), match[2] if match[2] is not None else match[3]


def _numbers(text: str) -> np.ndarray | None:
    try:
        return np.asarray([float(x) for x in text.split()])
    except ValueError:
        return None


def _field(name: str, numbers: list[float]) -> Array:
    """A field of disorder, of the type that it is drawn with."""
    return jnp.asarray(numbers).astype(jnp.uint32 if name == "bond_seed" else float)


def _columns(properties: str, wrong) -> dict[str, int]:
    """The (first) column of everything that there is for each particle, at least of `species` and `pos`."""
    fields = properties.split(":")
    found, column = {}, 0
    for name, _, width in zip(fields[0::3], fields[1::3], fields[2::3], strict=False):
        found[name.lower()] = column
        column += int(width) if width.isdigit() else 1
    if "species" not in found or "pos" not in found:
        raise wrong(2, f"Properties={properties or '(missing)'}: needs species:S:1 and pos:R:3")
    return found
