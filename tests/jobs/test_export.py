"""Packings and interactions of a run as other programs read them."""

import json
import os
from pathlib import Path

import glasswright as gw
import jax.numpy as jnp
import numpy as np
import pytest
from glasswright import cli
from glasswright.exchange import gsd as our_gsd
from glasswright.exchange.packing import describe_packing, in_standard_form
from glasswright.run.extxyz import read_frames
from glasswright.run.packings import read_packings
from helpers import component, lammps_engine, reference_packing

RUN = [
    "experiment=null",
    "property=[poisson_ratio]",
    "system.n_particles=64",
    "terms.poisson_ratio.objective.target=0.2",
    "design.diameter=[0.5,1.5]",
    "design.binding_energy=[0.05,1]",
]


def train(folder: Path, *overrides: str) -> Path:
    gw.train(*RUN, *overrides, directory=folder)
    return folder


@pytest.fixture(scope="module")
def followed(tmp_path_factory) -> Path:
    """A run that follows two packings for three steps, and everything that can be exported of it."""
    folder = tmp_path_factory.mktemp("runs") / "followed"
    train(folder, "sampler.size=2", "train.steps=3", "train.trajectory_interval=2")
    assert cli.main(["export", str(folder), "--format", "extxyz,gsd,lammps"]) == cli.DONE
    return folder


def trained_potential(folder: Path) -> gw.AbstractPotential:
    values = json.loads((folder / "result.json").read_text())["design"]
    return component("potential", "harmonic_morse")(**{key: values[key] for key in ("diameter", "binding_energy")})


def distances(position: np.ndarray, box: np.ndarray, count: int = 10) -> np.ndarray:
    """Of the first particles from the others, each to its nearest image."""
    difference = np.linalg.solve(box, (position[:count, None] - position[None]).reshape(-1, len(box)).T).T
    return np.linalg.norm((difference - np.round(difference)) @ box.T, axis=1)


@pytest.mark.parametrize("name", ["final.extxyz", "best.extxyz", "trajectory.extxyz", "export/packings.extxyz"])
def test_ase_reads_box_species_and_radii(followed, name):
    read = pytest.importorskip("ase.io").read
    frames = read(followed / name, index=":")
    ours = read_frames(followed / name)
    assert len(frames) == len(ours) == (4 if "trajectory" in name else 2)
    atoms, packing = frames[-1], ours[-1]
    assert atoms.pbc.tolist() == [True, True, False]
    np.testing.assert_array_equal(atoms.cell[:2, :2].T, packing.box)
    assert atoms.arrays["type"].tolist() == [k + 1 for k in packing.species.tolist()]
    assert len(set(atoms.arrays["radius"])) == 2
    np.testing.assert_allclose(
        distances(atoms.positions[:, :2], atoms.cell[:2, :2].T), distances(packing.position, packing.box), atol=1e-14
    )
    assert atoms.get_potential_energy() < 0.0
    assert atoms.get_stress(voigt=False).shape == (3, 3)


def test_the_header_has_energy_stress_and_radii_of_the_last_design(followed):
    read = pytest.importorskip("ase.io").read
    potential = trained_potential(followed)
    for atoms, packing in zip(
        read(followed / "final.extxyz", index=":"), read_frames(followed / "final.extxyz"), strict=True
    ):
        expected = describe_packing(potential, packing, ("A", "B"))
        np.testing.assert_allclose(atoms.get_potential_energy(), expected.energy, rtol=1e-12)
        np.testing.assert_allclose(atoms.get_stress(voigt=False)[:2, :2], expected.stress, atol=1e-12)
        assert np.all(atoms.get_stress(voigt=False)[2] == 0.0)
        np.testing.assert_array_equal(2 * atoms.arrays["radius"], np.asarray(potential.diameter)[packing.species])


def test_ovito_reads_box_species_and_radii(followed):
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    ovito = pytest.importorskip("ovito.io")
    (packing, *_) = read_frames(followed / "final.extxyz")
    for name in ("final.extxyz", "export/packings.extxyz", "export/packings.gsd", "export/packing_0.data"):
        data = ovito.import_file(str(followed / name)).compute(0)
        assert data.particles.count == 64
        np.testing.assert_allclose(np.asarray(data.cell)[:2, :2], packing.box, rtol=1e-6)
        assert list(data.cell.pbc)[:2] == [True, True]
        types = data.particles["Particle Type"]
        numbers = np.asarray(types)
        assert np.array_equal(numbers - np.min(numbers), packing.species), name
        if name.endswith("extxyz"):
            assert data.cell.pbc == (True, True, False)
            radius = np.asarray(data.particles["Radius"])
            np.testing.assert_allclose(
                2 * radius, np.asarray(trained_potential(followed).diameter)[packing.species], rtol=1e-6
            )


def test_a_trajectory_has_every_second_step_and_goes_on_when_resumed(followed, tmp_path):
    text = (followed / "trajectory.extxyz").read_text()
    headers = [line for line in text.splitlines() if "Lattice" in line]
    assert [line.split(" step=")[1].split()[:2] for line in headers] == [
        [str(step), f"packing={packing}"] for step in (0, 2) for packing in (0, 1)
    ]
    parts = tmp_path / "parts"
    train(parts, "sampler.size=2", "train.steps=2", "train.trajectory_interval=2", "train.checkpoint_interval=1")
    # Of a step that was interrupted.
    with open(parts / "trajectory.extxyz", "a") as file:
        file.write(text[len(text) // 2 : -100])
    gw.resume(parts, "train.steps=3")
    assert (parts / "trajectory.extxyz").read_text() == text


def test_gsd_has_single_precision_and_everything_beside_it(followed):
    gsd = pytest.importorskip("gsd.hoomd")
    frames = read_frames(followed / "final.extxyz")
    with gsd.open(str(followed / "export" / "packings.gsd")) as file:
        assert len(file) == len(frames)
        for frame, packing in zip(file, frames, strict=True):
            assert frame.configuration.dimensions == 2
            assert frame.particles.types == ["A", "B"]
            assert frame.particles.typeid.tolist() == packing.species.tolist()
            np.testing.assert_array_equal(frame.log[our_gsd.FRACTIONAL], packing.fractional)
            np.testing.assert_array_equal(frame.log[our_gsd.BOX], packing.box)
            length = float(packing.box[0, 0])
            wrapped = (np.asarray(packing.fractional) % 1.0 - 0.5) * length
            np.testing.assert_allclose(frame.particles.position[:, :2], wrapped, atol=1e-6 * length)
            assert np.all(np.abs(frame.particles.position) <= 0.5 * length)
            np.testing.assert_allclose(frame.configuration.box, [length, length, 1, 0, 0, 0], rtol=1e-7)
            potential = trained_potential(followed)
            np.testing.assert_allclose(
                frame.particles.diameter, np.asarray(potential.diameter)[packing.species], rtol=1e-6
            )


def test_what_is_exported_comes_in_again(followed):
    """To the last bit from GSD, with the digits of positions from extended XYZ and LAMMPS."""
    frames = read_frames(followed / "final.extxyz")
    for name, error in (("packings.gsd", 0.0), ("packings.extxyz", 1e-15)):
        for packing, again in zip(frames, read_packings(followed / "export" / name), strict=True):
            np.testing.assert_array_equal(again.box, packing.box)
            np.testing.assert_allclose(again.fractional, packing.fractional, rtol=0.0, atol=error)
            np.testing.assert_array_equal(again.species, packing.species)
    (again,) = read_packings(followed / "export" / "packing_1.data")
    assert again.dimension == 2
    np.testing.assert_array_equal(again.species, frames[1].species)
    np.testing.assert_allclose(again.box, frames[1].box, rtol=1e-14)
    difference = np.asarray(again.fractional - frames[1].fractional)
    np.testing.assert_allclose(difference, np.round(difference), atol=1e-12)


def measured_by_lammps(folder: Path, packing: str) -> dict[str, float]:
    """What the input script writes."""
    engine, before = lammps_engine(), Path.cwd()
    try:
        os.chdir(folder)
        engine.command(f"variable packing index {packing}")
        engine.file("in.measure")
        return {name: float(value) for name, value in (row.split() for row in Path("measured.txt").open())}
    finally:
        os.chdir(before)
        engine.close()


def test_lammps_finds_the_packing_at_rest_and_its_moduli(followed):
    measured = measured_by_lammps(followed / "export", "packing_1.data")
    _, packing = read_frames(followed / "final.extxyz")
    potential = trained_potential(followed)
    report = gw.measure(f"run={followed}", "property=[poisson_ratio]")
    (first,) = [line["value"] for line in report["properties"].values()]
    assert np.isfinite(first)
    quench = component("protocol", "quench")()
    state = quench.attach(potential, quench.prepare(potential, packing))
    expected = describe_packing(potential, packing, ("A", "B"))
    assert measured["largest_force_before"] < 1e-6
    np.testing.assert_allclose(measured["energy"], expected.energy, rtol=1e-7)
    np.testing.assert_allclose(measured["pressure"], -np.trace(expected.stress) / 2, rtol=1e-5)
    tensor = state.elastic_tensor
    np.testing.assert_allclose(measured["bulk_modulus"], gw.bulk_modulus(tensor), rtol=1e-3)
    np.testing.assert_allclose(measured["shear_modulus"], gw.shear_modulus(tensor), rtol=1e-3)
    np.testing.assert_allclose(measured["poisson_ratio"], gw.poisson_ratio(tensor), atol=1e-3)


TRAINED = {
    "the paper's, in two dimensions": [*RUN, "system.n_particles=368", "system.density=1.6"],
    "Kob-Andersen, in three": [
        "experiment=kob_andersen",
        "property=[poisson_ratio]",
        "sampler=tracked",
        "sampler.size=1",
        "system.n_particles=216",
        "terms.poisson_ratio.objective.target=0.3",
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize("overrides", TRAINED.values(), ids=TRAINED)
def test_trained_packings_have_the_same_moduli_in_lammps(overrides, tmp_path):
    gw.train(*overrides, "train.steps=3", directory=tmp_path)
    gw.export(tmp_path, "lammps")
    measured = measured_by_lammps(tmp_path / "export", "packing_0.data")
    report = gw.measure(f"run={tmp_path}", "property=[poisson_ratio,bulk_modulus,shear_modulus,pressure]")
    ours = {name: line["value"] for name, line in report["properties"].items()}
    print(measured, ours)
    assert measured["largest_force_before"] < 1e-4
    for name in ("bulk_modulus", "shear_modulus"):
        np.testing.assert_allclose(measured[name], ours[name], rtol=1e-3)
    np.testing.assert_allclose(measured["pressure"], ours["pressure"], atol=1e-5)
    np.testing.assert_allclose(measured["poisson_ratio"], ours["poisson_ratio"], atol=1e-3)


def test_any_box_is_turned_into_the_standard_form():
    reference = reference_packing("2d_n368_sp2_a5")
    packing = describe_packing(reference.potential, reference.configuration, ("A", "B"))
    angle = 0.3
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shape = np.array([[1.0, 0.0], [0.0, -1.0]])
    box = turn @ shape @ np.asarray(packing.configuration.box) @ np.array([[1, 1], [0, 1]])
    fractional = np.asarray(packing.configuration.fractional) @ np.array([[1, 0], [-1, 1]])
    other = gw.Configuration(jnp.asarray(fractional), jnp.asarray(box), packing.configuration.species)
    turned = in_standard_form(describe_packing(reference.potential, other, ("A", "B")))
    matrix = np.asarray(turned.configuration.box)
    assert matrix[1, 0] == 0.0
    assert np.all(np.diagonal(matrix) > 0.0)
    again = describe_packing(reference.potential, turned.configuration, ("A", "B"))
    np.testing.assert_allclose(again.energy, packing.energy, rtol=1e-12)
    np.testing.assert_allclose(turned.stress, again.stress, atol=1e-12)


def test_fresh_runs_keep_packings_of_their_last_step(tmp_path):
    folder = train(tmp_path / "fresh", "sampler=fresh", "sampler.size=3", "train.steps=1", "train.keep_packings=2")
    assert not (folder / "final.extxyz").exists()
    assert len(read_frames(folder / "packings.extxyz")) == 2
    lines = (folder / "packings.extxyz").read_text().splitlines()
    (tmp_path / "first.extxyz").write_text("\n".join(lines[:66]) + "\n")
    report = gw.measure(f"configuration={tmp_path / 'first.extxyz'}", "property=[pressure]")
    assert np.isfinite(report["properties"]["pressure"]["value"])
    assert cli.main(["export", str(folder)]) == cli.DONE
    assert (folder / "export" / "packings.extxyz").read_text().count('species_names="A B"') == 2


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["train.keep_packings=1"], "train.keep_packings=1: the packings of this run are followed"),
        (["sampler=fresh", "sampler.size=2", "train.keep_packings=3"], "a step has 2 packings"),
        (["sampler=fresh", "train.trajectory_interval=1"], "no packings are followed"),
        (["train.trajectory_interval=0"], "train.trajectory_interval=0: must be an integer of at least 1"),
    ],
)
def test_keeping_what_there_is_not_is_refused(overrides, message):
    with pytest.raises(gw.RequestError, match=message):
        gw.build(gw.compose(*RUN, *overrides))


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "DIR=nowhere: no such directory"),
        (["RUN", "--format", "xyz"], "--format xyz: no such format; did you mean 'extxyz'"),
    ],
)
def test_what_cannot_be_exported_is_refused(followed, arguments, message, capsys):
    given = [str(followed) if word == "RUN" else word for word in arguments]
    assert cli.main(["export", *given]) == cli.REQUEST_WRONG
    assert message in capsys.readouterr().err
