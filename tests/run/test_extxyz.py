"""Packings as text: exactly back again, and one clear line for anything else."""

import glasswright as gw
import jax
import numpy as np
import pytest
from glasswright.run.extxyz import read_configuration, species_labels, write_configuration


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("n_species", [1, 2, 16, 30])
def test_round_trip(tmp_path, dimension, n_species):
    system = gw.System(n_particles=60 * n_species, n_species=n_species, dimension=dimension)
    before = system.start(jax.random.key(0))
    path = tmp_path / "packing.extxyz"
    path.write_text(write_configuration(before, energy=-1.5))
    after = read_configuration(path)
    np.testing.assert_array_equal(after.species, before.species)
    np.testing.assert_allclose(after.box, before.box, rtol=1e-16)
    np.testing.assert_allclose(after.position, before.position, atol=1e-14 * float(before.box[0, 0]))


def test_tilted_box_and_other_columns(tmp_path):
    path = tmp_path / "tilted.extxyz"
    path.write_text(
        '2\nProperties=id:I:1:pos:R:3:species:S:1 Lattice="4 0 0 1 5 0 0 0 1" pbc="T T F" energy=2.0\n'
        "7 0.5 0.5 0.0 big\n9 2.0 3.0 0.0 Small\n"
    )
    configuration = read_configuration(path)
    np.testing.assert_allclose(configuration.box, [[4, 1], [0, 5]])
    np.testing.assert_allclose(configuration.position, [[0.5, 0.5], [2, 3]], atol=1e-15)
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
def test_malformed_files_are_named(tmp_path, text, message):
    path = tmp_path / "bad.extxyz"
    path.write_text(text)
    with pytest.raises(gw.RequestError, match=message) as caught:
        read_configuration(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_missing_and_binary_files(tmp_path):
    with pytest.raises(gw.RequestError, match="no such file"):
        read_configuration(tmp_path / "nothing.extxyz")
    (tmp_path / "binary").write_bytes(bytes(range(128, 256)))
    with pytest.raises(gw.RequestError, match="cannot be read"):
        read_configuration(tmp_path / "binary")


def test_labels_sort_as_species():
    for n_species in (2, 16, 26, 27, 150):
        labels = species_labels(n_species)
        assert sorted(labels) == labels
        assert len(set(labels)) == n_species
