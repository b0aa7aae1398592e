"""500 damaged files of packings: each is read as what it says, or refused in one line.

What a file says is known from how it was damaged, or else read by ASE. ASE is given labels as a column of text, because
it takes species for chemical elements, and Fortran's exponents as its own.
"""

import re
import warnings
from io import StringIO
from pathlib import Path

import ase
import ase.io
import glasswright as gw
import numpy as np
import pytest
from damaged_packings import DAMAGES, Damage, Packing, valid_file
from glasswright.run.extxyz import read_configuration

FILES_OF_EACH_KIND = 50


def read_by_ase(text: str) -> Packing | None:
    """The one configuration that ASE sees in a file, or None."""
    text = text.replace("species:S:1", "label:S:1", 1)
    text = re.sub(r"([0-9.])[dD]([+-]?[0-9])", r"\1e\2", text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            frames = ase.io.read(StringIO(text), index=":", format="extxyz")
    except Exception:
        return None
    if len(frames) != 1:
        return None
    (atoms,) = frames
    assert isinstance(atoms, ase.Atoms)
    # Where the columns are not declared any more, the default ones are those that the file has.
    labels = [str(label) for label in atoms.arrays.get("label", list(atoms.symbols))]
    return Packing(labels, atoms.positions, atoms.cell.array, [bool(periodic) for periodic in atoms.pbc])


def assert_says(configuration: gw.Configuration, says: Packing) -> None:
    """The configuration is the packing: the same species, lattice and, up to whole cells, positions."""
    d = configuration.dimension
    assert says.pbc == [True, True, d == 3]
    names = sorted(set(says.labels), key=lambda label: (float(label) if label.isdigit() else np.inf, label))
    assert np.asarray(configuration.species).tolist() == [names.index(label) for label in says.labels]
    box, cell = np.asarray(configuration.box), says.cell[:d, :d].T
    change = np.linalg.solve(cell, box)
    np.testing.assert_allclose(change, np.round(change), rtol=0, atol=1e-9)
    assert np.linalg.det(change) == pytest.approx(1.0, abs=1e-9)
    difference = np.asarray(configuration.fractional) - np.linalg.solve(box, says.positions[:, :d].T).T
    np.testing.assert_allclose(difference, np.round(difference), rtol=0, atol=1e-9)
    if d == 2:
        np.testing.assert_allclose(says.positions[:, 2], says.positions[0, 2], rtol=0, atol=1e-7)


def read_or_refusal(path: Path) -> gw.Configuration | str:
    try:
        return read_configuration(path)
    except gw.RequestError as error:
        return str(error)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damaged_files(tmp_path: Path, damage: Damage) -> None:
    path = tmp_path / "damaged.extxyz"
    n_read = 0
    for seed in range(FILES_OF_EACH_KIND):
        rng = np.random.default_rng([DAMAGES.index(damage), seed])
        content, says = damage(valid_file(rng), rng)
        data = content if isinstance(content, bytes) else content.encode()
        path.write_bytes(data)
        if isinstance(says, str):
            says = read_by_ase(data.decode())
            must_read = False
        else:
            must_read = says is not None
        configuration = read_or_refusal(path)
        if isinstance(configuration, str):
            assert not must_read, f"seed {seed}: {configuration}"
            assert re.match(
                rf"configuration={re.escape(str(path))}: (line \d+: |cannot be read as text)", configuration
            )
            assert "\n" not in configuration
            continue
        n_read += 1
        assert says is not None, f"seed {seed}: read what nobody else reads: {content!r}"
        try:
            assert_says(configuration, says)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {content!r}") from error
    # Nothing is refused only because everything is.
    assert n_read < FILES_OF_EACH_KIND
    assert n_read > 0 or damage.__name__ == "several"


def test_valid_files_are_read_as_ase_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "valid.extxyz"
    for seed in range(10):
        file = valid_file(np.random.default_rng(seed))
        path.write_text(file.text)
        says = read_by_ase(file.text)
        assert says is not None
        assert_says(read_configuration(path), says)
        assert_says(read_configuration(path), file.says)


def test_there_are_five_hundred() -> None:
    assert len(DAMAGES) * FILES_OF_EACH_KIND >= 500
