"""Packings in the formats of other programs, read by the packages `gsd` and ASE where these are installed."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .._errors import RequestError, named
from .._types import Untyped
from ..physics.configuration import Configuration
from ..physics.disorder import FIELDS
from ..physics.lattice import widest_basis
from .extxyz import sorted_labels
from .lammps_text import check_data, check_dump

# What glasswright logs in a GSD file beside the format's own single precision.
FRACTIONAL, BOX, FIELD = "log/particles/glasswright/fractional", "log/glasswright/box", "log/particles/glasswright/"
# Largest difference of height of a packing in two dimensions, relative to the size of the box.
FLAT = 1e-8


def read_gsd(content: bytes, where: str, species: Sequence[str] | None) -> list[Configuration]:
    """The packings of a GSD file's content, with the digits of double precision where glasswright has written it."""
    try:
        import gsd.hoomd
        import gsd.pygsd
    except ImportError:
        _refuse_without("gsd", "a GSD file", where)
    try:
        # The reader in Python takes what was decompressed; the one in C only files.
        frames = list(gsd.hoomd.HOOMDTrajectory(gsd.pygsd.GSDFile(io.BytesIO(content))))
        labels = [[frame.particles.types[k] for k in frame.particles.typeid] for frame in frames]
    except Exception as error:  # the library raises what it likes
        raise RequestError(f"{where}: cannot be read as a GSD file: {named(error, 200)}") from error
    if not frames:
        raise RequestError(f"{where}: there is no packing in it")
    numbers = species_numbers(labels, where, species)
    return [_of_gsd(frame, own, where) for frame, own in zip(frames, numbers, strict=True)]


def _of_gsd(frame: Untyped, species: list[int], where: str) -> Configuration:
    d = 2 if frame.configuration.dimensions == 2 else 3
    log = frame.log or {}
    if FRACTIONAL.removeprefix("log/") in log and BOX.removeprefix("log/") in log:
        prefix = FIELD.removeprefix("log/")
        fields = {name: log[prefix + name] for name in FIELDS if prefix + name in log}
        fractional, box = log[FRACTIONAL.removeprefix("log/")], log[BOX.removeprefix("log/")]
        disorder = {n: jnp.asarray(x).astype(jnp.uint32 if n == "bond_seed" else float) for n, x in fields.items()}
        return Configuration(jnp.asarray(fractional), jnp.asarray(box), jnp.asarray(species), disorder)
    lx, ly, lz, xy, xz, yz = (float(x) for x in frame.configuration.box)
    lattice = np.array([[lx, 0.0, 0.0], [xy * ly, ly, 0.0], [xz * lz, yz * lz, lz]])
    return configuration_of(np.asarray(frame.particles.position, dtype=float), lattice, species, d, where)


def read_with_ase(
    source: bytes | Path, file_format: str | None, what: str, where: str, species: Sequence[str] | None
) -> list[Configuration]:
    """The packings of a file that ASE reads: the content of one in a format of LAMMPS, or the path of any other."""
    try:
        import ase.io
    except ImportError:
        _refuse_without("ase", what, where)
    try:
        text = source.decode() if isinstance(source, bytes) else None
    except UnicodeDecodeError as error:
        raise RequestError(f"{where}: cannot be read as text ({error})") from None
    if text is not None:
        (check_data if file_format == "lammps-data" else check_dump)(text, where)
    try:
        content = source if isinstance(source, Path) else io.StringIO(text)
        frames = ase.io.read(content, index=":", format=file_format)
    except Exception as error:  # the library raises what it likes
        raise RequestError(f"{where}: cannot be read as {what}: {named(error, 200)}") from error
    if not frames:
        raise RequestError(f"{where}: there is no packing in it")
    of_lammps = file_format is not None
    numbers = species_numbers([_labels(atoms, of_lammps) for atoms in frames], where, species)
    return [
        configuration_of(
            np.asarray(atoms.positions), np.asarray(atoms.cell), own, _dimension(atoms, of_lammps, where), where
        )
        for atoms, own in zip(frames, numbers, strict=True)
    ]


def _labels(atoms: Untyped, of_lammps: bool) -> list[str]:
    """What kind each particle is: the types of LAMMPS, unless the file names elements."""
    if of_lammps and "type" in atoms.arrays:
        return [str(int(kind)) for kind in atoms.arrays["type"]]
    return [str(symbol) for symbol in atoms.get_chemical_symbols()]


def _dimension(atoms: Untyped, of_lammps: bool, where: str) -> int:
    """Two or three: LAMMPS does not say, but a packing of one height is no solid in three dimensions."""
    periodic = [bool(x) for x in atoms.pbc]
    height, cell = np.asarray(atoms.positions)[:, 2], np.asarray(atoms.cell)
    is_flat = np.ptp(height) <= FLAT * np.max(np.abs(cell))
    if periodic == [True, True, False] or (of_lammps and is_flat and periodic[:2] == [True, True]):
        if not is_flat:
            raise RequestError(f"{where}: a packing that is periodic in two directions must be flat")
        return 2
    if not all(periodic):
        raise RequestError(f"{where}: must be periodic in all directions, or in the first two and flat")
    return 3


def species_numbers(labels: Sequence[Sequence[str]], where: str, species: Sequence[str] | None) -> list[list[int]]:
    """The species of each particle of each packing, from its label."""
    names = species_names({label for of_frame in labels for label in of_frame}, where, species)
    index = {name: k for k, name in enumerate(names)}
    return [[index[label] for label in of_frame] for of_frame in labels]


def species_names(present: set[str], where: str, species: Sequence[str] | None) -> list[str]:
    """The labels in the order of their species: sorted, or as they are given."""
    if species is None:
        return sorted_labels(present)
    unknown = sorted(present - set(species))
    if unknown:
        raise RequestError(
            f"{where}: has particles of the species {', '.join(unknown)}, which [{','.join(species)}] does not name"
        )
    return list(species)


def configuration_of(
    position: Float[np.ndarray, "n 3"], lattice: Float[np.ndarray, "3 3"], species: Sequence[int], d: int, where: str
) -> Configuration:
    """A packing from positions and lattice vectors, one vector to a row, in the widest basis of its lattice."""
    box = lattice.T[:d, :d]
    if not (np.all(np.isfinite(position)) and np.all(np.isfinite(lattice))):
        raise RequestError(f"{where}: positions and lattice vectors must be finite")
    if d == 2 and np.any(np.abs(lattice[:2, 2]) > FLAT * np.max(np.abs(box))):
        raise RequestError(f"{where}: in two dimensions the first two lattice vectors must have no z component")
    if d == 2 and len(position) > 0 and np.ptp(position[:, 2]) > FLAT * np.max(np.abs(box)):
        raise RequestError(f"{where}: a packing in two dimensions must be flat, and z differs between its particles")
    if len(position) < 2:
        raise RequestError(f"{where}: needs two particles or more, not {len(position)}")
    try:
        box = box @ widest_basis(box)
    except ValueError as error:
        raise RequestError(f"{where}: {error}") from None
    fractional = np.linalg.solve(box, position[:, :d].T).T
    return Configuration(jnp.asarray(fractional), jnp.asarray(box), jnp.asarray(species))


def _refuse_without(package: str, what: str, where: str) -> NoReturn:
    raise RequestError(
        f"{where}: {what} is read by {package}, which is not installed; pip install 'glasswright[files]'"
    )
