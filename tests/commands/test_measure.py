"""Measuring a packing: of a run with its trained potential, of a file with the one that it carries or is given."""

import dataclasses
import json
import logging
import shutil
from pathlib import Path

import ase.io
import equinox as eqx
import glasswright as gw
import jax.numpy as jnp
import numpy as np
import pytest
import yaml
from glasswright import cli
from glasswright.commands.analyse import build_analysis
from glasswright.commands.measure import build_measurement
from glasswright.config.carried import carried_potential, potential_as_text
from glasswright.jobs.measure import measure
from glasswright.registry import registry
from glasswright.registry.parameters import REQUIRED, parameters
from glasswright.run.extxyz import read_configuration, read_potential, write_configuration
from helpers import ROOT, component, properties_of_equilibria

REFERENCE = ROOT / "tests" / "reference" / "2d_n100_sp2_a5.extxyz"
SMALL = ("system.n_particles=64", "train.steps=3", "train.tolerance=0")
WITH_DEFAULTS = [
    name
    for name, prop in properties_of_equilibria().items()
    if all(parameter.default is not REQUIRED for parameter in parameters(prop).values())
]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run of a few steps, whose design differs from the one that it began with."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    gw.train(*SMALL, directory=folder)
    return folder


@pytest.fixture(scope="module")
def value(run) -> float:
    """What the run reported about its last packing."""
    return json.loads((run / "result.json").read_text())["values"]["poisson_ratio"]


@pytest.mark.parametrize("command", ["measure", "analyse"])
def test_properties_of_which_nothing_is_said_are_those_that_are_named(command):
    build = {"measure": build_measurement, "analyse": build_analysis}[command]

    def properties(*overrides: str) -> dict[str, gw.AbstractProperty]:
        request = build(gw.compose(f"configuration={REFERENCE}", *overrides, command=command))
        if command == "measure":
            return request.properties
        return {name: term.property for name, term in request.problem.terms.items()}

    alone = properties()
    named = properties(f"property=[{','.join(WITH_DEFAULTS)}]")
    assert set(alone) <= set(named)
    assert {"q8", "bond_order", "pressure"} <= set(alone)
    for name, measured in alone.items():
        assert eqx.tree_equal(measured, named[name]), name


def test_the_eightfold_order_is_not_the_sixfold_one():
    request = build_measurement(gw.compose(f"configuration={REFERENCE}", command="measure"))
    two = {name: request.properties[name] for name in ("q8", "bond_order")}
    report = measure(dataclasses.replace(request, properties=two))["properties"]
    named = gw.measure(f"configuration={REFERENCE}", "property=[q8,bond_order]")["properties"]
    assert report == named
    assert report["q8"]["value"] == pytest.approx(0.1789652076, abs=1e-9)
    assert report["bond_order"]["value"] == pytest.approx(0.6134922676, abs=1e-9)


@pytest.mark.parametrize(
    "request_of",
    [
        lambda run: [f"run={run}"],
        lambda run: [f"run={run}", "relax=true"],
        lambda run: [f"configuration={run / 'final.extxyz'}", "property=[poisson_ratio]"],
        lambda run: [f"configuration={run / 'final.extxyz'}", "property=[poisson_ratio]", "relax=true"],
    ],
    ids=["run", "relaxed", "file", "file, relaxed"],
)
def test_a_trained_packing_has_the_value_that_its_run_reported(run, value, request_of):
    report = gw.measure(*request_of(run))
    assert report["properties"]["poisson_ratio"]["value"] == pytest.approx(value, abs=1e-9)
    assert report.get("largest_displacement", 0.0) < 1e-9


def test_an_analysis_of_the_packing_has_its_potential(run):
    trained = build_measurement(gw.compose(f"run={run}", command="measure")).potential
    config = gw.compose(f"configuration={run / 'final.extxyz'}", "property=[pressure]", command="analyse")
    assert eqx.tree_equal(build_analysis(config).problem.model.potential, trained)


def test_overrides_count_on_top_of_what_the_packing_carries(run):
    def potential(*overrides: str) -> gw.AbstractPotential:
        config = gw.compose(f"configuration={run / 'final.extxyz'}", *overrides, command="measure")
        return build_measurement(config).potential

    carried, stiffer, other = potential(), potential("potential.stiffness=7"), potential("potential=harmonic_morse")
    assert stiffer.stiffness == 7.0
    assert jnp.array_equal(stiffer.diameter, carried.diameter)
    assert not jnp.array_equal(other.diameter, carried.diameter)


def test_relaxing_says_how_far_and_warns_of_another_minimum(run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = [f"configuration={run / 'final.extxyz'}", "property=[pressure]", "relax=true", "hydra.run.dir=."]
    assert cli.main(["measure", *arguments]) == cli.DONE
    shown = capsys.readouterr()
    assert "relaxed: the largest displacement is" in shown.out
    assert shown.err == ""
    far = [*arguments, "potential.diameter=[0.6,1.0]", "overwrite=true"]
    assert cli.main(["measure", *far]) == cli.DONE
    shown = capsys.readouterr()
    assert "another minimum" in shown.err
    moved = json.loads((tmp_path / "measure.json").read_text())["largest_displacement"]
    assert moved > 0.1
    assert f"relaxed: the largest displacement is {moved:.3g}" in shown.out


def test_a_packing_without_potential_is_relaxed_under_the_default_one_with_a_warning(caplog):
    with caplog.at_level(logging.WARNING):
        gw.compose(f"configuration={REFERENCE}", "relax=true", command="measure")
    assert "carries no potential and none is given" in caplog.text
    caplog.clear()
    gw.compose(f"configuration={REFERENCE}", "relax=true", "potential.stiffness=5", command="measure")
    gw.compose(f"configuration={REFERENCE}", command="measure")
    assert caplog.text == ""


def test_a_packing_of_an_earlier_version_is_not_relaxed_under_another_potential(run, tmp_path):
    old = tmp_path / "old"
    old.mkdir()
    shutil.copy(run / "config.yaml", old)
    (old / "final.extxyz").write_text(write_configuration(read_configuration(run / "final.extxyz")))
    with pytest.raises(gw.RequestError, match="glasswright measure run="):
        gw.measure(f"configuration={old / 'final.extxyz'}", "relax=true")


def test_packings_of_different_potentials_in_one_file_are_refused(run, tmp_path):
    """Each is at rest under its own; relaxed under that of the first, others would come to another minimum unseen."""
    trained, other = (run / "final.extxyz").read_text(), tmp_path / "other"
    gw.train(*SMALL, "potential.stiffness=7", "train.steps=1", directory=other)
    both, bare = tmp_path / "both.extxyz", tmp_path / "bare.extxyz"
    both.write_text(trained + (other / "final.extxyz").read_text())
    bare.write_text(trained + write_configuration(read_configuration(run / "final.extxyz")))
    for path in (both, bare):
        with pytest.raises(gw.RequestError, match=f"{path.name}: packing 1 does not carry the potential of packing 0"):
            gw.compose(f"configuration={path}", "relax=true", command="measure")
        gw.compose(f"configuration={path}", "relax=true", "potential=harmonic_morse", command="measure")
    both.write_text(2 * trained)
    assert read_potential(both) == read_potential(run / "final.extxyz")


def test_what_a_run_has_exported_is_measured_with_its_potential(run, value, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    exported = tmp_path / "run" / "export"
    gw.export(tmp_path / "run", "extxyz", "lammps")
    report = gw.measure(f"configuration={exported / 'packings.extxyz'}", "property=[poisson_ratio]", "relax=true")
    assert report["properties"]["poisson_ratio"]["value"] == pytest.approx(value, abs=1e-9)
    # A file of LAMMPS cannot carry a potential.
    with pytest.raises(gw.RequestError, match=r"is of a run and carries no potential.*glasswright measure run="):
        gw.compose(f"configuration={exported / 'packing_0.data'}", "relax=true", command="measure")


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], "configuration is required"),
        (["run=RUN", "configuration=x.extxyz"], "name either run"),
        (["run=RUN", "potential=lennard_jones"], "the run brings its own potential"),
        (["run=missing"], "run=missing: no such directory"),
        (["run=3"], "must be the name of a directory"),
        (["run=FRESH"], "has no final.extxyz"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_requests_about_a_run(run, tmp_path, overrides, message):
    shutil.copytree(run, tmp_path / "fresh", ignore=shutil.ignore_patterns("final.extxyz"))
    names = {"RUN": str(run), "FRESH": str(tmp_path / "fresh")}
    given = [override.replace(key, name) for override in overrides for key, name in [_named(override, names)]]
    with pytest.raises(gw.RequestError, match=message):
        gw.measure(*given)


def _named(override: str, names: dict[str, str]) -> tuple[str, str]:
    """The placeholder in an override, and what it stands for."""
    return next(((key, name) for key, name in names.items() if override.endswith(key)), ("", ""))


CARRIED = [
    ("nonsense", "cannot be understood"),
    ("[1, 2]", "cannot be understood"),
    ('{"potential": {"_target_": "subprocess.call", "args": ["touch", "executed"]}}', "no registered potential"),
    ('{"potential": {"_target_": "glasswright_plugins.protocols.quench.Quench"}}', "no registered potential"),
    ('{"potential": {"_target_": "TARGET", "diameter": "${oc.env:HOME}"}}', "cannot be understood"),
    ('{"potential": {"_target_": "TARGET", "diametre": 1.0}}', "is no harmonic_morse"),
    ('{"potential": {"_target_": "TARGET", "stiffness": "stiff"}}', "is no harmonic_morse"),
    ('{"potential": {"_target_": "TARGET", "diameter": [1.0, NaN]}}', "must"),
    ('{"potential": {"_target_": "TARGET"}, "trained": {"diameter": [1.0, 2.0, 3.0]}}', "trained.diameter"),
    ('{"potential": {"_target_": "TARGET", "diameter": {"_target_": "os.system"}}}', "refused"),
    ('{"class": "mine.Potential"}', "mine.Potential, which no configuration describes"),
]


@pytest.mark.parametrize(("text", "message"), CARRIED, ids=[text for text, _ in CARRIED])
def test_what_a_file_carries_is_checked_like_any_configuration(tmp_path, monkeypatch, text, message):
    monkeypatch.chdir(tmp_path)
    target = registry().components("potential")["harmonic_morse"].target
    packing = read_configuration(REFERENCE)
    Path("packing.extxyz").write_text(write_configuration(packing, potential=text.replace("TARGET", target)))
    with pytest.raises(gw.RequestError, match=message) as error:
        gw.measure("configuration=packing.extxyz", "property=[pressure]")
    assert "\n" not in str(error.value)
    assert not Path("executed").exists()
    assert gw.measure("configuration=packing.extxyz", "property=[pressure]", "potential=harmonic_morse")


POTENTIALS = {
    "harmonic_morse": {"diameter": [0.7, 1.1], "binding_energy": [0.1, 0.2, 0.3]},
    "lennard_jones": {},
    "inverse_power": {},
    "soft_sphere": {},
    "yukawa": {},
}


@pytest.mark.parametrize("name", POTENTIALS)
def test_a_potential_made_by_hand_is_carried_to_the_last_bit(tmp_path, name):
    potential = component("potential", name)(**POTENTIALS[name])
    text = potential_as_text(potential)
    file = tmp_path / "packing.extxyz"
    file.write_text(write_configuration(read_configuration(REFERENCE), potential=text))
    config = gw.compose(f"configuration={file}", "property=[pressure]", command="measure")
    assert eqx.tree_equal(build_measurement(config).potential, potential)


class Unregistered(gw.AbstractPotential):
    """A potential that no plugin has."""

    scale: jnp.ndarray = eqx.field(converter=jnp.asarray, default=1.0)

    @property
    def cutoff(self):
        return jnp.asarray(1.0)

    def energy(self, configuration, neighbors):
        return self.scale


def test_a_potential_that_no_plugin_has_is_named():
    assert json.loads(potential_as_text(Unregistered()))["class"].endswith("Unregistered")


TARGET = "terms.pressure.objective.target=1"
DESCRIBED = {
    "sum": (
        ["potential=sum", "potential@potential.first=harmonic_morse", "potential@potential.second=inverse_power"],
        ["design.potential.first.diameter=[0.1,2]", "system.n_particles=100"],
    ),
    "network": (
        ["potential=harmonic_spring_network", f"potential.packing={REFERENCE}"],
        ["design.potential.stiffness=[0,10]", "system.n_particles=100", "system.n_species=2"],
    ),
}


@pytest.mark.parametrize("name", DESCRIBED)
def test_parameters_of_parts_and_of_bonds_are_carried(tmp_path, name):
    potential, others = DESCRIBED[name]
    config = gw.compose("experiment=null", "property=[pressure]", TARGET, *potential, *others)
    experiment = gw.build(config)
    values = {key: 1.25 * value for key, value in experiment.problem.initial_values.items()}
    trained = experiment.problem.at(values).potential
    file = tmp_path / "packing.extxyz"
    text = potential_as_text(trained, experiment.config)
    file.write_text(write_configuration(read_configuration(REFERENCE), potential=text))
    measured = build_measurement(gw.compose(f"configuration={file}", "property=[pressure]", command="measure"))
    assert eqx.tree_equal(measured.potential, trained)


@pytest.mark.parametrize("text", ['{"a": "\\"b\\\\ c"}', "plain", "it's", "{[=,:]}", "e\\u0301"])
def test_any_text_is_read_back_and_positions_stay_the_same(tmp_path, text):
    packing = read_configuration(REFERENCE)
    file = tmp_path / "packing.extxyz"
    plain = write_configuration(packing)
    file.write_text(plain)
    before = read_configuration(file)
    file.write_text(write_configuration(packing, potential=text))
    assert read_potential(file) == text
    assert file.read_text().splitlines()[2:] == plain.splitlines()[2:]
    assert np.array_equal(read_configuration(file).fractional, before.fractional)


def test_other_programs_read_the_file(run):
    text = (run / "final.extxyz").read_text()
    # ASE takes species for elements.
    (run / "elements.extxyz").write_text(text.replace("\nA ", "\nH ").replace("\nB ", "\nHe "))
    atoms = ase.io.read(run / "elements.extxyz", format="extxyz")
    assert len(atoms) == 64
    assert json.loads(atoms.info["glasswright_potential"])["potential"]["n_species"] == 2


def test_a_run_made_by_hand_leaves_its_potential(tmp_path, run):
    experiment = gw.build(yaml.safe_load((run / "config.yaml").read_text()))
    gw.train(dataclasses.replace(experiment, config=None, steps=1), directory=tmp_path / "run")
    carried = carried_potential(tmp_path / "run" / "final.extxyz", "configuration")
    assert list(carried["potential"].diameter) == [0.8, 1.0]
