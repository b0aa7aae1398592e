"""Packings as text: exactly back again, and one clear line for anything else."""

from collections.abc import Callable
from pathlib import Path

import glasswright as gw
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from glasswright.neighbors import build_pair_list
from glasswright.physics.configuration import box_width
from glasswright.run.extxyz import read_configuration, read_frames, species_labels, write_configuration
from helpers import Reference


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("n_species", [1, 2, 16, 30])
def test_round_trip(tmp_path: Path, dimension: int, n_species: int) -> None:
    system = gw.System(n_particles=60 * n_species, n_species=n_species, dimension=dimension)
    before = system.start(jax.random.key(0))
    path = tmp_path / "packing.extxyz"
    path.write_text(write_configuration(before, energy=-1.5))
    after = read_configuration(path)
    np.testing.assert_array_equal(after.species, before.species)
    np.testing.assert_allclose(after.box, before.box, rtol=1e-16)
    np.testing.assert_allclose(after.position, before.position, atol=1e-14 * float(before.box[0, 0]))


def test_tilted_box_and_other_columns(tmp_path: Path) -> None:
    path = tmp_path / "tilted.extxyz"
    path.write_text(
        '2\nProperties=id:I:1:pos:R:3:species:S:1 Lattice="4 0 0 1 5 0 0 0 1" pbc="T T F" energy=2.0\n'
        "7 0.5 0.5 0.0 big\n9 2.0 3.0 0.0 Small\n"
    )
    configuration = read_configuration(path)
    np.testing.assert_allclose(configuration.box, [[4, 1], [0, 5]])
    np.testing.assert_allclose(configuration.position, np.asarray([[0.5, 0.5], [2, 3]]), atol=1e-15)
    np.testing.assert_array_equal(configuration.species, [1, 0])  # sorted: "Small" before "big"


GOOD = '2\nLattice="4 0 0 0 4 0 0 0 1" Properties=species:S:1:pos:R:3 pbc="T T F"\nA 1 1 0\nB 2 2 0\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1"),
        ("two\n", "line 1"),
        (GOOD.replace("2\n", "3\n", 1), "3 particles announced, 2 found"),
        (GOOD.replace('Lattice="4 0 0 0 4 0 0 0 1" ', ""), "Lattice"),
        (GOOD.replace("4 0 0 0 4 0", "4 0 0 4 0 0"), "span a volume"),
        (GOOD.replace("T T F", "T F F"), "pbc"),
        (GOOD.replace("B 2 2 0", "B 2 two 0"), "line 4"),
        (GOOD.replace("B 2 2 0", "B 2"), "line 4"),
        (GOOD.replace("B 2 2 0", "B 2 nan 0"), "line 4"),
        (GOOD.replace("species:S:1:", ""), "Properties"),
    ],
)
def test_malformed_files_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.extxyz"
    path.write_text(text)
    with pytest.raises(gw.RequestError, match=message) as caught:
        read_configuration(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_missing_and_binary_files(tmp_path: Path) -> None:
    with pytest.raises(gw.RequestError, match="no such file"):
        read_configuration(tmp_path / "nothing.extxyz")
    (tmp_path / "binary").write_bytes(bytes(range(128, 256)))
    with pytest.raises(gw.RequestError, match="cannot be read"):
        read_configuration(tmp_path / "binary")


def test_labels_sort_as_species() -> None:
    for n_species in (2, 16, 26, 27, 150):
        labels = species_labels(n_species)
        assert sorted(labels) == labels
        assert len(set(labels)) == n_species


def read(tmp_path: Path, text: str | bytes) -> gw.Configuration:
    path = tmp_path / "packing.extxyz"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_configuration(path)


def file_of(rows: str, lattice: str = "8 0 0 0 8 0 0 0 1", properties: str = "species:S:1:pos:R:3") -> str:
    n = len(rows.splitlines())
    return f'{n}\nLattice="{lattice}" Properties={properties} pbc="T T F"\n{rows}'


def assert_same_packing(first: gw.Configuration, second: gw.Configuration, tolerance: float = 1e-14) -> None:
    """The same particles in the same cell, up to whole cells."""
    np.testing.assert_array_equal(first.species, second.species)
    np.testing.assert_allclose(first.box, second.box, rtol=1e-15)
    difference = np.asarray(first.fractional) - np.asarray(second.fractional)
    np.testing.assert_allclose(difference, np.round(difference), rtol=0, atol=tolerance)


ROWS = "A 1 1 0\nB 2.5 1 0\nA 3 7.25 0\n"


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "\r"),
        lambda text: text + "\n  \n\n",
        lambda text: text.rstrip("\n"),
        lambda text: text.replace(" ", "\t"),
        lambda text: text.replace("Lattice=", "Lattice = "),
        lambda text: text.replace('"', "'"),
        lambda text: text.replace('"8 0 0 0 8 0 0 0 1"', "{8 0 0 0 8 0 0 0 1}").replace('"T T F"', "{T T F}"),
        lambda text: text.replace('"8 0 0 0 8 0 0 0 1"', "[8, 0, 0, 0, 8, 0, 0, 0, 1]").replace('"T T F"', "[T, T, F]"),
        lambda text: text.replace('"8 0 0 0 8 0 0 0 1"', "[[8, 0, 0], [0, 8, 0], [0, 0, 1]]"),
        lambda text: text.replace("8 0 0 0 8 0 0 0 1", "8.0D0 0 0 0 .8E+1 0 0 0 1."),
        lambda text: text.replace("8 0 0 0 8 0 0 0 1", "8,0,0,0,8,0,0,0,1"),
        lambda text: text.replace("8 0 0 0 8 0 0 0 1", "8 0 0 0 8 0 0.5 0.25 0"),  # says nothing about two dimensions
        lambda text: text.replace("T T F", "true True FALSE"),
        lambda text: text.replace("T T F", "1 1 0"),
        lambda text: text.replace('"T T F"', "TTF"),
        lambda text: text.replace("Lattice", 'reference-Lattice="9 0 0 0 9 0 0 0 9" Lattice'),
        lambda text: text.replace("pbc", 'old.pbc="T T T" my_Properties=species:S:1:pos:R:2 pbc'),
        lambda text: text.replace("pbc", r'comment="say \"Lattice=[1]\", and pbc=F" pbc'),
        lambda text: text.replace("pbc", r'history="_JSON [[1, 2], {\"pbc\": 1}]" converged pbc'),
        lambda text: text.replace("pbc", 'stress=[[1, 2], [3, 4]] labels=["a]", b] größe=groß pbc'),
        lambda text: text.replace(" 0\n", " -3.5\n"),
        lambda text: text.replace("A 1 1 0", "A 9 -15 0"),
        lambda text: text.replace("pos:R:3", "pos:R:3:momenta:R:3:fixed:L:1").replace(" 0\n", " 0 nan 2e9 -1 T\n"),
        lambda text: text.replace("pos:R:3", "pos:R:2").replace(" 0\n", "\n"),
        lambda text: text.replace("pos:R:3", "pos:R:2:radius:R:1").replace(" 0\n", " 0.5\n"),
        lambda text: text.replace("pos:R:3", "pos:R:2").replace(" 0\n", "\n").replace(' pbc="T T F"', ""),
        lambda text: text.replace("species:S:1", "type:I:1").replace("A ", "3 ").replace("B ", "20 "),
        lambda text: text.replace("species:S", "Z:I").replace("A ", "+2 ").replace("B ", "010 "),
        lambda text: text.replace("A ", "2 ").replace("B ", "10 "),
    ],
)
def test_dialects(tmp_path: Path, change: Callable[[str], str]) -> None:
    """What is legal is read as what it says."""
    text = file_of(ROWS)
    other = change(text)
    assert other != text
    assert_same_packing(read(tmp_path, other), read(tmp_path, text))


def test_plain_columns_and_directions_are_the_default(tmp_path: Path) -> None:
    rows = "B 1 1 0 77\nA 2 1 0 78\n"
    configuration = read(tmp_path, f'2\nLattice="8 0 0 1 8 0 0 2 8"\n{rows}')
    np.testing.assert_array_equal(configuration.box, [[8, 1, 0], [0, 8, 2], [0, 0, 8]])
    np.testing.assert_allclose(configuration.position, [[1, 1, 0], [2, 1, 0]], atol=1e-15)
    np.testing.assert_array_equal(configuration.species, [1, 0])


@pytest.mark.parametrize("properties", ["species:I:1:pos:R:3", "species:S:1:pos:R:3", "type:I:1:pos:R:3"])
def test_species_that_are_numbers_sort_as_numbers(tmp_path: Path, properties: str) -> None:
    labels = [11, 2, 1, 10, 3, 9, 4, 8, 5, 7, 6]
    rows = "".join(f"{label} {k % 4} {k // 4} 0\n" for k, label in enumerate(labels))
    configuration = read(tmp_path, file_of(rows, properties=properties))
    np.testing.assert_array_equal(configuration.species, np.asarray(labels) - 1)


def test_labels_that_are_not_all_numbers_sort_as_text(tmp_path: Path) -> None:
    configuration = read(tmp_path, file_of("10 1 1 0\n2 2 1 0\nA 3 1 0\n"))
    np.testing.assert_array_equal(configuration.species, [0, 1, 2])


HEADER = 'Lattice="8 0 0 0 8 0 0 0 1" Properties=species:S:1:pos:R:3 pbc="T T F"'


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("2\n", "2.0\n", 1, "number of particles"),
        ("2\n", "2 particles\n", 1, "number of particles"),
        ("2\n", "1_0\n", 1, "number of particles"),
        ("2\n", "\n2\n", 1, "number of particles"),
        ("2\n", "1\n", 1, "two particles or more"),
        ("B 2 1 0\n", "B 2 1 0\nC 3 1 0\n", 5, "neither one of the 2 particles"),
        ("B 2 1 0\n", "B 2 1 0\n\nC 3 1 0\n", 5, "neither one of the 2 particles"),
        ("B 2 1 0\n", f"B 2 1 0\n2\n{HEADER}\nA 1 1 0\nA 2 1 0\n", 5, "second configuration"),
        ("B 2 1 0\n", "", 3, "truncated"),
        ("B 2 1 0", "B 2 1", 4, "3 columns"),
        ("B 2 1 0", "B 2 1 0 5", 4, "5 columns"),
        ("B 2 1 0", "B 2 1_0 0", 4, "'1_0'"),
        ("B 2 1 0", "B 2 1,5 0", 4, "'1,5'"),
        ("B 2 1 0", "B 2 1e400 0", 4, "finite"),
        ("B 2 1 0", "B 2 inf 0", 4, "finite"),
        ("B 2 1 0", "B 2 0x1 0", 4, "'0x1'"),
        ("B 2 1 0", "B 2 ****** 0", 4, "pos"),
        ("B 2 1 0", "B\u00a0 2 1 0", 4, "ASCII"),
        ("B 2 1 0", "B 2 \u0661 0", 4, "ASCII"),
        ("B 2 1 0", "B\x00 2 1 0", 4, "ASCII"),
        ("B 2 1 0", "B 2 1 3", 4, "slab"),
        ("B 2 1 0", "B 2 1 1e-3", 4, "slab"),
        ("B 2 1 0", "B 2e17 1 0", 4, "too few digits"),
        ("0 8 0 0 0 1", "0 8 0.5 0 0 1", 2, "no z component"),
        ("Lattice", "Latice", 2, "Lattice"),
        ("Lattice=", "Lattice ", 2, "no value"),
        ("Lattice=", 'Lattice="9 0 0 0 9 0 0 0 1" Lattice=', 2, "given twice"),
        ("Lattice=", 'lattice="9 0 0 0 9 0 0 0 1" Lattice=', 2, "given twice"),
        ("Lattice=", "seed=1 seed=2 Lattice=", 2, "given twice"),
        ('1" ', '1"', 2, "cannot be understood"),
        ('T F"', "T F", 2, "cannot be understood"),
        ("8 0 0 0 8", "8 0 0 8", 2, "Lattice="),
        ("8 0 0 0 8", "8 0 0 0 inf", 2, "Lattice="),
        ("8 0 0 0 8", "8 0 0 0 1e999", 2, "finite"),
        ("8 0 0 0 8", "8e200 0 0 0 8e200", 2, "finite volume"),
        ("8 0 0 0 8", "8e-200 0 0 0 8e-200", 2, "finite volume"),
        ("8 0 0 0 8", "8 0 0 8 0", 2, "span"),
        ("8 0 0 0 8", "8 0 0 0.8 1e-17", 2, "rounding"),
        ("8 0 0 0 8 0 0 0 1", "0 0 0 0 0 0 0 0 0", 2, "span"),
        ("T T F", "T F T", 2, "pbc"),
        ("T T F", "F F F", 2, "pbc"),
        ("T T F", "T T", 2, "pbc"),
        ("T T F", "T T maybe", 2, "pbc"),
        ('"T T F"', "110", 2, "pbc"),
        ("pos:R:3", "pos:R:2", 3, "4 columns"),
        ("pos:R:3", "pos:R:1", 2, "pos:R:3"),
        ("pos:R:3", "pos:R:3:pos:R:3", 2, "twice"),
        ("pos:R:3", "pos:R:3:forces:R", 2, "name:type:width"),
        ("pos:R:3", "pos:R:three", 2, "width"),
        ("pos:R:3", "pos:X:3", 2, "type"),
        ("pos:R:3", "pos:S:3", 2, "pos:R:3"),
        ("species:S", "species:I", 3, "type I"),
        ("species:S", "species:R", 2, "species:S:1"),
        ("species:S", "name:S", 2, "species:S:1"),
    ],
)
def test_what_is_not_clear_is_refused(tmp_path: Path, old: str, new: str, line: int, message: str) -> None:
    text = f"2\n{HEADER}\nA 1 1 0\nB 2 1 0\n"
    assert old in text
    with pytest.raises(gw.RequestError) as caught:
        read(tmp_path, text.replace(old, new, 1))
    assert f"configuration={tmp_path / 'packing.extxyz'}: line {line}: " in str(caught.value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_columns_that_disagree_about_the_species_are_refused(tmp_path: Path) -> None:
    rows = "A 1 1 0 1\nA 2 1 0 2\n"
    with pytest.raises(gw.RequestError, match="'type' tells particles apart"):
        read(tmp_path, file_of(rows, properties="species:S:1:pos:R:3:type:I:1"))
    finer = read(tmp_path, file_of("A 1 1 0 1\nB 2 1 0 1\n", properties="species:S:1:pos:R:3:type:I:1"))
    np.testing.assert_array_equal(finer.species, [0, 1])


def test_a_height_is_no_species(tmp_path: Path) -> None:
    configuration = read(tmp_path, file_of("B 1 1 0.5\nA 2 1 0.5\n", properties="species:S:1:pos:R:2:z:R:1"))
    np.testing.assert_array_equal(configuration.species, [1, 0])


def test_frames(tmp_path: Path) -> None:
    path = tmp_path / "frames.extxyz"
    path.write_text(file_of("B 1 1 0\nC 2 1 0\n") + file_of("C 3 1 0\nA 4 1 0\nB 5 1 0\n") + "\n")
    first, second = read_frames(path)
    np.testing.assert_array_equal(first.species, [1, 2])
    np.testing.assert_array_equal(second.species, [2, 0, 1])
    with pytest.raises(gw.RequestError, match="line 5: a second configuration begins here"):
        read_configuration(path)
    path.write_text(file_of("B 1 1 0\nC 2 1 0\n") + "A 1 1 0\n")
    with pytest.raises(gw.RequestError, match="line 5: 'A 1 1 0' is neither one of the 2 particles announced nor"):
        read_frames(path)


@pytest.mark.parametrize("cells", [3, 1000, 10**6, 10**9])
def test_positions_far_outside_of_the_cell(tmp_path: Path, cells: int) -> None:
    """Whole cells are taken off without rounding; where the digits do not suffice, the file is refused."""
    near = read(tmp_path, file_of("A 1.1 1 0\nB 2.5 0.3 0\n", lattice="7.3 0 0 0.1 7.3 0 0 0 1"))
    x, y = 7.3 * 10 * cells + 0.1 * 10 * cells, 73 * cells
    text = file_of(f"A {73 * cells + 1}.1 1 0\nB {x + 2.5:.1f} {y}.3 0\n", lattice="7.3 0 0 0.1 7.3 0 0 0 1")
    if cells == 10**9:
        with pytest.raises(gw.RequestError, match="line 3: the particle is so far"):
            read(tmp_path, text)
    else:
        assert_same_packing(read(tmp_path, text), near, 1e-15)


SQUARE = np.diag([8.0, 8.0])
CUBE = np.diag([8.0, 9.0, 10.0])
HEXAGON = np.asarray([[8.0, 4.0], [0.0, np.sqrt(48.0)]])
TILTED = np.asarray([[8.0, 1.5, -2.0], [0.0, 9.0, 3.0], [0.0, 0.0, 10.0]])


@pytest.mark.parametrize("box", [SQUARE, CUBE, HEXAGON, TILTED, CUBE[:, ::-1]], ids=lambda box: f"{len(box)}d")
@pytest.mark.parametrize("size", [1, 5, 1000])
def test_a_skewed_basis_of_the_same_lattice(tmp_path: Path, box: np.ndarray, size: int) -> None:
    """Another basis of a lattice gives the same width, the same handedness and the same distances."""
    d = len(box)
    rng = np.random.default_rng(size + d)
    change = np.eye(d, dtype=int)
    for _ in range(4):
        i, j = rng.permutation(d)[:2]
        change[:, i] += int(rng.integers(-size, size + 1)) * change[:, j]
    basis = box @ change
    position = np.pad(rng.uniform(0, 8, (20, d)), ((0, 0), (0, 3 - d)))
    rows = "".join("A " + " ".join(f"{x:.17g}" for x in row) + "\n" for row in position)

    def written(vectors: np.ndarray) -> gw.Configuration:
        lattice = np.eye(3)
        lattice[:d, :d] = vectors
        text = file_of(rows, lattice=" ".join(f"{x:.17g}" for x in lattice.T.ravel()))
        return read(tmp_path, text.replace("T T F", "T T T" if d == 3 else "T T F"))

    plain, skewed = written(box), written(basis)
    np.testing.assert_array_equal(plain.box, box)
    # What the numbers of a skewed basis leave open, relative to the cell that it spans.
    precision = 1e-15 * d * float(np.prod(np.linalg.norm(basis, axis=0))) / abs(np.linalg.det(box))
    assert float(box_width(skewed.box)) == pytest.approx(float(box_width(jnp.asarray(box))), rel=precision)
    assert np.linalg.det(skewed.box) == pytest.approx(np.linalg.det(box), rel=10 * precision)
    same = np.linalg.solve(box, np.asarray(skewed.box))
    np.testing.assert_allclose(same, np.round(same), rtol=0, atol=10 * precision)
    i, j = (jnp.asarray(index) for index in np.triu_indices(20, 1))
    distances = [np.sort(np.linalg.norm(c.displacement(i, j), axis=1)) for c in (plain, skewed)]
    near = distances[0] < 0.5 * float(box_width(jnp.asarray(box)))
    np.testing.assert_allclose(distances[1][near], distances[0][near], rtol=0, atol=100 * precision)


def test_the_case_of_the_skewed_square(tmp_path: Path) -> None:
    rows = "A 1 1 0\nA 2 1 0\n"
    assert_same_packing(read(tmp_path, file_of(rows, lattice="8 0 0 40 8 0 0 0 1")), read(tmp_path, file_of(rows)))


@pytest.mark.parametrize("description", ["skewed", "left-handed", "far", "nested"])
def test_descriptions_of_one_packing_have_the_same_energy(
    tmp_path: Path, reference_2d: Reference, description: str
) -> None:
    lines = reference_2d.path.read_text().splitlines()
    side = float(np.asarray(reference_2d.configuration.box)[0, 0])
    lattice = {"skewed": [side, 0, 0, 7 * side, side, 0], "left-handed": [0, side, 0, side, 0, 0]}
    vectors = lattice.get(description, [side, 0, 0, 0, side, 0])
    rng = np.random.default_rng(0)
    for k, line in enumerate(lines[2:], start=2):
        label, *position = line.split()
        shift = side * rng.integers(-50, 51, 3) * [1, 1, 0] if description == "far" else np.zeros(3)
        lines[k] = " ".join([label, *(f"{float(x) + move:.17g}" for x, move in zip(position, shift, strict=True))])
    items = [f"{x:.17g}" for x in [*vectors, 0, 0, 1]]
    written = '"' + " ".join(items) + '"'
    if description == "nested":
        written = "[" + ", ".join("[" + ",".join(items[k : k + 3]) + "]" for k in (0, 3, 6)) + "]"
    lines[1] = f'Lattice={written} Properties=species:S:1:pos:R:3 pbc="T T F"'
    configuration = read(tmp_path, "\n".join(lines))

    def energy_and_force(packing: gw.Configuration) -> tuple[float, float]:
        pairs = build_pair_list(packing, reference_2d.potential.reach(packing))
        energy, gradient = reference_2d.potential.energy_and_gradient(packing, pairs)
        return float(energy), float(jnp.max(jnp.abs(gradient)))

    energy, force = energy_and_force(configuration)
    expected, expected_force = energy_and_force(reference_2d.configuration)
    assert energy == pytest.approx(expected, rel=1e-13)
    assert force < expected_force + 1e-10
