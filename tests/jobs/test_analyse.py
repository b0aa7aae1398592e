"""`glasswright analyse`: tunability, predictiveness, bonds and vibrations."""

import json
import re
import shlex
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from glasswright import cli
from glasswright._errors import RequestError
from glasswright.commands.analyse import build_analysis
from glasswright.commands.compose import compose, start
from glasswright.evaluation.measurement import measure_sample
from glasswright.jobs.predictiveness import follow, holds_to
from glasswright.jobs.tunability import flatten, scalar_terms, tunability, unflatten
from glasswright.neighbors import build_pair_list
from glasswright.physics.vibrations import density_of_states
from glasswright.run.files import run_configuration
from helpers import REFERENCE, ROOT, branches, write_run
from hydra.core.global_hydra import GlobalHydra

PAGE = ROOT / "docs" / "analysis.md"
PACKING = REFERENCE / "2d_n368_sp2_a5.extxyz"
DATA = json.loads((REFERENCE / "2d_n368_sp2_a5.json").read_text())
PROPERTIES = "property=[poisson_ratio,pressure]"
OF_THE_PACKING = [f"configuration={PACKING}", PROPERTIES, "terms.pressure.objective.target=0.23", "devices=1"]


@pytest.fixture
def hydra():
    yield start("analyse")
    GlobalHydra.instance().clear()


def request_of(overrides: list[str]):
    return build_analysis(compose("analyse", overrides, instance=start("analyse")))


@pytest.fixture(scope="module")
def analysed(tmp_path_factory) -> tuple[Path, dict]:
    """Everything there is to know about the reference packing."""
    folder = tmp_path_factory.mktemp("analysed") / "check"
    assert cli.main(["analyse", *OF_THE_PACKING, f"hydra.run.dir={folder}"]) == 0
    return folder, json.loads((folder / "analysis.json").read_text())


@pytest.fixture(scope="module")
def of_the_packing():
    """The same by hand: the request, the packing at its minimum, and its tunability."""
    request = request_of(OF_THE_PACKING)
    problem = request.problem
    values = problem.initial_values
    prepared = problem.model.protocol.prepare(problem.model.potential, request.packing, key=jax.random.key(0))
    sample = measure_sample(problem, values, prepared)
    return request, values, prepared, tunability(problem.design, values, [sample])


def test_the_files_of_an_analysis(analysed):
    folder, report = analysed
    assert set(report) == {"packing", "design", "tunability", "predictiveness", "bonds", "vibrations"}
    for part in ("tunability", "predictiveness", "bonds", "vibrations"):
        assert (folder / f"{part}.png").read_bytes().startswith(b"\x89PNG")
    assert {"analysis.json", "config.yaml", "provenance.json", "bonds.npz"} <= {path.name for path in folder.iterdir()}
    assert report["packing"]["n_particles"] == 368
    assert report["packing"]["max_force"] < 1e-11
    assert report["design"] == {name: DATA["potential"][name] for name in ("diameter", "binding_energy")}


def test_its_jacobian_is_that_of_independent_codes(analysed):
    report = analysed[1]["tunability"]
    assert report["properties"] == ["poisson_ratio", "pressure"]
    assert report["design"] == ["diameter[0]", "diameter[1]", *(f"binding_energy[{k}]" for k in range(3))]
    for row, name in zip(report["jacobian"]["mean"], report["properties"], strict=True):
        expected = np.concatenate([DATA["gradient"][name][key] for key in ("diameter", "binding_energy")])
        assert np.max(np.abs(row - expected)) < 1e-6 * np.linalg.norm(expected)
    np.testing.assert_allclose(
        report["values"]["mean"], [DATA["value"][name] for name in report["properties"]], rtol=1e-8
    )


def test_its_directions_make_up_the_scaled_jacobian(analysed):
    report = analysed[1]["tunability"]
    scaled = np.array(report["jacobian"]["mean"]) * report["design_scale"] / np.array(report["property_scale"])[:, None]
    sigma, u, v = (np.array(report[key]) for key in ("singular_values", "property_directions", "design_directions"))
    np.testing.assert_allclose(u.T @ np.diag(sigma) @ v, scaled, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(u @ u.T, np.eye(2), atol=1e-12)
    np.testing.assert_allclose(v @ v.T, np.eye(2), atol=1e-12)
    np.testing.assert_allclose(report["cost"], 1.0 / sigma, rtol=1e-14)
    # A step along a direction of the design, of the length that it costs, moves the properties by one along theirs.
    for k in range(2):
        np.testing.assert_allclose(scaled @ (v[k] * report["cost"][k]), u[k], atol=1e-12)
    # Magnitudes are the scales: those of the values, and the root mean square of each array.
    np.testing.assert_allclose(report["property_scale"], report["values"]["mean"], rtol=1e-14)
    diameter = np.sqrt((0.8**2 + 1.0**2) / 2)
    np.testing.assert_allclose(report["design_scale"], [diameter, diameter, 0.1, 0.1, 0.1], rtol=1e-14)
    assert report["rank"] == 2


def test_the_way_to_a_target_is_the_shortest(analysed, of_the_packing):
    """Only the pressure has a target, so Poisson's ratio is free."""
    change = analysed[1]["tunability"]["change"]
    wanted = 0.23 - DATA["value"]["pressure"]
    assert list(change["wanted"]) == ["pressure"]
    assert change["wanted"]["pressure"] == pytest.approx(wanted, rel=1e-8)
    assert change["reachable"]
    assert change["within_bounds"]
    request, values, _, result = of_the_packing
    design = request.problem.design
    step, end = (
        flatten(design, {name: np.array(numbers) for name, numbers in change[key].items()})
        for key in ("step", "design")
    )
    np.testing.assert_allclose(end, flatten(design, values) + step)
    scaled = result.scaled[0, 1]
    assert change["cost"] == pytest.approx(abs(wanted) / result.property_scale[1] / np.linalg.norm(scaled), rel=1e-8)
    # Along its own gradient, and so orthogonal to everything that leaves the pressure alone.
    direction = step / result.design_scale
    np.testing.assert_allclose(direction / np.linalg.norm(direction), scaled / np.linalg.norm(scaled), rtol=1e-8)


@pytest.mark.parametrize("wanted", [(-0.01, 0.005), (0.01, 0.0), (0.0, -0.005)])
def test_tunability_predicts_what_the_packing_prepared_anew_does(of_the_packing, wanted):
    """The shortest step for a change of both properties is followed to first order: its error falls as its square."""
    request, values, prepared, result = of_the_packing
    wanted = np.array(wanted)
    step, reachable = result.step(dict(zip(result.properties, wanted.tolist(), strict=True)))
    assert reachable
    np.testing.assert_allclose(result.predict(step), wanted, atol=1e-15)
    before = sides_of_kinks(request, values, prepared, prepared.memory.neighbors)
    errors, sizes = [], []
    for size in (1.6e-3, 8e-4, 4e-4, 2e-4):
        moved = unflatten(request.problem.design, values, flatten(request.problem.design, values) + size * step)
        sample = follow(request.problem, moved, prepared, jax.random.key(0))
        if not np.array_equal(sides_of_kinks(request, moved, sample.prepared, prepared.memory.neighbors), before):
            continue  # a pair has met a kink: a shorter step counts
        change = np.array([sample.measurement.values[name] for name in result.properties]) - result.values[0]
        errors.append(np.linalg.norm((change - size * wanted) / result.property_scale))
        sizes.append(size)
    assert len(sizes) >= 3
    size = np.linalg.norm(wanted / result.property_scale)
    assert errors[-1] < 0.01 * sizes[-1] * size
    slope = np.polyfit(np.log(sizes), np.log(errors), 1)[0]
    assert abs(slope - 2.0) < 0.02


def sides_of_kinks(request, values, prepared, neighbors) -> np.ndarray:
    """On which branch of its energy each pair of a list is, which reaches further than the potential."""
    return branches(request.problem.at(values).potential, prepared.configuration, neighbors)


def test_predictions_along_each_gradient(analysed):
    for name, report in analysed[1]["predictiveness"].items():
        lines = report["steps"]
        gradient = np.concatenate([DATA["gradient"][name][key] for key in ("diameter", "binding_energy")])
        along = np.concatenate([report["direction"][key] for key in ("diameter", "binding_energy")])
        assert report["slope"] == pytest.approx(gradient @ along, rel=1e-6)
        assert [line["step"] for line in lines] == pytest.approx(np.geomspace(1e-7, 0.1, 13))
        # Of the shortest one the error is rounding.
        short = lines[1:6]
        assert all(line["outcome"] == "converged" and not line["rearranged"] for line in short)
        predicted, found = (np.array([line[key] for line in short]) for key in ("predicted", "found"))
        np.testing.assert_allclose(predicted, report["slope"] * np.array([line["step"] for line in short]), rtol=1e-12)
        assert np.all(np.abs(found - predicted) < 1e-2 * predicted)
        slope = np.polyfit(np.log(predicted), np.log(np.abs(found - predicted)), 1)[0]
        assert abs(slope - 2.0) < 0.1
        assert report["holds_to"] == holds_to(lines) >= 1e-5


def test_bonds_add_up_to_the_moduli(analysed):
    folder, report = analysed
    with np.load(folder / "bonds.npz") as bonds:
        for name in ("bulk_modulus", "shear_modulus"):
            entry, column = report["bonds"][name], bonds[name]
            assert entry["sum"] == pytest.approx(DATA["value"][name], rel=1e-8)
            assert np.sum(column) == pytest.approx(entry["sum"], rel=1e-12)
            assert entry["n_bonds"] == len(column)
            assert entry["n_negative"] == np.sum(column < 0)
            largest = np.sort(np.abs(column))[::-1][:10]
            assert [abs(bond["contribution"]) for bond in entry["largest"]] == pytest.approx(largest, rel=1e-14)
            assert entry["share_of_ten"] == pytest.approx(sum(bond["share"] for bond in entry["largest"]), rel=1e-10)
        pairs = {tuple(sorted(pair)) for pair in zip(bonds["i"].tolist(), bonds["j"].tolist(), strict=True)}
        assert len(pairs) == len(bonds["i"])
        assert np.max(bonds["distance"]) < 1.0 + 9.9 / 5


def test_vibrations_are_the_modes_of_the_hessian(analysed, of_the_packing):
    report = analysed[1]["vibrations"]
    frequency, participation = np.array(report["frequency"]), np.array(report["participation_ratio"])
    assert report["n_modes"] == len(frequency) == len(participation) == 734
    assert report["n_zero_modes"] == 2
    assert report["n_unstable_modes"] == 0
    expected = np.array(DATA["lowest_hessian_eigenvalues"])[2:]
    np.testing.assert_allclose(frequency[: len(expected)] ** 2, expected, atol=1e-9)
    assert np.all((participation >= 1 / 368) & (participation <= 1.0))
    # The trace and the square of the matrix, from its products with columns that it has not been diagonalised by.
    request, _, prepared, _ = of_the_packing
    potential, configuration = request.problem.model.potential, prepared.configuration
    neighbors = build_pair_list(configuration, float(potential.cutoff))
    probe = np.random.default_rng(0).normal(size=(368, 2))
    product = np.asarray(potential.hessian_product(configuration, neighbors, jnp.asarray(probe)))
    matrix = np.asarray(potential.hessian(configuration, neighbors))
    np.testing.assert_allclose(matrix @ probe.ravel(), product.ravel(), rtol=1e-9, atol=1e-9)
    assert np.sum(frequency**2) == pytest.approx(np.trace(matrix), rel=1e-12)
    assert np.sum(frequency**4) == pytest.approx(np.sum(matrix**2), rel=1e-12)
    edges, heights = density_of_states(frequency)
    assert np.sum(heights * np.diff(edges)) == pytest.approx(1.0, rel=1e-12)
    assert heights[0] * (edges[1] - edges[0]) * 734 == pytest.approx(np.sum(frequency < edges[1]), abs=1e-9)


def test_entries_of_an_array_property_are_rows(of_the_packing):
    request, _, _, result = of_the_packing
    terms = scalar_terms({"poisson_ratio": request.problem.terms["poisson_ratio"]}, {"poisson_ratio": (2, 2)})
    assert list(terms) == [f"poisson_ratio[{i},{j}]" for i in range(2) for j in range(2)]
    with pytest.raises(ValueError, match="has 128 entries"):
        scalar_terms({"poisson_ratio": request.problem.terms["poisson_ratio"]}, {"poisson_ratio": (128,)})
    assert result.columns[0] == "diameter[0]"


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory) -> dict:
    """Before any training: the preset of two properties, on four small packings of its own."""
    folder = tmp_path_factory.mktemp("ensemble") / "check"
    few = ["system.n_particles=128", "n_configurations=4", "parts=[tunability]", "devices=2"]
    assert cli.main(["analyse", "experiment=poisson_and_pressure", *few, f"hydra.run.dir={folder}"]) == 0
    return json.loads((folder / "analysis.json").read_text())


@pytest.mark.slow
def test_an_ensemble_before_any_training(ensemble):
    report = ensemble["tunability"]
    assert ensemble["packing"]["source"] == "fresh"
    assert report["requested"] == 4 == report["converged"] + sum(report["rejected"].values())
    mean = dict(zip(report["properties"], report["values"]["mean"], strict=True))
    assert 0.2 < mean["poisson_ratio"] < 0.8
    # What is wanted is the way to the preset's targets.
    wanted = {"poisson_ratio": 0.5 - mean["poisson_ratio"], "pressure": 0.4 - mean["pressure"]}
    assert report["change"]["wanted"] == pytest.approx(wanted, rel=1e-12)
    assert report["change"]["predicted"] == pytest.approx(wanted, rel=1e-9)
    assert report["rank"] == 2
    assert np.shape(report["jacobian"]["standard_error"]) == (2, 5)
    assert set(report["singular_values_by_average"]) == {"mean", "clipped", "median"}
    assert report["singular_values_by_average"]["mean"] == report["singular_values"]
    # A larger diameter compresses the packing, whatever the packing.
    assert all(x > 0.0 for x in report["jacobian"]["mean"][1][:2])


@pytest.fixture(scope="module")
def run_directory(tmp_path_factory) -> Path:
    """What a training leaves that followed the reference packing for a step."""
    design = {"diameter": [0.81, 1.01], "binding_energy": [0.1, 0.2, 0.3]}
    return write_run(tmp_path_factory.mktemp("run"), ["seed=5"], design, PACKING)


def test_a_run_brings_its_packing_and_its_design(run_directory):
    request = request_of([f"run={run_directory}", "property=[pressure]", "change.pressure=0.1"])
    assert request.source == "final.extxyz"
    assert request.packing.n_particles == 368
    assert request.n_configurations == 0
    assert request.seed == 5
    assert set(request.problem.terms) == {"poisson_ratio", "pressure"}
    assert request.change == {"pressure": 0.1}
    assert request.problem.model.potential.binding_energy.tolist() == [0.1, 0.2, 0.3]
    fresh = request_of([f"run={run_directory}", "n_configurations=7", "potential.diameter=[0.7,0.9]"])
    assert fresh.packing is None
    assert fresh.n_configurations == 7
    # What is overridden counts, what is not is the run's.
    assert fresh.problem.model.potential.diameter.tolist() == [0.7, 0.9]
    assert fresh.problem.model.potential.binding_energy.tolist() == [0.1, 0.2, 0.3]
    larger = request_of([f"run={run_directory}", "system.n_particles=400"])
    assert larger.packing is None
    assert larger.n_configurations == 50


def test_a_configuration_kept_with_the_results_describes_the_request(analysed):
    folder, _ = analysed
    content = run_configuration(folder)
    assert content["terms"]["pressure"]["objective"]["target"] == 0.23
    again = build_analysis(content)
    assert again.parts == ("tunability", "predictiveness", "bonds", "vibrations")
    assert again.packing.n_particles == 368


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], "nothing is asked for: name run=DIR, configuration=FILE.extxyz, experiment=NAME or property=[…]"),
        (["run=nowhere"], "run=nowhere: no such directory"),
        (["run=RUN", f"configuration={PACKING}"], "name either run=… or configuration=…"),
        (["run=RUN", "potential=harmonic_morse"], "potential=harmonic_morse: the run brings its own potential"),
        (["run=RUN", "experiment=pressure"], "experiment=pressure: the run brings its own experiment"),
        (["run=RUN", "property=[presure]"], "did you mean 'pressure'?"),
        (["run=RUN", "parts=[tunabilty]"], "did you mean 'tunability'?"),
        (["run=RUN", "parts=[]"], "parts=[]: must be a list; possible: tunability,"),
        (["run=RUN", "change.presure=0.1"], "change.presure: no such property here"),
        (["run=RUN", "change.poisson_ratio=0"], "change: nothing is to change"),
        (["run=RUN", "change.poisson_ratio=much"], "change.poisson_ratio='much'"),
        (["run=RUN", "property_scale=largest"], "property_scale=largest"),
        (["run=RUN", "property_scale=standard_deviation"], "needs several packings; set n_configurations"),
        (["run=RUN", "property_scale={pressure:0.1}"], "property_scale.pressure: no such property here"),
        (["run=RUN", "property_scale={poisson_ratio:-1}"], "property_scale.poisson_ratio=-1: must be positive"),
        (["run=RUN", "design_scale=bound"], "did you mean 'bounds'?"),
        (["run=RUN", "average=mode"], "average=mode"),
        (["run=RUN", "clip=0"], "clip=0: must be positive"),
        (["run=RUN", "n_configurations=0"], "n_configurations=0: must be an integer of at least 1"),
        (["run=RUN", "smallest_step=1"], "largest_step=0.1: must be larger than smallest_step=1"),
        (["run=RUN", "n_configuration=3"], "did you mean 'n_configurations'?"),
        ([f"configuration={PACKING}", "n_configurations=3"], "n_configurations: a packing is given"),
        ([f"configuration={PACKING}", "potential.diameter=0.9"], "not at a minimum of this potential"),
        (["configuration=nowhere.extxyz"], "no such file"),
        (["experiment=pressure", "system.n_particles=3200"], "vibrations needs all modes"),
        (["experiment=presure"], "experiment=presure: no such experiment"),
    ],
    ids=lambda value: " ".join(value).replace(str(REFERENCE), "") if isinstance(value, list) else "",
)
def test_a_wrong_request_is_refused_before_anything_runs(hydra, run_directory, overrides, message):
    arguments = [override.replace("run=RUN", f"run={run_directory}") for override in overrides]
    with pytest.raises(RequestError) as error:
        build_analysis(compose("analyse", arguments, instance=hydra))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.wrong_types
@pytest.mark.parametrize("overrides", [[], ["experiment=pressure", "parts=[tunabilty]"]])
def test_a_wrong_request_is_one_line_and_leaves_nothing(tmp_path, monkeypatch, capsys, overrides):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["analyse", *overrides]) == cli.REQUEST_WRONG
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith("glasswright: error: ")
    assert list(tmp_path.iterdir()) == []


def test_an_analysis_is_no_run_to_go_on_with(analysed, capsys):
    folder, _ = analysed
    assert cli.main(["resume", str(folder)]) == cli.REQUEST_WRONG
    assert "is an analysis, which is not resumed" in capsys.readouterr().err
    assert cli.main(["validate", f"run={folder}"]) == cli.REQUEST_WRONG
    assert "is an analysis; name the directory of a training" in capsys.readouterr().err


COMMANDS = re.findall(r"^\$ (glasswright analyse .*)$", re.sub(r"\\\n\s*", "", PAGE.read_text()), re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_of_the_page_compose(run_directory, command):
    program, name, *overrides = shlex.split(command, comments=True)
    assert (program, name) == ("glasswright", "analyse")
    replaced = {"run": run_directory, "configuration": PACKING}
    pairs = [override.partition("=") for override in overrides]
    request_of([f"{key}={replaced.get(key, value)}" for key, _, value in pairs])


def test_the_page_shows_commands():
    assert len(COMMANDS) >= 8
