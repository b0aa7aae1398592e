"""Training: the composed loss and its gradient, the loop, and what it leaves behind."""

import dataclasses
import json

import equinox as eqx
import glasswright as gw
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from glasswright.evaluation import loss
from glasswright.evaluation.design import resolve_design
from glasswright.evaluation.measurement import measure_sample
from glasswright.evaluation.problem import Problem
from glasswright.execution.executor import Executor
from glasswright.jobs.experiment import check_experiment
from glasswright.jobs.measure import MeasureRequest, measure
from glasswright.jobs.train import train
from glasswright.run.extxyz import read_configuration
from helpers import branches, component

Target, Band, Tracked = (
    component("objective", "target"),
    component("objective", "band"),
    component("sampler", "tracked"),
)
BOUNDS = {"diameter": (0.1, 3.0), "binding_energy": (0.0, 10.0)}


def evaluate(problem, values, sampler, batch):
    samples = [measure_sample(problem, values, prepared, k) for k, prepared in enumerate(batch)]
    return loss.evaluate(problem, values, sampler, samples, Executor(1))


@pytest.fixture(scope="module")
def experiment():
    return gw.Experiment(
        potential=component("potential", "harmonic_morse")(),
        system=gw.System(),
        protocol=component("protocol", "quench")(),
        sampler=Tracked(),
        terms={"poisson_ratio": gw.Term(component("property", "poisson_ratio")(), Target(0.42))},
        design=BOUNDS,
        optimizer=component("optimizer", "hypergradient")(optax.rmsprop(1.0), learning_rate=2e-3),
        steps=60,
        tolerance=1e-6,
        checkpoint_interval=1,
        config="train:\n  steps: 60\n",
    )


@pytest.fixture(scope="module")
def batch(experiment):
    keys = jax.random.split(jax.random.key(4), 3)
    return [experiment.protocol.prepare(experiment.potential, experiment.system.start(key)) for key in keys]


def terms():
    """A scalar and an array, plain and unbiased, a band, weights."""
    return {
        "nu": gw.Term(component("property", "poisson_ratio")(), Target(0.2, estimator="unbiased"), weight=2.0),
        "tensor": gw.Term(component("property", "elastic_tensor")(), Target(np.ones((2, 2, 2, 2))), weight=0.1),
        "p": gw.Term(component("property", "pressure")(), Band(0.3, 0.4), weight=5.0),
    }


@pytest.fixture(scope="module")
def composed(experiment, batch):
    model = experiment.model
    problem = Problem(model, resolve_design(model, BOUNDS), terms())
    values = problem.initial_values
    return problem, values, evaluate(problem, values, Tracked(3), batch)


def test_gradient_of_a_composed_loss_against_central_differences(experiment, batch, composed):
    """Of the loss over three packings that are all prepared again at either end."""
    problem, values, evaluation = composed
    keys = dict(zip(values, jax.random.split(jax.random.key(5), len(values)), strict=True))
    direction = {name: jax.random.normal(keys[name], value.shape) for name, value in values.items()}

    def ends(step):
        losses, where = [], []
        for sign in (-1, 1):
            moved = {name: values[name] + sign * step * direction[name] for name in values}
            potential = problem.at(moved).potential
            prepared = [experiment.protocol.follow(potential, packing) for packing in batch]
            where.append(
                [branches(potential, p.configuration, b.memory.neighbors) for p, b in zip(prepared, batch, strict=True)]
            )
            losses.append(evaluate(problem, moved, Tracked(3), prepared).loss)
        return (losses[1] - losses[0]) / (2 * step), np.array_equal(*where)

    slope = sum(float(np.vdot(evaluation.gradient[name], direction[name])) for name in values)
    norm = np.sqrt(sum(float(np.sum(g**2)) for g in evaluation.gradient.values()))
    for step in (4e-6, 1e-6, 2.5e-7):
        (wide, smooth), (narrow, _) = ends(2 * step), ends(step)
        if smooth:
            break
    else:
        pytest.fail("a pair changes branch however small the step")
    assert abs((4 * narrow - wide) / 3 - slope) < 1e-6 * norm


def test_gradients_of_terms_add_up(composed):
    _, values, evaluation = composed
    assert set(evaluation.gradients) == {"nu", "tensor", "p"}
    for name in values:
        total = sum(gradient[name] for gradient in evaluation.gradients.values())
        np.testing.assert_allclose(evaluation.gradient[name], total, rtol=1e-14)
    expected = 2.0 * evaluation.losses["nu"] + 0.1 * evaluation.losses["tensor"] + 5.0 * evaluation.losses["p"]
    np.testing.assert_allclose(evaluation.loss, expected, rtol=1e-14)


def test_rejected_configurations_are_counted_and_not_averaged_in(experiment, batch, composed):
    problem, values, _ = composed
    failed = gw.Prepared(batch[0].configuration, gw.Outcome.unstable)
    with_failure = evaluate(problem, values, Tracked(4), [batch[0], failed, *batch[1:]])
    without = evaluate(problem, values, Tracked(3), batch)
    assert with_failure.loss == pytest.approx(without.loss, rel=1e-14)
    assert [outcome.name for outcome in with_failure.outcomes].count("unstable") == 1
    for name in values:
        np.testing.assert_allclose(with_failure.gradient[name], without.gradient[name], rtol=1e-13)
    nothing = evaluate(problem, values, Tracked(1), [failed])
    assert nothing.loss is None


class NotANumber(gw.AbstractProperty):
    def measure(self, state):
        return jnp.sqrt(-state.configuration.volume)


def test_a_property_that_is_not_a_number_is_a_counted_outcome(experiment, batch, composed):
    problem, values, _ = composed
    broken = dataclasses.replace(problem, terms={"broken": gw.Term(NotANumber(), Target(0.0))})
    evaluation = evaluate(broken, values, Tracked(1), batch[:1])
    assert evaluation.loss is None
    assert evaluation.outcomes == [gw.Outcome.nonfinite]


def test_objectives():
    values, accepted = jnp.array([1.0, 4.0, 0.0]), jnp.array([True, True, False])
    assert float(Target(2.0).loss(values, accepted, Tracked(3))) == pytest.approx(0.25)
    assert float(Target(2.0, estimator="unbiased").loss(values, accepted, Tracked(3))) == pytest.approx(-2.0)
    assert float(Band(0.0, 2.0).loss(values, accepted, Tracked(3))) == pytest.approx(0.25)
    assert float(Band(lower=3.0).loss(values, accepted, Tracked(3))) == pytest.approx(0.25)
    assert float(Band(2.0, 3.0).loss(values, accepted, Tracked(3))) == 0.0
    with pytest.raises(ValueError, match="lower, upper or both"):
        Band()


@pytest.mark.wrong_types
def test_an_objective_can_refuse_a_sampler(experiment):
    term = gw.Term(component("property", "pressure")(), Target(0.1, estimator="unbiased"))
    with pytest.raises(gw.RequestError, match=r"terms\.p\.objective.*size >= 2"):
        check_experiment(dataclasses.replace(experiment, terms={"p": term}))
    check_experiment(dataclasses.replace(experiment, terms={"p": term}, sampler=Tracked(2)))


class InfiniteSlope(gw.AbstractProperty):
    def measure(self, state):
        return jnp.sqrt(jnp.maximum(state.potential.diameter[0] - 0.8, 0.0))


def test_a_gradient_that_is_not_a_number_is_a_counted_outcome(experiment, batch, composed):
    problem, values, _ = composed
    broken = dataclasses.replace(problem, terms={"broken": gw.Term(InfiniteSlope(), Target(0.5))})
    evaluation = evaluate(broken, values, Tracked(1), batch[:1])
    assert evaluation.loss is None
    assert evaluation.outcomes == [gw.Outcome.nonfinite]


@pytest.fixture(scope="module")
def run(experiment, tmp_path_factory):
    directory = tmp_path_factory.mktemp("run")
    return directory, train(experiment, directory, progress=False)


def lines(directory):
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def test_training_reaches_its_target(run):
    directory, result = run
    assert result["success"] is True
    assert result["loss"] < 1e-6
    assert abs(result["values"]["poisson_ratio"] - 0.42) < 1e-3
    assert result == json.loads((directory / "result.json").read_text())
    metrics = lines(directory)
    assert [line["step"] for line in metrics] == list(range(result["steps"]))
    assert set(metrics[0]) >= {
        "step",
        "loss",
        "terms",
        "design",
        "learning_rate",
        "requested",
        "converged",
        "rejected",
        "seconds",
    }
    for line in metrics:
        assert line["requested"] == line["converged"] + sum(line["rejected"].values())
    assert metrics[-1]["loss"] == result["loss"]
    assert metrics[0]["learning_rate"] == pytest.approx(2e-3)
    assert (directory / "training.png").read_bytes().startswith(b"\x89PNG")
    assert len(list((directory / "checkpoints").iterdir())) == 2
    assert json.loads((directory / "provenance.json").read_text())["versions"]["jax"] == jax.__version__


def test_the_packing_it_leaves_has_the_values_it_reports(run, experiment):
    directory, result = run
    potential = type(experiment.potential)(**result["design"])
    request = MeasureRequest(
        configuration=read_configuration(directory / "final.extxyz"),
        potential=potential,
        protocol=experiment.protocol,
        properties={"poisson_ratio": component("property", "poisson_ratio")()},
    )
    report = measure(request)
    assert report["properties"]["poisson_ratio"]["value"] == pytest.approx(result["values"]["poisson_ratio"], abs=1e-11)


def test_runs_repeat_to_the_last_digit(run, experiment, tmp_path):
    directory, _ = run
    train(dataclasses.replace(experiment, steps=5), tmp_path, progress=False)
    for before, after in zip(lines(directory), lines(tmp_path), strict=False):
        before.pop("seconds")
        after.pop("seconds")
        assert before == after


def test_using_up_the_steps_is_no_success(experiment, tmp_path):
    result = train(dataclasses.replace(experiment, steps=2), tmp_path, progress=False)
    assert result["success"] is False
    assert result["steps"] == 2
    never = train(dataclasses.replace(experiment, steps=2, tolerance=0.0), progress=False)
    assert never["success"] is False


def test_a_run_that_prepares_nothing_says_so(experiment, tmp_path):
    hopeless = dataclasses.replace(experiment, protocol=component("protocol", "quench")(max_steps=3))
    with pytest.raises(gw.RunError, match="max_steps"):
        train(hopeless, tmp_path, progress=False)
    metrics = lines(tmp_path)
    assert all(line["loss"] is None and line["rejected"] == {"max_steps": 1} for line in metrics)
    assert eqx.tree_equal(metrics[0]["design"], metrics[-1]["design"])


def test_an_unwritable_directory_is_one_error(experiment, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(gw.RunError, match="cannot write"):
        train(experiment, tmp_path / "file", progress=False)


def test_several_packings_at_once(experiment, tmp_path):
    both = dataclasses.replace(experiment, sampler=Tracked(2), steps=3)
    result = train(both, tmp_path, progress=False)
    assert result["requested"] == result["converged"] == 6
    assert (tmp_path / "final.extxyz").read_text().count("Lattice") == 2
