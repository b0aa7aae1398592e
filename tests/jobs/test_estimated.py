"""Trainings whose gradients are estimated: they come to their end, are resumed, validated and refused."""

import dataclasses
import json
import shutil
from pathlib import Path

import glasswright as gw
import jax
import numpy as np
import optax
import pytest
from glasswright.commands.analysis_summary import summarise
from glasswright.commands.compose import compose, start
from glasswright.commands.train import build
from glasswright.commands.validate import build_validation
from glasswright.evaluation.ensemble import Ensemble
from glasswright.evaluation.estimator import Variable
from glasswright.execution.executor import Executor
from glasswright.jobs.analyse import analyse
from glasswright.jobs.analysis import Analysis
from glasswright.jobs.signal import measure_signal
from glasswright.jobs.train import resume, train
from helpers import component
from still_packings import SPREAD, Moment, Share, Spread, Still

TARGETS = {"moment": 0.06, "share": [0.3, 1.0]}
STEPS = 24


@pytest.fixture(scope="module")
def experiment():
    """The width of a treatment, a composition and a diameter, trained together."""
    target = component("objective", "target")
    return gw.Experiment(
        potential=component("potential", "harmonic_morse")(diameter=[1.3, 1.0]),
        system=gw.System(n_particles=24, density=0.5, composition=[0.5, 0.5]),
        protocol=Still({"spread": Spread()}),
        sampler=component("sampler", "fresh")(size=6),
        terms={
            "moment": gw.Term(Moment(), target(TARGETS["moment"]), scale=0.05),
            "share": gw.Term(Share(), target(TARGETS["share"])),
        },
        design={"spread": Variable((0.01, 1.0), width=0.05), "composition": (0.1, 0.9), "diameter": (1.0, 1.5)},
        optimizer=optax.adam(0.03),
        steps=STEPS,
        checkpoint_interval=10,
        devices=1,
    )


@pytest.fixture(scope="module")
def whole(experiment, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return folder, train(experiment, folder, progress=False)


def lines(folder):
    every = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line | {"seconds": 0} for line in every]


def test_a_training_reaches_what_it_was_asked_for(whole):
    folder, result = whole
    last = lines(folder)[-10:]
    assert np.isclose(np.mean([line["terms"]["moment"]["value"] for line in last]), TARGETS["moment"], rtol=0.1)
    assert np.isclose(np.mean([line["terms"]["share"]["value"][0] for line in last]), TARGETS["share"][0], atol=0.06)
    composition = result["design"]["composition"]
    assert np.isclose(sum(composition), 1.0)
    assert 0.1 <= composition[0] < 0.45
    assert result["design"]["spread"] != SPREAD
    # The numbers of particles differ between packings.
    assert "species_counts" not in result


def test_metrics_say_how_gradients_were_obtained(whole):
    folder, result = whole
    line = lines(folder)[0]
    assert line["requested"] == line["converged"] == 6
    assert line["preparations"] == 12
    assert result["preparations"] == 12 * STEPS
    gradients = line["gradients"]
    assert {name: gradient["estimator"] for name, gradient in gradients.items()} == {
        "spread": "evolution",
        "composition": "score",
        "diameter": "exact",
    }
    assert gradients["spread"]["width"] == 0.05
    # Both members have the same noise; what differs is the spread.
    assert -1.0 <= gradients["spread"]["pair_correlation"]["moment"] <= 1.0
    assert all(gradient["signal_to_noise"] >= 0.0 for gradient in gradients.values())
    assert gradients["diameter"]["signal_to_noise"] > 3.0


def test_a_resumed_training_has_the_same_end(experiment, whole, tmp_path):
    folder, result = whole
    again = tmp_path / "again"
    shutil.copytree(folder, again)
    (again / "result.json").unlink()
    kept = (again / "metrics.jsonl").read_text().splitlines(keepends=True)[: STEPS - 3]
    (again / "metrics.jsonl").write_text("".join(kept))
    resumed = resume(experiment, again, progress=False)
    assert lines(again) == lines(folder)
    assert {**resumed, "seconds": 0} == {**result, "seconds": 0}


def test_signal_and_noise_are_known_before_a_training(experiment):
    """The gradients of means have closed forms; each is within three standard errors, and said to be so."""
    problem = experiment.problem
    with Executor(1) as executor:
        report = measure_signal(
            Ensemble(problem, 5, 2, chunk_size=40), executor, problem.initial_values, 80, lambda *_: None
        )
    assert report["requested"] == report["converged"] == 80
    assert list(report["properties"]) == ["moment"]
    smoothed = SPREAD**2 * np.exp(2.0 * 0.05**2)
    expected = {"spread": 2.6 * smoothed, "composition": [0.0, 0.0], "diameter": [smoothed, 0.0]}
    for name, variable in report["properties"]["moment"]["variables"].items():
        distance = np.linalg.norm(np.asarray(variable["gradient"]) - expected[name])
        assert distance < 3.0 * np.linalg.norm(variable["standard_error"])
        ratio = np.linalg.norm(variable["gradient"]) / np.linalg.norm(variable["standard_error"])
        assert np.isclose(variable["signal_to_noise"], np.sqrt(max(ratio**2 - 1.0, 0.0)))
        if name != "composition":
            assert np.isclose(variable["for_one"], 80 / (ratio**2 - 1.0))


def test_an_analysis_reports_signal_and_noise(experiment, caplog):
    """Tunability, which is made of exact gradients, is left out where there is none."""
    estimated = {name: bounds for name, bounds in experiment.design.items() if name != "diameter"}
    problem = dataclasses.replace(experiment, design=estimated).problem
    request = Analysis(problem, parts=("tunability", "predictiveness"), n_configurations=6, devices=1)
    report = analyse(request, progress=False)
    assert report.keys() == {"packing", "design", "gradients"}
    assert report["design"].keys() == {"spread", "composition"}
    assert report["gradients"]["preparations"] == 12
    assert report["gradients"]["properties"]["moment"]["variables"].keys() == {"spread", "composition"}
    assert "left out: tunability, predictiveness: no design variable has an exact gradient" in caplog.text
    shown = "\n".join(summarise(report, Path("here")))
    assert "gradients of means, from 6 samples (12 packings)" in shown
    assert "evolution" in shown


def test_a_trained_composition_is_validated_at_fixed_numbers(tmp_path):
    overrides = ["system.n_particles=64", "sampler=fresh", "design={system.composition: [0.1,0.9]}"]
    experiment = build(compose("train", overrides, instance=start("train")))
    (tmp_path / "config.yaml").write_text(experiment.config)
    (tmp_path / "metrics.jsonl").write_text(json.dumps({"step": 0, "design": {"composition": [0.26, 0.74]}}) + "\n")
    request = build_validation(compose("validate", [f"run={tmp_path}"], instance=start("validate")))
    assert request.models["trained"].system.species_counts == (17, 47)
    assert request.models["untrained"].system.species_counts == (32, 32)
    assert experiment.problem.model.system.species_counts is None
    assert experiment.problem.model.system.start(jax.random.key(0)).species.shape == (64,)


SHEAR = "+treatment@protocol.treatments.shear=cyclic_shear"
AMPLITUDE = "design.protocol.treatments.shear.amplitude"
COOL = "+treatment@protocol.treatments.cool=anneal"
TEMPERATURE = "protocol.treatments.cool.temperature"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([SHEAR, f"{AMPLITUDE}=[0.01,0.3]"], "choose sampler=fresh"),
        (["design.system.composition=[0.1,0.9]"], "choose sampler=fresh"),
        (
            ["sampler=fresh", "system.n_species=1", "design={system.composition: [0.1,1]}"],
            "there is a single species",
        ),
        (["sampler=fresh", "sampler.size=2", "design.system.composition=[0.1,0.9]"], "must be at least 3"),
        (
            ["sampler=fresh", "train.keep_packings=2", SHEAR, f"{AMPLITUDE}=[0.01,0.3]"],
            "train.keep_packings=2: the packings of this training are prepared on both sides",
        ),
        (
            ["sampler=fresh", SHEAR, f"{AMPLITUDE}={{bounds: [0.01,0.3], estimator: exact}}"],
            "amplitude changes a packing by the choice of its basin only",
        ),
        (
            ["sampler=fresh", SHEAR, f"{AMPLITUDE}={{bounds: [0.01,0.3], estimators: score}}"],
            "no such key of a design variable",
        ),
        (
            ["sampler=fresh", COOL, f"{TEMPERATURE}=0.0", f"design.{TEMPERATURE}=[0,1]"],
            "has no scale",
        ),
    ],
)
def test_wrong_requests_are_refused(overrides, message):
    with pytest.raises(gw.RequestError, match=message) as caught:
        build(compose("train", overrides, instance=start("train")))
    assert "\n" not in str(caught.value)


def signal(overrides: list[str], n_samples: int):
    """The gradient of the energy, or of the pressure, in the only design variable of a request."""
    common = ["system.n_particles=64", "sampler=fresh", "~design.diameter", "~design.binding_energy"]
    problem = build(compose("train", [*common, *overrides], instance=start("train"))).problem
    with Executor(2) as executor:
        ensemble = Ensemble(problem, 11, 2)
        report = measure_signal(ensemble, executor, problem.initial_values, n_samples, lambda *_: None)
    (of_property,) = report["properties"].values()
    (variable,) = of_property["variables"].values()
    return np.asarray(variable["gradient"]), np.asarray(variable["standard_error"])


PRESSURE = ["property=[pressure]", "terms.pressure.objective.target=0.3"]
ENERGY = ["property=[energy_per_particle]", "terms.energy_per_particle.objective.target=0"]
COOLING = [COOL, f"{TEMPERATURE}=[0.3]", "protocol.treatments.cool.duration=20"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "path", "bounds", "name", "n_samples"),
    [
        (PRESSURE, "system.composition", "[0.1,0.9]", "score", 600),
        (PRESSURE, "system.composition", "[0.1,0.9]", "evolution", 200),
        ([*ENERGY, *COOLING], TEMPERATURE, "[1e-3,1]", "evolution", 500),
    ],
    ids=["composition by the score", "composition by evolution", "temperature"],
)
def test_estimates_agree_with_differences(overrides, path, bounds, name, n_samples):
    """Means over packings that were relaxed: the estimator against differences with common keys, to three errors."""

    def with_estimator(name: str, width: float | None, n_samples: int):
        text = f"design.{path}={{bounds: {bounds}, estimator: {name}" + (
            "}" if width is None else f", width: {width}}}"
        )
        return signal([*overrides, text], n_samples)

    gradient, error = with_estimator(name, None if name == "score" else 0.2, n_samples)
    expected, error_of_expected = with_estimator("differences", 0.2, 200)
    if path == "system.composition" and name == "evolution":
        # In logarithms of two equal fractions, each of which scales both.
        expected, error_of_expected = 0.5 * expected, 0.5 * error_of_expected
    noise = np.hypot(np.linalg.norm(error), np.linalg.norm(error_of_expected))
    assert np.linalg.norm(gradient - expected) < 3.0 * noise
    assert np.linalg.norm(expected) > 3.0 * noise
