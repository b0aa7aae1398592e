"""Packings as extended XYZ: 17 digits, `Properties=type:I:1:pos:R:3:radius:R:1`, readable by ASE, OVITO and others.

Species are numbers, so that nobody takes them for chemical elements. Fields of quenched disorder are columns behind
these, where there are any; energy, stress and the potential are in the comment line.

The reader is our own and strict: a file is read as what it says, or refused. What is legal follows the format's
specification (libAtoms/extxyz). Neither of the two kept readers can stand in for it:

- ASE 3.29 takes species for chemical elements: labels A, B, … raise `KeyError`, integers `AttributeError`. It refuses
  nested arrays and a byte order mark. Without a word it reads `pbc=TTF` as periodic in all directions, takes the last
  of two lattices, drops surplus columns, closes an open quote, and lets `nan` and `1_0` (as 10) pass.
- extxyz 0.4.6 refuses blank lines at the end. Without a word it reads `2.5` or `2 particles` as two particles, takes
  the last of two lattices, loses the lattice if a quote is open behind it, and transposes `Lattice=[ax, ay, …]`.

`tests/run/test_extxyz_damaged.py` compares with ASE wherever ASE reads a file.
"""

import string
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._errors import RequestError
from ..physics.configuration import Configuration
from ..physics.disorder import FIELDS
from ..physics.lattice import widest_basis
from .extxyz_frame import Frame, Source, read_frame
from .extxyz_header import NUMBER, POTENTIAL, Column, HeaderError, exact_number, number, parse_header, quoted

# Largest difference of height in two dimensions, in units of the distance between particles. It changes no distance by
# more than rounding does.
SAME_HEIGHT = 1e-8
# Coarsest last digit of a position, in the same units. A position far outside of the cell has fewer digits left to say
# where in the cell it is.
COARSEST = 1e-6


def read_configuration(path: str | Path, key: str = "configuration") -> Configuration:
    """The one configuration of a file. Labels in sorted order are species 0, 1, …; `pbc="T T F"` is two-dimensional.

    Labels that are numbers are sorted as numbers. A lattice that is given by a skewed basis gets the basis with the
    widest box (`widest_basis`); no particle moves. Particles may lie outside of the cell, or on top of each other.

    Raises `RequestError` naming the file and the line for anything missing, malformed, truncated or surplus; `key` is
    what the file was given as. Files of several configurations are for `read_frames`.
    """
    source = Source(path, key)
    frame = read_frame(source)
    if frame.end < len(source.lines):
        if source.begins_frame(frame.end):
            source.refuse(frame.end, "a second configuration begins here; put the one that is meant into its own file")
        frame.refuse_surplus()
    return _configurations([frame])[0]


def read_frames(
    path: str | Path, key: str = "configuration", species: Sequence[str] | None = None
) -> list[Configuration]:
    """All configurations of a file, in order; otherwise as `read_configuration`.

    A label is the same species in all of them. With `species`, labels are species in that order, and a file with others
    is refused.
    """
    source = Source(path, key)
    frames = [read_frame(source)]
    while frames[-1].end < len(source.lines):
        if not source.begins_frame(frames[-1].end):
            frames[-1].refuse_surplus()
        frames.append(read_frame(source, frames[-1].end))
    return _configurations(frames, species)


def read_potential(path: str | Path, key: str = "configuration") -> str | None:
    """The potential that the configurations of a file carry, as the text that it was written with, if any.

    None also where the file cannot be read, which is for whoever reads the packing to say. Raises `RequestError` if
    they carry different ones: each is at rest under its own.
    """
    carried: list[str | None] = []
    try:
        source, place = Source(path, key), 0
        while place < len(source.lines):
            carried.append(parse_header(source.lines[place + 1]).potential)
            place += 2 + abs(int(source.lines[place]))
    except (RequestError, HeaderError, IndexError, ValueError):
        return None
    for which, potential in enumerate(carried):
        if potential != carried[0]:
            raise RequestError(
                f"{key}={path}: packing {which} does not carry the potential of packing 0; put packings of different "
                "potentials into files of their own, or name one for all: potential=NAME"
            )
    return carried[0] if carried else None


def write_configuration(
    configuration: Configuration,
    *,
    potential: str | None = None,
    diameters: Float[np.ndarray, " n"] | None = None,
    stress: Float[np.ndarray, "d d"] | None = None,
    labels: Sequence[str] | None = None,
    **comment: float,
) -> str:
    """The text of a file that reads back to the same packing.

    Species are numbers from 1 on in the column `type`, which other programs take for what they are and not for chemical
    elements.

    **Arguments:**

    - `potential`: the interactions that the packing was made with, a text that `read_potential` gives back.
    - `diameters`: of each particle, in units of length; the column `radius` has half of them.
    - `stress`: positive under tension, in energy per volume.
    - `labels`: the name of each species.
    - `comment`: further numbers for the comment line.
    """
    d = configuration.dimension
    box = np.eye(3)
    box[:d, :d] = np.asarray(configuration.box)
    fractional = np.asarray(configuration.fractional)
    wrapped = fractional - np.floor(fractional)
    position = np.zeros((configuration.n_particles, 3))
    for b in range(d):
        # Not a matrix product, whose last digit depends on where in memory its factors lie.
        position[:, :d] += wrapped[:, b, None] * np.asarray(configuration.box)[:, b]
    extra = "".join(f" {name}={value:.17g}" for name, value in comment.items())
    if stress is not None:
        full = np.zeros((3, 3))
        full[:d, :d] = stress
        extra += f' stress="{_joined(full)}"'
    if labels is not None:
        extra += f' species_names="{" ".join(labels)}"'
    if potential is not None:
        escaped = potential.replace("\\", "\\\\").replace('"', '\\"')
        extra += f' {POTENTIAL}="{escaped}"'
    periodic = "T T F" if d == 2 else "T T T"
    fields = {} if diameters is None else {"radius": 0.5 * diameters}
    fields |= {name: np.asarray(configuration.disorder[name]) for name in sorted(configuration.disorder)}
    columns = "".join(f":{name}:{'I' if field.dtype.kind in 'iu' else 'R'}:1" for name, field in fields.items())
    lines = [
        str(configuration.n_particles),
        f'Lattice="{_joined(box.T)}" Properties=type:I:1:pos:R:3{columns} pbc="{periodic}"{extra}',
    ]
    for kind, *numbers in zip(np.asarray(configuration.species), *position.T, *fields.values(), strict=True):
        lines.append(" ".join([str(kind + 1), *(f"{x:.17g}" for x in numbers)]))
    return "\n".join(lines) + "\n"


def _joined(matrix: Float[np.ndarray, "3 3"]) -> str:
    return " ".join(f"{x:.17g}" for x in matrix.ravel())


def species_labels(n_species: int) -> list[str]:
    """Labels whose sorted order is that of the species: A, B, …, and of equal length beyond 26."""
    if n_species <= 26:
        return list(string.ascii_uppercase[:n_species])
    width = len(str(n_species - 1))
    return [f"S{k:0{width}d}" for k in range(n_species)]


def _configurations(frames: Sequence[Frame], species: Sequence[str] | None = None) -> list[Configuration]:
    """What the frames of one file say."""
    labels = [_labels(frame) for frame in frames]
    names = sorted_labels({label for of_frame in labels for label in of_frame})
    if species is not None:
        for frame, of_frame in zip(frames, labels, strict=True):
            for k, label in enumerate(of_frame):
                if label not in species:
                    frame.refuse_row(k, f"is of the species {quoted(label)}, which [{','.join(species)}] does not name")
        names = list(species)
    index = {name: k for k, name in enumerate(names)}
    return [
        _configuration(frame, [index[label] for label in of_frame])
        for frame, of_frame in zip(frames, labels, strict=True)
    ]


def _configuration(frame: Frame, species: list[int]) -> Configuration:
    position, d = frame.header.position, frame.header.dimension
    box, exact_box = _box(frame, d)
    with np.errstate(over="ignore", under="ignore"):
        volume = abs(float(np.linalg.det(box)))
    if not 0.0 < volume < float("inf"):
        frame.refuse_header("the lattice vectors must span a finite volume")
    spacing = (volume / len(frame.rows)) ** (1.0 / d)
    positions = _positions(frame, position, d, spacing)
    fractional = np.linalg.solve(box, positions.T).T
    far = np.flatnonzero(np.any(np.abs(fractional - 0.5) > 1.5, axis=1))
    for k in far:
        # The whole cells are taken off before anything is rounded.
        cells = [int(x) for x in np.floor(fractional[k])]
        texts = frame.rows[k][position.start : position.start + d]
        inside = [
            exact_number(x) - sum(n * vector[a] for n, vector in zip(cells, exact_box, strict=True))
            for a, x in enumerate(texts)
        ]
        positions[k] = [float(x) for x in inside]
    fractional[far] = np.linalg.solve(box, positions[far].T).T
    return Configuration(
        fractional=jnp.asarray(fractional),
        box=jnp.asarray(box),
        species=jnp.asarray(species),
        disorder=_disorder(frame),
    )


def _labels(frame: Frame) -> list[str]:
    """What kind each particle is, as text."""
    columns = frame.header.species
    labels, *others = [
        [str(int(x)) for x in frame.column(column)] if column.kind == "I" else frame.column(column)
        for column in columns
    ]
    for column, other in zip(columns[1:], others, strict=True):
        if len(set(zip(labels, other, strict=True))) > len(set(labels)):
            # Silently merging what the file keeps apart would be worse.
            frame.refuse_header(
                f"Properties: column {quoted(column.name)} tells particles apart that are the same in column "
                f"{quoted(columns[0].name)}; keep the one that is meant"
            )
    return labels


def sorted_labels(labels: set[str]) -> list[str]:
    """In the order of their species: as numbers if all are numbers, so that 2 comes before 10."""
    if all(NUMBER.fullmatch(label) for label in labels):
        return sorted(labels, key=lambda label: (number(label), label))
    return sorted(labels)


def _box(frame: Frame, d: int) -> tuple[Float[np.ndarray, "d d"], list[list[Fraction]]]:
    """The box, lattice vectors as columns, and the same vectors (one after the other) without rounding."""
    texts = np.asarray(frame.header.lattice).reshape(3, 3)
    lattice = np.asarray([[number(x) for x in vector] for vector in texts])
    if not np.all(np.isfinite(lattice)):
        frame.refuse_header("Lattice: must be finite numbers")
    box = lattice.T[:d, :d]
    if d == 2 and np.any(np.abs(lattice[:2, 2]) > SAME_HEIGHT * np.max(np.abs(box))):
        frame.refuse_header("Lattice: in two dimensions the first two vectors must have no z component")
    try:
        change = widest_basis(box)
    except ValueError as error:
        frame.refuse_header(f"Lattice: {error}")
    exact = [[exact_number(x) for x in vector[:d]] for vector in texts[:d]]
    if np.array_equal(change, np.eye(d)):
        return box, exact
    exact = [
        [sum((int(n) * v[a] for n, v in zip(column, exact, strict=True)), Fraction(0)) for a in range(d)]
        for column in change.T
    ]
    return np.asarray([[float(x) for x in vector] for vector in exact]).T, exact


def _positions(frame: Frame, column: Column, d: int, spacing: float) -> Float[np.ndarray, "n d"]:
    """The positions as written; in two dimensions all must have the same height."""
    coordinates = np.empty((len(frame.rows), column.width))
    for k, row in enumerate(frame.rows):
        for a, text in enumerate(row[column.start : column.start + column.width]):
            value = number(text) if NUMBER.fullmatch(text) else float("nan")
            if not np.isfinite(value):
                frame.refuse_row(k, f"needs finite coordinates, not {quoted(text)}")
            coordinates[k, a] = value
    in_cell = np.ascontiguousarray(coordinates[:, :d])
    resolution = np.finfo(float).eps * np.max(np.abs(in_cell), axis=1)
    if np.any(resolution > COARSEST * spacing):
        k = int(np.argmax(resolution > COARSEST * spacing))
        frame.refuse_row(
            k,
            f"the particle is so far from the cell ({np.max(np.abs(in_cell[k])):.3g}) that a double has too few digits "
            "left to say where in the cell it is; wrap it first",
        )
    if column.width > d:
        height = coordinates[:, 2]
        apart = np.abs(height - height[0]) > SAME_HEIGHT * spacing
        if np.any(apart):
            k = int(np.argmax(apart))
            frame.refuse_row(
                k,
                f"z is {height[k]:g} and {height[0]:g} for the first particle: a packing that is periodic in two "
                'directions (pbc="T T F") must be flat, a slab is not two-dimensional',
            )
    return in_cell


def _disorder(frame: Frame) -> dict[str, Array]:
    """The fields of quenched disorder that the file has."""
    columns = {name: column for name in FIELDS if (column := frame.header.columns.get(name)) is not None}
    if ("bond_seed" in columns) != ("bond_spread" in columns):
        frame.refuse_header("bond_seed and bond_spread only go together")
    disorder = {}
    for name, column in columns.items():
        if column.width != 1 or column.kind not in ("R", "I"):
            frame.refuse_header(f"Properties: needs {name}:{'I' if name == 'bond_seed' else 'R'}:1")
        values = [number(x) if NUMBER.fullmatch(x) else float("nan") for x in frame.column(column)]
        for k, value in enumerate(values):
            if not np.isfinite(value) or (name == "bond_seed" and not (value.is_integer() and 0 <= value < 2**32)):
                frame.refuse_row(k, f"needs a finite {name}, not {quoted(frame.rows[k][column.start])}")
        # Of the type that the field is drawn with.
        disorder[name] = jnp.asarray(values).astype(jnp.uint32 if name == "bond_seed" else float)
    return disorder
