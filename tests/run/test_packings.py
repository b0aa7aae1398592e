"""Packings in the formats of other programs: the same packing comes in, or one clear line says why not."""

import bz2
import gzip
import io
import lzma
from collections.abc import Callable
from pathlib import Path

import ase
import ase.io
import glasswright as gw
import gsd.hoomd
import jax
import numpy as np
import pytest
from glasswright.run.extxyz import read_configuration, write_configuration
from glasswright.run.packings import read_packing, read_packings

BOXES = {2: [[1.0, 0.4], [0.0, 1.2]], 3: [[1.0, 0.3, 0.2], [0.0, 1.1, -0.2], [0.0, 0.0, 0.9]]}


def some_packing(dimension: int, seed: int = 0) -> gw.Configuration:
    system = gw.System(33, 2, dimension, 1.0, composition=[0.7, 0.3], box=BOXES[dimension])
    return system.start(jax.random.key(seed))


def full(packing: gw.Configuration) -> tuple[np.ndarray, np.ndarray]:
    """Lattice vectors as rows and positions, in three dimensions."""
    d = packing.dimension
    lattice, position = np.eye(3), np.zeros((packing.n_particles, 3))
    lattice[:d, :d], position[:, :d] = np.asarray(packing.box).T, packing.position
    return lattice, position


def numbers(lattice: np.ndarray) -> tuple[float, ...]:
    """Edges and tilts of a cell in the form of LAMMPS."""
    (lx, _, _), (xy, ly, _), (xz, yz, lz) = lattice.tolist()
    return lx, ly, lz, xy, xz, yz


def write_dump(path: Path, packings: list[gw.Configuration]) -> None:
    """As LAMMPS writes it, particles in any order."""
    with open(path, "w") as file:
        for step, packing in enumerate(packings):
            lattice, position = full(packing)
            lx, ly, lz, xy, xz, yz = numbers(lattice)
            low, high = min(0.0, xy, xz, xy + xz), max(0.0, xy, xz, xy + xz)
            file.write(f"ITEM: TIMESTEP\n{step}\nITEM: NUMBER OF ATOMS\n{packing.n_particles}\n")
            file.write(f"ITEM: BOX BOUNDS xy xz yz pp pp pp\n{low!r} {lx + high!r} {xy!r}\n")
            file.write(f"{min(0.0, yz)!r} {ly + max(0.0, yz)!r} {xz!r}\n0.0 {lz!r} {yz!r}\n")
            file.write("ITEM: ATOMS id type x y z\n")
            for k in np.random.default_rng(0).permutation(packing.n_particles):
                x, y, z = map(float, position[k])
                file.write(f"{k + 1} {int(packing.species[k]) + 1} {x!r} {y!r} {z!r}\n")


def write_data(path: Path, packings: list[gw.Configuration]) -> None:
    (packing,) = packings
    lattice, position = full(packing)
    lx, ly, lz, xy, xz, yz = numbers(lattice)
    lines = ["a data file", "", f"{packing.n_particles} atoms", "2 atom types", ""]
    lines += [f"0 {lx!r} xlo xhi", f"0 {ly!r} ylo yhi", f"0 {lz!r} zlo zhi", f"{xy!r} {xz!r} {yz!r} xy xz yz"]
    lines += ["", "Atoms # atomic", ""]
    lines += [
        f"{k + 1} {int(kind) + 1} {float(x)!r} {float(y)!r} {float(z)!r}"
        for k, (kind, (x, y, z)) in enumerate(zip(packing.species, position, strict=True))
    ]
    path.write_text("\n".join(lines) + "\n")


def write_gsd(path: Path, packings: list[gw.Configuration]) -> None:
    with gsd.hoomd.open(str(path), "w") as file:
        for packing in packings:
            lattice, position = full(packing)
            frame, box = gsd.hoomd.Frame(), lattice.T
            frame.particles.N = packing.n_particles
            frame.particles.position = position
            frame.particles.types = ["A", "B"]
            frame.particles.typeid = np.asarray(packing.species)
            frame.configuration.dimensions = packing.dimension
            tilts = [box[0, 1] / box[1, 1], box[0, 2] / box[2, 2], box[1, 2] / box[2, 2]]
            frame.configuration.box = [*np.diagonal(box), *tilts]
            file.append(frame)


def write_extxyz(path: Path, packings: list[gw.Configuration]) -> None:
    path.write_text("".join(map(write_configuration, packings)))


def write_poscar(path: Path, packings: list[gw.Configuration]) -> None:
    """A format of which only ASE knows."""
    (packing,) = packings
    lattice, position = full(packing)
    symbols = ["Ar" if kind == 0 else "Kr" for kind in packing.species]
    ase.io.write(path, ase.Atoms(symbols, positions=position, cell=lattice, pbc=True), format="cif")


# The writer, the ending, whether several packings fit in, and the relative precision of the format.
FORMATS = {
    "dump": (write_dump, ".dump", True, 1e-15),
    "data": (write_data, ".data", False, 1e-15),
    "gsd": (write_gsd, ".gsd", True, 1e-6),
    "extxyz": (write_extxyz, ".extxyz", True, 1e-15),
}


def assert_same(packing: gw.Configuration, expected: gw.Configuration, precision: float) -> None:
    """The same particles at the same places of the same lattice, whatever its basis."""
    assert packing.dimension == expected.dimension
    np.testing.assert_array_equal(packing.species, expected.species)
    change = np.linalg.solve(np.asarray(expected.box), np.asarray(packing.box))
    np.testing.assert_allclose(change, np.round(change), atol=10 * precision)
    assert abs(np.linalg.det(change)) == pytest.approx(1.0, abs=100 * precision)
    apart = np.linalg.solve(np.asarray(expected.box), (packing.position - expected.position).T)
    np.testing.assert_allclose(apart, np.round(apart), atol=100 * precision)


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_packings(tmp_path: Path, name: str, dimension: int) -> None:
    write, ending, several, precision = FORMATS[name]
    packings = [some_packing(dimension, seed) for seed in range(3 if several else 1)]
    path = tmp_path / f"packings{ending}"
    write(path, packings)
    read = read_packings(path)
    assert len(read) == len(packings)
    for packing, expected in zip(read, packings, strict=True):
        assert_same(packing, expected, precision)
    # The content tells the format, not the name.
    anonymous = tmp_path / "packings"
    path.rename(anonymous)
    assert len(read_packings(anonymous)) == len(packings)


def test_what_only_ase_knows_is_read_too(tmp_path: Path) -> None:
    path, packing = tmp_path / "packing.cif", some_packing(3)
    write_poscar(path, [packing])
    assert read_packing(path).n_particles == packing.n_particles
    assert set(np.asarray(read_packing(path).species).tolist()) == {0, 1}


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress], ids=["gz", "bz2", "xz"])
@pytest.mark.parametrize("name", ["dump", "data", "extxyz", "gsd"])
def test_compressed_files_are_read(tmp_path: Path, compress: Callable[[bytes], bytes], name: str) -> None:
    write, ending, _, precision = FORMATS[name]
    packing = some_packing(2)
    write(tmp_path / "plain", [packing])
    path = tmp_path / f"packing{ending}.compressed"
    path.write_bytes(compress((tmp_path / "plain").read_bytes()))
    assert_same(read_packing(path), packing, precision)
    if name == "extxyz":
        np.testing.assert_array_equal(read_configuration(path).fractional, read_packing(path).fractional)
    compressed = path.read_bytes()
    path.write_bytes(compressed[:-40])
    with pytest.raises(gw.RequestError, match="cannot be read"):
        read_packing(path)
    refused = 0
    for place in range(20, len(compressed) - 20, len(compressed) // 20):
        path.write_bytes(compressed[:place] + bytes([compressed[place] ^ 0x10]) + compressed[place + 1 :])
        try:
            # Not every bit of a compressed file counts.
            assert_same(read_packing(path), packing, precision)
        except gw.RequestError:
            refused += 1
    assert refused > 10


def test_labels_are_mapped_to_species(tmp_path: Path) -> None:
    packing = some_packing(2)
    for name, labels in (("gsd", ["B", "A"]), ("dump", ["2", "1"])):
        write, ending, *_ = FORMATS[name]
        path = tmp_path / f"packing{ending}"
        write(path, [packing])
        (swapped,) = read_packings(path, species=labels)
        np.testing.assert_array_equal(swapped.species, 1 - np.asarray(packing.species))
        with pytest.raises(gw.RequestError, match=rf"does not name|species {labels[1]}"):
            read_packings(path, species=labels[:1])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "nothing.dump",
            b"ITEM: TIMESTEP\n0\nITEM: NUMBER OF ATOMS\n7\n",
            "line 1: the configuration that begins here",
        ),
        (
            "short.data",
            b"x\n\n5 atoms\n1 atom types\n\n0 1 xlo xhi\n0 1 ylo yhi\n0 1 zlo zhi\n",
            "line 8: needs one section 'Atoms'",
        ),
        ("damaged.gsd", bytes.fromhex("df65df65df65df65") + b"x" * 100, "cannot be read as a GSD file"),
        ("unknown.xyzw", b"what is this", r"cannot be read as a file \*\.xyzw"),
        ("plain.extxyz", b"what is this", "line 1: must be the number of particles"),
    ],
)
def test_what_cannot_be_read_is_said_on_one_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(gw.RequestError, match=message) as raised:
        read_packings(tmp_path / name)
    assert str(raised.value).startswith(f"configuration={tmp_path / name}: ")
    assert "\n" not in str(raised.value)


def test_packings_that_are_not_periodic_are_refused(tmp_path: Path) -> None:
    lattice, position = full(some_packing(3))
    path = tmp_path / "slab.traj"
    ase.io.write(path, ase.Atoms(["Ar"] * 33, positions=position, cell=lattice, pbc=(True, False, True)))
    with pytest.raises(gw.RequestError, match="must be periodic"):
        read_packings(path)
    ase.io.write(path, ase.Atoms(["Ar"] * 33, positions=position, cell=lattice, pbc=(True, True, False)))
    with pytest.raises(gw.RequestError, match="must be flat"):
        read_packings(path)


def test_a_slab_of_another_format_is_not_flattened(tmp_path: Path) -> None:
    path = tmp_path / "slab.gsd"
    write_gsd(path, [some_packing(2)])
    with gsd.hoomd.open(str(path), "r") as file:
        frame = file[0]
    for change in (1.0, np.nan):
        frame.particles.position[3, 2] = change
        with gsd.hoomd.open(str(path), "w") as file:
            file.append(frame)
        with pytest.raises(gw.RequestError, match=r"must be flat|must be finite"):
            read_packing(path)
    frame.particles.position[3, 2] = 0.0
    frame.particles.typeid[3] = 9
    with gsd.hoomd.open(str(path), "w") as file:
        file.append(frame)
    with pytest.raises(gw.RequestError, match="cannot be read as a GSD file"):
        read_packing(path)


# Extended XYZ as other programs write it: three particles, the second outside of the cell.
OVITO = (
    '3\nLattice="4.0 0.0 0.0 1.0 5.0 0.0 0.0 0.0 1.0" Origin="-2.0 -2.5 -0.5" '
    'Properties=pos:R:3:id:I:1:species:S:1:radius:R:1 Timestep=100 pbc="T T F"\n'
    "0.5 0.5 0.0 1 A 0.5\n6.0 3.0 0.0 2 B 0.4\n1.0 1.0 0.0 3 A 0.5\n"
)
QUIPPY = (
    "3\ncutoff=-1.00000000 nneightol=1.20000000 pbc=[T, T, F] "
    'Lattice="4.0000 0.0000 0.0000 1.0000 5.0000 0.0000 0.0000 0.0000 1.0000" '
    "Properties=species:S:1:pos:R:3:Z:I:1:momenta:R:3:travel:I:3\n"
    + "".join(
        f"{label:<8}{x:16.8f}{y:16.8f}{0.0:16.8f}{z:8d}" + f"{0.25:16.8f}" * 3 + f"{0:8d}" * 3 + "\n"
        for label, x, y, z in (("A", 0.5, 0.5, 5), ("B", 6.0, 3.0, 5), ("A", 1.0, 1.0, 5))
    )
)
NUMBERS = (
    '3\nProperties=type:I:1:pos:R:3 Lattice="4 0 0 1 5 0 0 0 1" pbc="1 1 0"\n1 0.5 0.5 0\n2 6.0 3.0 0\n1 1.0 1.0 0\n'
)


@pytest.mark.parametrize("ending", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("text", [OVITO, QUIPPY, NUMBERS], ids=["ovito", "quippy", "numbers"])
def test_dialects_of_extended_xyz(tmp_path: Path, text: str, ending: str) -> None:
    path = tmp_path / "packing.xyz"
    path.write_bytes((text + "\n  \n").replace("\n", ending).encode())
    packing = read_packing(path)
    assert packing.dimension == 2
    np.testing.assert_allclose(packing.box, [[4.0, 1.0], [0.0, 5.0]])
    np.testing.assert_array_equal(packing.species, [0, 1, 0])
    np.testing.assert_allclose(packing.position, [[0.5, 0.5], [6.0, 3.0], [1.0, 1.0]], atol=1e-12)


@pytest.mark.parametrize("flags", ["T T F", "true true false", "TTF", "1 1 0", "[T, T, F]"])
def test_periodic_directions_in_all_spellings(tmp_path: Path, flags: str) -> None:
    path = tmp_path / "packing.xyz"
    written = flags if flags.startswith("[") else f'"{flags}"'
    path.write_text(NUMBERS.replace('"1 1 0"', written, 1))
    assert read_packing(path).dimension == 2


def test_what_ase_writes_is_read(tmp_path: Path) -> None:
    """With momenta, forces, tags and numeric arrays beside the positions, and stress in the comment line."""
    lattice, position = full(some_packing(3))
    atoms = ase.Atoms(["Ar", "Kr", "Ar"] * 11, positions=position + 7.0, cell=lattice, pbc=True)
    atoms.set_momenta(np.ones((33, 3)))
    atoms.set_array("radius", np.full(33, 0.5))
    atoms.set_array("where_it_was", position)
    atoms.info.update(stress=np.eye(3), note="as it is", done=True, energy=-1.5)
    text = io.StringIO()
    ase.io.write(text, atoms, format="extxyz")
    path = tmp_path / "packing.extxyz"
    path.write_text(text.getvalue())
    packing = read_packing(path)
    np.testing.assert_array_equal(packing.species, [0, 1, 0] * 11)
    apart = np.linalg.solve(np.asarray(packing.box), (packing.position - position - 7.0).T)
    np.testing.assert_allclose(apart, np.round(apart), atol=1e-7)  # ASE writes eight digits


@pytest.mark.parametrize("flags", ["", ' pbc="T T T"'])
def test_missing_periodic_directions_are_all_of_them(tmp_path: Path, flags: str) -> None:
    path = tmp_path / "packing.xyz"
    path.write_text(f'2\nLattice="4 0 0 0 4 0 0 0 4" Properties=species:S:1:pos:R:3{flags}\nA 1 1 1\nA 2 2 2\n')
    assert read_packing(path).dimension == 3
