"""Quenched disorder: how it is drawn, that no interaction misses it, and derivatives through it."""

import dataclasses
import functools
import json

import equinox as eqx
import glasswright as gw
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
import yaml
from glasswright import cli
from glasswright.commands.compose import compose
from glasswright.commands.validate import build_validation
from glasswright.evaluation.design import resolve_design
from glasswright.evaluation.ensemble import TRAINING, VALIDATION, random_start, random_starts
from glasswright.evaluation.measurement import measure_sample
from glasswright.evaluation.problem import Model, Problem
from glasswright.jobs.experiment import check_experiment
from glasswright.jobs.measure import MeasureRequest, check_measurable, measure
from glasswright.jobs.train import resume, train
from glasswright.neighbors import PairList, build_pair_list
from glasswright.physics.disorder import LARGEST, bond_factor
from glasswright.run.extxyz import read_configuration, write_configuration
from helpers import branches, component

HarmonicMorse = component("potential", "harmonic_morse")
Quench = component("protocol", "quench")
Target = component("objective", "target")
POTENTIALS = ("harmonic_morse", "inverse_power", "lennard_jones", "morse", "soft_sphere", "yukawa")
FIELDS = {"diameter_factor", "bond_seed", "bond_spread"}

noisy = functools.partial(gw.System, polydispersity=0.05, heterogeneity=0.05)


def start_of(system, index, stream=TRAINING, seed=0):
    numbers = (np.asarray(number) for number in (seed, stream, index, 0))
    return random_start(system, *numbers)[0]


def test_positions_are_those_without_disorder():
    key = jax.random.key(3)
    expected = jax.random.uniform(key, (368, 2), dtype=float)
    for changes, fields in (
        ({}, set()),
        ({"polydispersity": 0.05}, {"diameter_factor"}),
        ({"heterogeneity": 0.05}, {"bond_seed", "bond_spread"}),
        ({"polydispersity": 0.05, "heterogeneity": 0.05}, FIELDS),
    ):
        start = gw.System(**changes).start(key)
        assert np.array_equal(start.fractional, expected)
        assert set(start.disorder) == fields


def test_every_configuration_has_disorder_of_its_own():
    """Known by seed, stream and index alone: validation, too, draws its own."""
    system = noisy(n_particles=64)
    starts = [start_of(system, index, stream) for index in range(3) for stream in (TRAINING, VALIDATION)]
    starts += [start_of(system, index, seed=1) for index in range(3)]
    for name in ("diameter_factor", "bond_seed"):
        assert len({np.asarray(start.disorder[name]).tobytes() for start in starts}) == len(starts)
    stacked, _ = random_starts(system, np.asarray(0), np.asarray(TRAINING), np.arange(3), np.asarray(0))
    for index in range(3):
        for name in FIELDS:
            assert np.array_equal(stacked.disorder[name][index], starts[2 * index].disorder[name])


def test_diameters_have_the_deviation_that_was_asked_for():
    factor = np.asarray(noisy(n_particles=40_000).start(jax.random.key(0)).disorder["diameter_factor"])
    assert abs(np.mean(factor) - 1.0) < 5 * 0.05 / 200
    assert np.std(factor) == pytest.approx(0.05, rel=5 / np.sqrt(2 * 40_000))
    assert np.max(np.abs(factor - 1.0)) < 0.05 * LARGEST


def test_noise_of_bonds():
    """Moments and distribution of xi over all bonds, and that bonds which share particles are independent."""
    n = 1200
    start = noisy(n_particles=n).start(jax.random.key(1))
    i, j = (jnp.asarray(k.reshape(-1)) for k in np.meshgrid(np.arange(n), np.arange(n), indexing="ij"))
    xi = np.asarray((bond_factor(start, i, j) - 1.0) / 0.05).reshape(n, n)
    assert np.array_equal(xi, xi.T)
    bonds = xi[np.triu_indices(n, 1)]
    law = scipy.stats.truncnorm(-3.0, 3.0, scale=LARGEST / 3.0)
    for power in (1, 2, 3, 4):
        deviation = np.sqrt(law.moment(2 * power) - law.moment(power) ** 2)
        assert abs(np.mean(bonds**power) - law.moment(power)) < 5 * deviation / np.sqrt(bonds.size)
    assert np.max(np.abs(bonds)) <= LARGEST
    assert scipy.stats.kstest(bonds, law.cdf).pvalue > 1e-4
    # Sums over paths and rings of bonds, from powers of the matrix: pairs that share a particle, triangles, squares.
    for field in (xi, xi**2 - 1.0):
        matrix = np.where(np.eye(n, dtype=bool), 0.0, field)
        variance = np.mean(matrix[np.triu_indices(n, 1)] ** 2)
        square = matrix @ matrix
        paths = np.sum(square) - np.trace(square)
        assert abs(paths) < 5 * variance * np.sqrt(2 * n * (n - 1) * (n - 2))
        triangles = np.sum(square * matrix)
        assert abs(triangles) < 5 * variance**1.5 * 6 * np.sqrt(n**3 / 6)
        np.fill_diagonal(square, 0.0)
        # Rings of four that visit four particles; each is counted eight times among these.
        rings = np.sum(square**2) - np.sum((matrix**2) @ (matrix**2) * (1 - np.eye(n)))
        assert abs(rings) < 5 * variance**2 * 8 * np.sqrt(n**4 / 8)


def every_pair(configuration) -> PairList:
    i, j = (jnp.asarray(k) for k in np.triu_indices(configuration.n_particles, 1))
    return PairList(i, j, configuration, np.asarray(np.inf), np.asarray(i.size))


@pytest.fixture(scope="module")
def rough():
    """A start with strong noise: its largest particle reaches far beyond the nominal cutoff."""
    return gw.System(n_particles=128, polydispersity=0.12, heterogeneity=0.12).start(jax.random.key(2))


QUICK = ("harmonic_morse", "lennard_jones", "sum")


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in (*POTENTIALS, "sum")],
)
def test_no_pair_is_lost(name, rough):
    """Against the sum over all pairs; and a list up to the nominal cutoff would lose some."""
    parts = {"lennard_jones": {"cutoff_ratio": 1.8, "onset_ratio": 1.5}, "yukawa": {"cutoff_ratio": 2.2}}

    def make(name):
        return component("potential", name)(**parts.get(name, {}))

    potential = component("potential", "sum")(make("morse"), make("soft_sphere")) if name == "sum" else make(name)
    reach, everything = float(potential.reach(rough)), every_pair(rough)
    assert 2 * reach < float(rough.box[0, 0])
    smooth = dataclasses.replace(rough, disorder={})

    @jax.jit
    def energies(rough, smooth, listed, everything):
        r = jnp.linalg.norm(rough.displacement(everything.i, everything.j), axis=1)
        each = jax.vmap(potential.pair_energy)(r, potential.pair_parameters(rough, everything.i, everything.j))
        totals = [potential.energy(rough, pairs) for pairs in (listed, everything)]
        return r, each, *totals, potential.energy(smooth, everything)

    r, energy, total, expected, plain = energies(rough, smooth, build_pair_list(rough, reach), everything)
    assert float(total) == pytest.approx(float(expected), rel=1e-12)
    # The square of a rounding error is left where the smoothing ends.
    assert np.max(np.abs(energy[r >= reach])) < 1e-30
    assert np.max(np.abs(energy[r >= float(potential.cutoff)])) > 1e-8
    # The same bonds without noise: it changes every one of them.
    assert float(potential.reach(smooth)) == float(potential.cutoff)
    assert abs(plain - expected) > 1e-6 * abs(plain)


@pytest.fixture(scope="module")
def model():
    return Model(HarmonicMorse(), noisy(n_particles=128), Quench())


@pytest.fixture(scope="module")
def prepared(model):
    start = model.system.start(jax.random.key(0))
    return model.protocol.prepare(model.potential, start)


def test_a_quench_ends_at_a_minimum_of_all_pairs(model, prepared):
    assert prepared.accepted
    configuration = prepared.configuration
    gradient = model.potential.gradient(configuration, every_pair(configuration))
    assert float(jnp.max(jnp.abs(gradient))) < 1e-11
    assert prepared.memory.neighbors.radius >= float(model.potential.reach(configuration))


def test_the_derivative_is_that_of_the_prepared_system(model, prepared):
    """In both directions of the design, for two properties, with the packing relaxed again at each end."""
    terms = {name: gw.Term(component("property", name)(), Target(0.0)) for name in ("poisson_ratio", "pressure")}
    design = resolve_design(model, {"diameter": (0.1, 3.0), "binding_energy": (0.0, 10.0)})
    problem = Problem(model, design, terms)
    values = problem.initial_values
    measurement = measure_sample(problem, values, prepared).measurement
    direction = {"diameter": jnp.array([0.6, -0.8]), "binding_energy": jnp.array([0.5, -0.3, 0.7])}

    def at(amplitude):
        moved = {name: value + amplitude * direction[name] for name, value in values.items()}
        there = problem.at(moved)
        followed = model.protocol.follow(there.potential, prepared)
        assert followed.accepted
        assert int(followed.statistics["rearranged"]) == 0
        measured = measure_sample(problem, moved, followed).measurement.values
        return measured, branches(there.potential, followed.configuration, prepared.memory.neighbors)

    for step in (4e-6, 1e-6, 2.5e-7):
        ends = [at(sign * step) for sign in (-2, -1, 1, 2)]
        if all(np.array_equal(ends[0][1], branch) for _, branch in ends):
            break
    else:
        pytest.fail("a pair changes branch however small the step")
    for name in terms:
        far2, near2, near, far = (float(end[name]) for end, _ in ends)
        difference = (8 * (near - near2) - (far - far2)) / (12 * step)
        slope = sum(float(np.vdot(measurement.gradients[name][key], direction[key])) for key in direction)
        assert abs(slope) > 1e-2
        assert abs(difference - slope) < 1e-6 * abs(slope), name


@pytest.mark.slow
def test_many_side_by_side_are_minima_of_all_pairs(model):
    starts = jax.vmap(model.system.start)(jax.random.split(jax.random.key(8), 3))
    prepared = model.protocol.prepare_many(model.potential, starts, width=2)
    assert np.all(prepared.outcome == gw.Outcome.converged)
    for k in range(3):
        configuration = jax.tree.map(lambda x: x[k], prepared.configuration)  # noqa: B023
        gradient = model.potential.gradient(configuration, every_pair(configuration))
        assert float(jnp.max(jnp.abs(gradient))) < 1e-11


def make(model: Model, **changes) -> gw.Experiment:
    parts = {
        "sampler": component("sampler", "tracked")(2),
        "terms": {"nu": gw.Term(component("property", "poisson_ratio")(), Target(0.42))},
        "design": {"diameter": (0.1, 3.0), "binding_energy": (0.0, 10.0)},
        "optimizer": component("optimizer", "adam")(1e-3),
        "steps": 4,
        "tolerance": 0.0,
        "checkpoint_interval": 2,
        "devices": 1,
    }
    of_model = {"potential": model.potential, "system": model.system, "protocol": model.protocol}
    return gw.Experiment(**(of_model | parts | changes))


def lines(directory) -> list[dict]:
    text = (directory / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) | {"seconds": 0} for line in text]


@pytest.fixture(scope="module")
def run(model, tmp_path_factory):
    directory = tmp_path_factory.mktemp("run")
    return directory, train(make(model), directory, progress=False)


@pytest.mark.slow
def test_any_number_of_devices_and_a_resumed_run_give_the_same(model, run, tmp_path):
    directory, _ = run
    train(make(model, devices=2), tmp_path, progress=False)
    assert lines(tmp_path) == lines(directory)
    final = (tmp_path / "final.extxyz").read_bytes()
    assert final == (directory / "final.extxyz").read_bytes()
    (tmp_path / "result.json").unlink()
    (tmp_path / "final.extxyz").unlink()
    text = (tmp_path / "metrics.jsonl").read_text()
    (tmp_path / "metrics.jsonl").write_text("".join(text.splitlines(keepends=True)[:3]))
    resume(make(model), tmp_path, progress=False)
    assert lines(tmp_path) == lines(directory)
    assert (tmp_path / "final.extxyz").read_bytes() == final


def test_a_packing_it_leaves_can_be_measured_again(model, run):
    directory, result = run
    path = directory / "final.extxyz"
    assert "type:I:1:pos:R:3:radius:R:1:bond_seed:I:1:bond_spread:R:1:diameter_factor:R:1 " in path.read_text()
    packing = read_configuration_of(path, 0)
    for name, field in start_of(model.system, 0).disorder.items():
        assert packing.disorder[name].dtype == field.dtype
        assert np.array_equal(packing.disorder[name], field)
    design = {name: jnp.asarray(result["design"][name]) for name in ("diameter", "binding_energy")}
    # The last line's values belong to the design before its update, which is what the result reports.
    request = MeasureRequest(
        configuration=packing,
        potential=HarmonicMorse(**design),
        protocol=model.protocol,
        properties={"nu": component("property", "poisson_ratio")()},
    )
    measured = measure(request)["properties"]["nu"]["value"]
    second = read_configuration_of(path, 1)
    other = measure(dataclasses.replace(request, configuration=second))["properties"]["nu"]["value"]
    assert 0.5 * (measured + other) == pytest.approx(result["values"]["nu"], rel=1e-9)
    plain = dataclasses.replace(packing, disorder={})
    assert "Properties=type:I:1:pos:R:3 " in write_configuration(plain)
    with pytest.raises(gw.RequestError, match="not at a minimum"):
        check_measurable(dataclasses.replace(request, configuration=plain))


def read_configuration_of(path, frame: int) -> gw.Configuration:
    rows = path.read_text().splitlines(keepends=True)
    size = int(rows[0]) + 2
    frame_path = path.with_name(f"frame{frame}.extxyz")
    frame_path.write_text("".join(rows[frame * size : (frame + 1) * size]))
    return read_configuration(frame_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("bond_spread:R:1:", "spread:R:1:", "only go together"),
        ("bond_spread:R:1:", "", "line 3: .* has 8 columns, and there should be 7"),
        (
            "diameter_factor:R:1",
            "diameter_factor:R:1:note:S:1:bond_seed:I:1",
            "line 2: .*'bond_seed' is declared twice",
        ),
    ],
)
def test_malformed_disorder_is_named(run, tmp_path, old, new, message):
    text = (run[0] / "final.extxyz").read_text()
    assert old in text
    (tmp_path / "bad.extxyz").write_text(text.replace(old, new, 1))
    with pytest.raises(gw.RequestError, match=message):
        read_configuration_of(tmp_path / "bad.extxyz", 0)


class Ignorant(gw.AbstractPairPotential):
    """Harmonic repulsion up to distance 1, of all particles alike."""

    stiffness: jax.Array = eqx.field(converter=jnp.asarray, default=1.0)

    @property
    def cutoff(self):
        return jnp.asarray(1.0)

    def pair_parameters(self, configuration, i, j):
        return jnp.broadcast_to(self.stiffness, i.shape)

    def pair_energy(self, r, parameters):
        return 0.5 * parameters * jnp.maximum(1.0 - r, 0.0) ** 2


@pytest.mark.wrong_types
def test_a_potential_that_knows_nothing_of_it_refuses(model, rough):
    wrong = make(model, potential=Ignorant(), design={"stiffness": (0.1, 2.0)})
    with pytest.raises(gw.RequestError, match=r"system.heterogeneity=0.05, which the potential Ignorant does not know"):
        check_experiment(wrong)
    check_experiment(dataclasses.replace(wrong, system=gw.System(n_particles=128)))
    both = component("potential", "sum")(HarmonicMorse(), Ignorant())
    only = noisy(n_particles=128, polydispersity=0.0)
    with pytest.raises(gw.RequestError, match=r"system.heterogeneity=0.05, which the potential Sum does not know"):
        check_experiment(dataclasses.replace(wrong, potential=both, system=only))
    request = MeasureRequest(rough, Ignorant(), Quench(), {"nu": component("property", "poisson_ratio")()})
    with pytest.raises(
        gw.RequestError, match="configuration: has the disorder diameter_factor, which the potential Ignorant"
    ):
        check_measurable(request)


def test_the_box_has_to_hold_the_largest_particles():
    """Of all that could be drawn, not of those that a configuration happens to have."""
    system, potential = noisy(n_particles=46), HarmonicMorse()
    model = Model(potential, system, Quench())
    bound = float(potential.reach(system.largest_particles))
    assert bound == pytest.approx(1.0 + 0.05 * LARGEST + 1.98)
    assert float(model.cutoff_slack) == pytest.approx(float(system.box[0, 0]) - 2 * bound)
    for index in range(20):
        assert float(potential.reach(start_of(system, index))) < bound
    with pytest.raises(gw.RequestError, match=r"less than twice the cutoff 3\.13"):
        check_experiment(make(model))
    plain = Model(potential, gw.System(n_particles=46), Quench())
    with pytest.raises(gw.RequestError, match=r"less than twice the cutoff 2\.98"):
        check_experiment(make(plain))


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("system.polydispersity=0.4", "must be at least 0 and below 0.3289"),
        ("system.heterogeneity=-0.1", "must be at least 0"),
        ("system.heterogeneity=some", "system.heterogeneity"),
    ],
)
def test_wrong_requests(override, message, tmp_path, capsys):
    assert cli.main(["train", "experiment=robust", override, f"hydra.run.dir={tmp_path / 'run'}"]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error
    assert not (tmp_path / "run").exists()


def test_a_run_of_an_earlier_version_is_validated_under_noise(tmp_path):
    """Its configuration does not say that there was none."""
    config = compose("train", ["experiment=ensemble_poisson", "hydra.run.dir=nowhere"])
    from glasswright.commands.train import build

    data = yaml.safe_load(build(config).config)
    for key in ("polydispersity", "heterogeneity"):
        assert data["system"].pop(key) == 0.0
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(data))
    line = {"step": 0, "design": {"diameter": [0.8, 1.0], "binding_energy": [0.1, 0.1, 0.1]}, "seconds": 0.0}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    for overrides, expected in (([], 0.0), (["system.polydispersity=0.05"], 0.05)):
        request = build_validation(compose("validate", [f"run={tmp_path}", *overrides]))
        assert request.models["trained"].system.polydispersity == expected
