"""Ensembles: which packings a step looks at, with any number of workers, what is rejected, and what is made of it."""

import dataclasses
import json

import equinox as eqx
import glasswright as gw
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from glasswright import cli
from glasswright.evaluation.ensemble import TRAINING, VALIDATION, Ensemble, random_start, random_starts
from glasswright.evaluation.loss import evaluate
from glasswright.execution import worker_pool
from glasswright.execution.executor import Executor
from glasswright.jobs.metrics import REJECTION_WINDOW
from glasswright.jobs.train import evaluate_step, train, update
from glasswright.jobs.training_state import initial_state
from glasswright.physics.hessian import pinned_hessian
from helpers import component

HarmonicMorse = component("potential", "harmonic_morse")
Quench = component("protocol", "quench")
Fresh, Tracked = component("sampler", "fresh"), component("sampler", "tracked")
Target, TargetEach = component("objective", "target"), component("objective", "target_each")
PoissonRatio, ElasticTensor = component("property", "poisson_ratio"), component("property", "elastic_tensor")
BOUNDS = {"diameter": (0.1, 3.0), "binding_energy": (0.0, 10.0)}


class Picky(gw.AbstractProtocol):
    """A quench that turns half of what it finds away: all that took an odd number of force evaluations."""

    quench: Quench = Quench()

    provides = gw.Equilibrium

    def prepare(self, potential, start, *, key):
        """A quench, or `unstable`."""
        prepared = self.quench.prepare(potential, start, key=key)
        if is_odd(prepared):
            prepared = dataclasses.replace(prepared, outcome=gw.Outcome.unstable, memory=None)
        return prepared

    def remember(self, potential, configuration):
        """What a quench would."""
        return self.quench.remember(potential, configuration)

    def attach(self, potential, prepared):
        """A minimum, as any other."""
        return self.quench.attach(potential, prepared)


def is_odd(prepared: gw.Prepared) -> bool:
    return int(prepared.statistics["evaluations"]) % 2 == 1


def make(**changes) -> gw.Experiment:
    """A scalar and an array, evaluated over a few small packings."""
    terms = {
        "nu": gw.Term(PoissonRatio(), Target(0.42), weight=2.0),
        "tensor": gw.Term(ElasticTensor(), Target(np.ones((2, 2, 2, 2))), weight=0.1),
    }
    parts = {
        "potential": HarmonicMorse(),
        "system": gw.System(n_particles=128),
        "protocol": Quench(),
        "sampler": Fresh(5),
        "terms": terms,
        "design": BOUNDS,
        "optimizer": optax.adam(1e-3),
        "steps": 3,
        "tolerance": 0.0,
        "seed": 5,
        "devices": 1,
    }
    return gw.Experiment(**(parts | changes))


def lines(directory) -> list[dict]:
    metrics = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    for line in metrics:
        line.pop("seconds")
    return metrics


def start_of(index: int, step: int = 0, seed: int = 0, stream: int = TRAINING) -> gw.Configuration:
    numbers = (np.asarray(number) for number in (seed, stream, index, step))
    return random_start(gw.System(n_particles=128), *numbers)[0]


def same(first: gw.Configuration, second: gw.Configuration) -> bool:
    return np.array_equal(first.fractional, second.fractional)


def test_every_step_draws_packings_that_no_step_has_seen():
    """A configuration is its seed and index, and nothing else; those of a validation are others."""
    seen = [index for step in range(4) for index in Fresh(3).indices(step)]
    assert seen == list(range(12))
    starts = [start_of(index) for index in seen]
    starts += [start_of(index, stream=VALIDATION) for index in seen]
    starts += [start_of(index, seed=1) for index in seen]
    assert len({start.fractional.tobytes() for start in starts}) == 36
    assert all(same(start_of(index, step=7), starts[index]) for index in seen)
    numbers = np.asarray(0), np.asarray(TRAINING), np.asarray(seen), np.asarray(0)
    stacked, _ = random_starts(gw.System(n_particles=128), *numbers)
    for index in seen:
        assert np.array_equal(stacked.fractional[index], starts[index].fractional)


HYPERGRADIENT = component("optimizer", "hypergradient")(optax.rmsprop(1.0), learning_rate=2e-3)
RUNS = {
    "fresh": make(clip=1.0),
    "tracked": make(sampler=Tracked(2), optimizer=HYPERGRADIENT, steps=4),
}


@pytest.fixture(scope="module", params=RUNS)
def run(request, tmp_path_factory):
    """An experiment, and its run with four threads, which compile while others wait."""
    directory = tmp_path_factory.mktemp("four")
    result = train(dataclasses.replace(RUNS[request.param], devices=4), directory, progress=False)
    return RUNS[request.param], directory, result


@pytest.mark.parametrize(("devices", "chunk_size"), [(1, None), (2, None), (4, 3), (1, 3)])
def test_no_number_depends_on_devices_or_chunks(run, tmp_path, devices, chunk_size):
    experiment, directory, expected = run
    changed = dataclasses.replace(experiment, devices=devices, chunk_size=chunk_size)
    result = train(changed, tmp_path, progress=False)
    assert lines(tmp_path) == lines(directory)
    assert result | {"seconds": 0} == expected | {"seconds": 0}
    if experiment.sampler.is_population:
        assert (tmp_path / "final.extxyz").read_bytes() == (directory / "final.extxyz").read_bytes()


@pytest.mark.slow
def test_workers_find_the_same_numbers_as_threads(tmp_path, monkeypatch):
    """Both phases of the gradient in worker processes from the second step on."""
    by_workers = []
    monkeypatch.setattr(worker_pool, "START_AFTER", 0.0)
    monkeypatch.setattr("glasswright.execution.workers.available_cores", lambda: 2)
    remote = worker_pool.WorkerPool.remote

    def remote_once_started(pool, task):
        pool.wait()
        function = remote(pool, task)
        by_workers.append(function is not None)
        return function

    monkeypatch.setattr(worker_pool.WorkerPool, "remote", remote_once_started)
    results = []
    for devices in (1, 2):
        changed = dataclasses.replace(RUNS["fresh"], devices=devices, steps=2)
        directory = tmp_path / str(devices)
        results.append(train(changed, directory, progress=False) | {"seconds": 0})
    assert by_workers[0] is False
    assert all(by_workers[1:])
    assert lines(tmp_path / "1") == lines(tmp_path / "2")
    assert results[0] == results[1]


def test_every_requested_configuration_is_accounted_for(run):
    experiment, directory, result = run
    metrics = lines(directory)
    assert len(metrics) == experiment.steps
    for line in metrics:
        assert line["requested"] == experiment.sampler.size
        assert line["requested"] == line["converged"] + sum(line["rejected"].values())
        assert np.shape(line["terms"]["tensor"]["value"]) == (2, 2, 2, 2)
    for key in ("requested", "converged"):
        assert result[key] == sum(line[key] for line in metrics)
    assert (result["success"] is None) == (not experiment.sampler.is_population)


def test_the_same_seed_gives_the_same_run_and_another_one_another(run, tmp_path):
    experiment, directory, _ = run
    train(dataclasses.replace(experiment, steps=1, seed=6), tmp_path, progress=False)
    metrics, other = lines(directory), lines(tmp_path)[0]
    assert other["terms"]["nu"]["value"] != metrics[0]["terms"]["nu"]["value"]
    values = [line["terms"]["nu"]["value"] for line in metrics]
    assert len(set(values)) == len(values)


@pytest.fixture(scope="module")
def drawn():
    """The five packings of the first step, one at a time and without any gradient of the whole."""
    experiment = make()
    problem = experiment.problem
    ensemble = Ensemble(problem, experiment.seed)
    with Executor(1) as executor:
        return ensemble.samples(executor, problem.initial_values, range(5))


def values_of(samples, name: str) -> np.ndarray:
    return np.array([sample.measurement.values[name] for sample in samples])


def test_standard_errors_and_floors_are_those_of_the_sample(run, drawn):
    experiment, directory, _ = run
    plain = experiment.sampler.is_population
    m = experiment.sampler.size
    line, total = lines(directory)[0], 0.0
    for name, weight, target in (("nu", 2.0, 0.42), ("tensor", 0.1, 1.0)):
        term, values = line["terms"][name], values_of(drawn[:m], name)
        np.testing.assert_allclose(term["value"], np.mean(values, axis=0), rtol=1e-13)
        np.testing.assert_allclose(term["standard_error"], np.std(values, axis=0, ddof=1) / m**0.5, rtol=1e-10)
        distance = values - target
        square, squares = np.sum(np.sum(distance, axis=0) ** 2), np.sum(distance**2)
        loss = square / m**2 if plain else (square - squares) / (m * (m - 1))
        assert term["loss"] == pytest.approx(loss, rel=1e-10)
        assert term["loss_floor"] == pytest.approx(np.sum(np.var(values, axis=0, ddof=1)) / m, rel=1e-10)
        total += weight * loss
    assert line["loss"] == pytest.approx(total, rel=1e-12)


def test_each_packing_for_itself(drawn):
    """Loss, floor and gradient of `target_each`, by hand from those of the packings."""
    each = {
        "nu": gw.Term(PoissonRatio(), TargetEach(0.42), weight=3.0),
        "tensor": gw.Term(ElasticTensor(), TargetEach(np.ones((2, 2, 2, 2)))),
    }
    experiment = make(terms=each, sampler=Tracked(5))
    problem = experiment.problem
    values = problem.initial_values
    with Executor(1) as executor:
        evaluation = evaluate(problem, values, experiment.sampler, drawn, executor)
        mean = {name: gw.Term(term.property, Target(term.objective.target)) for name, term in each.items()}
        mean_problem = dataclasses.replace(problem, terms=mean)
        of_mean = evaluate(mean_problem, values, experiment.sampler, drawn, executor)
    loss = 0.0
    for name, target, weight in (("nu", 0.42, 3.0), ("tensor", 1.0, 1.0)):
        measured = values_of(drawn, name)
        square, spread = np.sum((measured - target) ** 2), np.sum(np.var(measured, axis=0, ddof=1))
        assert evaluation.losses[name] == pytest.approx(square, rel=1e-12)
        assert evaluation.losses[name] == pytest.approx(5 * of_mean.losses[name] + 4 * spread, rel=1e-10)
        assert evaluation.floors[name] == pytest.approx(5 * spread, rel=1e-10)
        loss += weight * square
    assert evaluation.loss == pytest.approx(loss, rel=1e-12)
    for name in values:
        parts = [
            2 * (sample.measurement.values["nu"] - 0.42) * sample.measurement.gradients["nu"][name] for sample in drawn
        ]
        np.testing.assert_allclose(evaluation.gradients["nu"][name], 3.0 * np.sum(parts, axis=0), rtol=1e-11)
        # A single packing is its own mean: there the two agree, and phase two is linear in the packings.
        with Executor(1) as executor:
            alone = [
                evaluate(mean_problem, values, Tracked(1), [sample], executor).gradients["tensor"][name]
                for sample in drawn
            ]
        np.testing.assert_allclose(evaluation.gradients["tensor"][name], np.sum(alone, axis=0), rtol=1e-10)


def test_what_is_rejected_is_counted_and_never_averaged_in(drawn, tmp_path):
    experiment = make(protocol=Picky(), steps=2)
    accepted = [sample for sample in drawn if not is_odd(sample.prepared)]
    assert 2 <= len(accepted) < 5
    result = train(dataclasses.replace(experiment, devices=2), tmp_path, progress=False)
    metrics = lines(tmp_path)
    assert metrics[0]["converged"] == len(accepted)
    assert metrics[0]["rejected"] == {"unstable": 5 - len(accepted)}
    assert metrics[0]["search"]["evaluations"] == sum(sample.statistics["evaluations"] for sample in drawn)
    for name in ("nu", "tensor"):
        term, values = metrics[0]["terms"][name], values_of(accepted, name)
        np.testing.assert_allclose(term["value"], np.mean(values, axis=0), rtol=1e-10)
        m = len(accepted)
        assert term["loss_floor"] == pytest.approx(np.sum(np.var(values, axis=0, ddof=1)) / m, rel=1e-9)
    assert result["requested"] == 10 == result["converged"] + sum(result["rejected"].values())

    values = experiment.problem.initial_values
    with Executor(1) as executor:
        _, with_rejected = evaluate_step(experiment, executor, initial_state(experiment))
        without = evaluate(experiment.problem, values, experiment.sampler, accepted, executor)
    assert with_rejected.loss == pytest.approx(without.loss, rel=1e-12)
    for name in values:
        np.testing.assert_allclose(with_rejected.gradient[name], without.gradient[name], rtol=1e-9)


def test_one_accepted_packing_says_nothing_about_an_ensemble(tmp_path):
    """The unbiased estimator then has no value: the step changes nothing, and is written down."""
    terms = {"nu": gw.Term(PoissonRatio(), Target(0.42))}
    experiment = make(protocol=Picky(), sampler=Fresh(2), terms=terms, steps=12)
    train(experiment, tmp_path, progress=False)
    metrics = lines(tmp_path)
    alone = [line for line in metrics[:-1] if line["converged"] == 1]
    assert alone
    for line in alone:
        assert line["loss"] is None
        assert line["terms"]["nu"]["loss"] is line["terms"]["nu"]["standard_error"] is None
        assert isinstance(line["terms"]["nu"]["value"], float)
        assert line["design"] == metrics[line["step"] + 1]["design"]
    for line in metrics[:-1]:
        assert (line["loss"] is None) == (line["converged"] < 2)
        assert (line["design"] == metrics[line["step"] + 1]["design"]) == (line["loss"] is None)

    start = initial_state(experiment)
    state = dataclasses.replace(start, step=alone[0]["step"], prepared_values=start.values)
    with Executor(1) as executor:
        samples, evaluation = evaluate_step(experiment, executor, state)
    after = update(experiment, state, samples, evaluation)
    # Not even the optimiser has noticed.
    for first, second in zip(jax.tree.leaves(state), jax.tree.leaves(after), strict=True):
        assert np.array_equal(first, second, equal_nan=True) or (first, second) == (state.step, after.step)


SMALL = ["sampler=fresh", "sampler.size=3", "system.n_particles=128", "optimizer=adam", "devices=2"]


def test_too_many_rejections_end_the_run_with_their_reason(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = ["protocol.max_steps=250", "train.rejection_limit=0.1", "train.steps=100", "hydra.run.dir=run"]
    assert cli.main(["train", *SMALL, *arguments]) == cli.RUN_FAILED
    error = capsys.readouterr().err.splitlines()[-1]
    metrics = lines(tmp_path / "run")
    rejected = sum(line["rejected"]["max_steps"] for line in metrics if line["rejected"])
    assert len(metrics) == REJECTION_WINDOW
    assert 0.1 * 3 * REJECTION_WINDOW < rejected < 3 * REJECTION_WINDOW
    assert error == (
        f"glasswright: error: {rejected} of the last {3 * REJECTION_WINDOW} configurations were rejected "
        f"({rejected} max_steps), more than the share of 0.1 that train.rejection_limit allows"
    )
    assert not (tmp_path / "run" / "result.json").exists()
    assert all(line["requested"] == line["converged"] + sum(line["rejected"].values()) for line in metrics)


@pytest.mark.slow
def test_a_gel_is_prepared_with_its_zero_modes_counted():
    """Clusters that float free turn and move at no cost, particles that nobody touches are rattlers."""
    potential = HarmonicMorse(binding_energy=0.5, inverse_range=8.0)
    protocol = Quench(max_steps=50_000)
    numbers = (np.asarray(number) for number in (0, TRAINING, 0, 0))
    start, key = random_start(gw.System(n_particles=368, density=0.15), *numbers)
    prepared = protocol.prepare(potential, start, key=key)
    assert prepared.accepted
    assert prepared.statistics["zero_modes"] > 0
    assert prepared.statistics["rattlers"] > 0
    state = protocol.attach(potential, prepared)
    # Bonds without load rest where the curvature of the potential jumps: rounding can show in their share of it.
    assert abs(float(component("property", "bulk_modulus")().measure(state))) < 1e-3
    matrix, rattler = eqx.filter_jit(pinned_hessian)(potential, prepared.configuration, prepared.memory.neighbors)
    matrix = np.asarray(matrix)
    eigenvalues = np.linalg.eigvalsh(np.tril(matrix) + np.tril(matrix, -1).T)
    # Nothing is unstable, and a gap parts what is free from what is soft.
    assert eigenvalues[0] > -1e-10
    zero = np.sum(eigenvalues < 1e-9)
    assert zero == prepared.statistics["zero_modes"]
    assert eigenvalues[zero] > 1e-7
    assert np.sum(rattler) == prepared.statistics["rattlers"]


def test_zero_modes_do_not_hide_a_saddle():
    """Three in a row pull at each other and at nothing else: force-free, free to turn, and no minimum."""
    potential = HarmonicMorse(n_species=1, diameter=1.0, binding_energy=0.5, inverse_range=8.0)
    system = gw.System(n_particles=5, n_species=1, density=5 / 144)
    position = jnp.array([[1.9, 6.0], [3.0, 6.0], [4.1, 6.0], [9.0, 2.0], [9.0, 10.0]])
    start = dataclasses.replace(system.start(jax.random.key(0)), fractional=position / 12.0)
    prepared = Quench(max_steps=50_000).prepare(potential, start)
    assert prepared.accepted
    assert prepared.statistics["saddles"] > 0
    assert prepared.statistics["rattlers"] == 2
    assert prepared.statistics["zero_modes"] == 1
    a, b, c = np.asarray(prepared.configuration.position)[:3]
    np.testing.assert_allclose([np.linalg.norm(x - y) for x, y in ((a, b), (b, c), (c, a))], 1.0, atol=1e-10)


@pytest.mark.slow
def test_side_by_side_and_one_at_a_time_agree():
    """On an accelerator's path every packing is accounted for, and most end where they do on a core's.

    Not all: rounding decides where some of them go.
    """
    experiment = make(system=gw.System(), terms={"nu": gw.Term(PoissonRatio(), Target(0.42))})
    values = experiment.problem.initial_values
    ensemble = Ensemble(experiment.problem, experiment.seed, chunk_size=4)
    indices = range(12)
    with Executor(1, accelerators=jax.devices()) as executor:
        together = ensemble.samples(executor, values, indices)
    with Executor(1, accelerators=[]) as executor:
        alone = ensemble.samples(executor, values, indices)
    assert [sample.index for sample in together] == [sample.index for sample in alone] == list(indices)
    agree = 0
    for first, second in zip(together, alone, strict=True):
        assert (first.measurement is None) == (first.outcome != gw.Outcome.converged)
        assert set(first.statistics) == set(second.statistics)
        if first.measurement is None or second.measurement is None:
            continue
        near, far = first.measurement.values["nu"], second.measurement.values["nu"]
        agree += abs(near - far) < 1e-8
        if abs(near - far) < 1e-8:
            for name in values:
                gradients = first.measurement.gradients["nu"][name], second.measurement.gradients["nu"][name]
                np.testing.assert_allclose(*gradients, rtol=1e-5, atol=1e-6)
    assert agree > 6
    with Executor(1, accelerators=jax.devices()) as executor:
        evaluation = evaluate(experiment.problem, values, experiment.sampler, together, executor)
    assert evaluation.loss is not None
    assert len(evaluation.outcomes) == 12
