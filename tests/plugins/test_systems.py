"""Systems: compositions, and packings of one's own as starts."""

import json
from pathlib import Path
from typing import Any

import glasswright as gw
import jax
import numpy as np
import pytest
from glasswright.components.system import largest_remainders
from glasswright.jobs.train import train
from glasswright.jobs.validate import validate
from glasswright.run.extxyz import write_configuration
from helpers import lammps_engine

SOFT = ["potential=soft_sphere", "~design.binding_energy", "property=[pressure]", "terms.pressure.objective.target=0.4"]


@pytest.mark.parametrize(
    ("fractions", "total", "counts"),
    [
        ((0.8, 0.2), 1000, (800, 200)),
        ((0.8, 0.2), 64, (51, 13)),
        ((0.65, 0.35), 368, (239, 129)),
        ((1 / 3, 1 / 3, 1 / 3), 10, (4, 3, 3)),
        ((0.29, 0.71), 100, (29, 71)),
    ],
)
def test_largest_remainders(fractions: tuple[float, ...], total: int, counts: tuple[int, ...]) -> None:
    assert largest_remainders(fractions, total) == counts


def test_equal_shares_are_the_default_and_any_number_can_be_shared() -> None:
    assert gw.System().species_counts == (184, 184)
    assert gw.System(n_particles=65, n_species=3).species_counts == (22, 22, 21)
    start = gw.System(n_particles=65, n_species=3).start(jax.random.key(0))
    assert np.bincount(start.species).tolist() == [22, 22, 21]


def test_the_box_has_its_shape_and_the_density() -> None:
    system = gw.System(100, 2, 2, 1.3, box=[[1.0, 0.2], [0.0, 3.0]])
    assert float(system.start(jax.random.key(0)).volume) == pytest.approx(100 / 1.3, rel=1e-14)
    assert system.box[1, 1] / system.box[0, 0] == pytest.approx(3.0)
    # The same lattice in a narrower basis.
    narrow = gw.System(100, 2, 2, 1.3, box=[[1.0, 4.2], [0.0, 3.0]])
    np.testing.assert_allclose(narrow.box, system.box, rtol=1e-12)
    np.testing.assert_array_equal(gw.System(box=[[2.0, 0.0], [0.0, 2.0]]).box, gw.System().box)


def packings(folder: Path, number: int = 3) -> Path:
    """A file of starts of 80:20 in an elongated box, with labels of their own."""
    system = gw.System(80, 2, 2, 1.6, composition=[0.8, 0.2], box=[[1.0, 0.0], [0.0, 1.5]])
    texts = [write_configuration(system.start(jax.random.key(k))) for k in range(number)]
    path = folder / "packings.extxyz"
    path.write_text("".join(texts))
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return packings(tmp_path)


def experiment(file: Path, *overrides: str) -> gw.Experiment:
    return gw.build(gw.compose("system=file", f"system.path={file}", *SOFT, *overrides))


def test_frames_are_the_starts_in_order(file: Path) -> None:
    system = experiment(file).system
    assert (system.n_particles, system.n_species, system.dimension, system.n_configurations) == (80, 2, 2, 3)
    assert system.species_counts == (64, 16)
    assert system.density == pytest.approx(1.6)
    own = gw.System(80, 2, 2, 1.6, composition=[0.8, 0.2], box=[[1.0, 0.0], [0.0, 1.5]])
    for index in range(3):
        start, expected = system.start(jax.random.key(99), index), own.start(jax.random.key(index))
        np.testing.assert_allclose(start.fractional % 1.0, expected.fractional % 1.0, atol=1e-14)
        np.testing.assert_allclose(start.box, expected.box, rtol=1e-14)


def test_parameters_follow_the_file_and_paths_are_kept_absolute(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    built = gw.build(gw.compose("system=file", "system.path=packings.extxyz", *SOFT))
    assert built.config is not None
    assert f"path: {file}" in built.config
    assert "n_species: 2" in built.config


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["sampler=fresh"], "sampler: Fresh draws others in every step, and the system has 3 configurations"),
        (["sampler.size=4"], "sampler.size=4: the system has 3 configurations and no more"),
        (["system.species=[A]"], "is of the species"),
        (["system.species=[A,A]"], "must be different labels"),
        (["system.path=nowhere.extxyz"], "system.path=.*nowhere.extxyz: no such file"),
        (["system.n_particles=20"], "system.n_particles: no such parameter of FileSystem"),
        (["+design.density=[1,2]"], "design.density: no such parameter"),
    ],
)
def test_what_a_file_cannot_give_is_refused(file: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(gw.RequestError, match=message):
        experiment(file, *overrides)


def test_packings_of_different_size_are_refused(file: Path) -> None:
    other = write_configuration(gw.System(60, 2, 2, 1.6).start(jax.random.key(0)))
    file.write_text(file.read_text() + other)
    with pytest.raises(gw.RequestError, match="60 particles in 2 dimensions and 80 particles"):
        experiment(file)


def test_training_and_validation_start_from_a_file(file: Path, tmp_path: Path) -> None:
    """Each configuration in the box of its own packing; the run can be validated on the same or on another file."""
    first, *_ = file.read_text().split("80\n")[1:]
    run = tmp_path / "run"
    result = train(experiment(file, "sampler.size=2", "train.steps=2", "train.tolerance=0"), run, progress=False)
    assert result["converged"] == 4
    assert result["species_counts"] == [64, 16]
    assert first
    files = json.loads((run / "provenance.json").read_text())["files"]
    assert files["system.path"]["path"] == str(file)

    def validation(*overrides: str) -> Any:
        from glasswright.commands.compose import compose_alone
        from glasswright.commands.validate import build_validation

        return build_validation(compose_alone("validate", [f"run={run}", *overrides]))

    with pytest.raises(gw.RequestError, match="n_configurations=1000: the system has 3 configurations"):
        validation()
    report = validate(validation("n_configurations=3", "n_untrained=0"), progress=False)
    assert report["converged"] == 3
    # On random packings instead.
    elsewhere = validation("system=random", "system.n_particles=64", "n_configurations=2", "n_untrained=0")
    assert elsewhere.models["trained"].system.n_particles == 64
    # A file that has changed is not taken for the same.
    file.write_text(file.read_text().replace("1.6", "1.7"))
    packings(tmp_path, number=2)
    with pytest.raises(gw.RequestError, match="was made with another file"):
        validation("n_configurations=2", "n_untrained=0")


# Two dimensions in a skewed box, 52 particles of one type and 12 of another, relaxed a little.
INPUT = """
units lj
dimension 2
atom_style atomic
region cell prism 0 6.4 0 6.4 -0.1 0.1 1.5 0 0
create_box 2 cell
create_atoms 1 random 52 4711 cell
create_atoms 2 random 12 4712 cell
mass * 1.0
pair_style soft 1.0
pair_coeff * * 10.0
fix flat all enforce2d
minimize 0 1e-6 200 400
write_data {folder}/packing.data nocoeff
write_dump all custom {folder}/packing.dump id type x y z modify format float %.17g
"""


@pytest.mark.slow
def test_training_starts_from_a_file_of_lammps(tmp_path: Path) -> None:
    engine = lammps_engine()
    for line in INPUT.format(folder=tmp_path).strip().splitlines():
        engine.command(line)
    engine.close()
    starts = []
    for name in ("packing.data", "packing.dump"):
        built = experiment(tmp_path / name, "train.steps=2", "train.tolerance=0", "system.species=[1,2]")
        starts.append(built.system.start(jax.random.key(0), 0))
        result = train(built, tmp_path / f"run_{name}", progress=False)
        assert result["species_counts"] == [52, 12]
        assert result["converged"] == 2
    np.testing.assert_allclose(starts[0].box, [[6.4, 1.5], [0.0, 6.4]], rtol=1e-14)
    apart = np.asarray(starts[0].fractional - starts[1].fractional)
    np.testing.assert_allclose(apart, np.round(apart), atol=1e-13)
