"""Spring networks: bonds from a packing, moduli against an independent calculation, derivatives bond by bond."""

import json

import glasswright as gw
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from glasswright import cli
from glasswright.evaluation.design import resolve_design, trainable_leaves
from glasswright.evaluation.measurement import measure_sample
from glasswright.evaluation.problem import Model, Problem
from glasswright.jobs.experiment import check_experiment
from glasswright.jobs.measure import MeasureRequest, check_measurable
from glasswright.run.extxyz import read_configuration, write_configuration
from helpers import REFERENCE, component

SpringNetwork = component("potential", "harmonic_spring_network")
Quench = component("protocol", "quench")
Target = component("objective", "target")
PACKING = REFERENCE / "2d_n368_sp2_a5.extxyz"
PROPERTIES = ("bulk_modulus", "shear_modulus", "poisson_ratio", "pressure")


@pytest.fixture(scope="module")
def network():
    """Prestressed, with stiffnesses that differ: a network whose positions depend on all of them."""
    plain = SpringNetwork(str(PACKING))
    stiffness = jnp.exp(0.3 * jax.random.normal(jax.random.key(0), plain.stiffness.shape))
    return SpringNetwork(str(PACKING), stiffness=stiffness.tolist(), rest_ratio=0.97)


@pytest.fixture(scope="module")
def model(network):
    return Model(network, gw.System(), Quench())


@pytest.fixture(scope="module")
def prepared(network):
    prepared = Quench().prepare(network, network.start)
    assert prepared.accepted
    return prepared


@pytest.fixture(scope="module")
def measured(model, prepared):
    """Values and gradients of all properties in all bonds."""
    design = resolve_design(model, {"stiffness": (0.0, 10.0), "rest_length": (0.1, 2.0)})
    terms = {name: gw.Term(component("property", name)(), Target(0.0)) for name in PROPERTIES}
    problem = Problem(model, design, terms)
    return problem, measure_sample(problem, problem.initial_values, prepared).measurement


@pytest.mark.wrong_types
def test_bonds_are_the_near_pairs_of_the_packing(network):
    configuration = read_configuration(PACKING)
    i, j = np.triu_indices(368, 1)
    r = np.linalg.norm(configuration.displacement(i, j), axis=1)
    near = r < 1.4 * (1 / 1.6) ** 0.5
    first, second = network.bonds(configuration)
    assert np.array_equal(first, i[near])
    assert np.array_equal(second, j[near])
    np.testing.assert_allclose(network.rest_length, 0.97 * r[near], rtol=1e-13)
    assert 4.0 < 2 * first.size / 368 < 8.0
    unstressed = SpringNetwork(str(PACKING), cutoff=0.9)
    assert float(unstressed.cutoff) == pytest.approx(np.max(r[r < 0.9]), rel=1e-14)
    assert float(unstressed.energy(unstressed.start, None)) < 1e-25


def test_moduli_against_matrices(network, prepared, measured):
    """Elastic constants of the network from NumPy alone: dense Hessian, pseudo-inverse."""
    configuration = prepared.configuration
    i, j = (np.asarray(k) for k in network.bonds(configuration))
    vector = np.asarray(configuration.displacement(i, j))
    r = np.linalg.norm(vector, axis=1)
    n = vector / r[:, None]
    k, rest = np.asarray(network.stiffness), np.asarray(network.rest_length)
    slope = k * (r - rest) / r
    block = (k - slope)[:, None, None] * n[:, :, None] * n[:, None, :] + slope[:, None, None] * np.eye(2)
    # Each bond's stretch as a matrix on all coordinates.
    stretch = np.zeros((r.size, 2, 736))
    for axis in range(2):
        stretch[np.arange(r.size), axis, 2 * i + axis] += 1.0
        stretch[np.arange(r.size), axis, 2 * j + axis] -= 1.0
    hessian = np.einsum("pax,pab,pby->xy", stretch, block, stretch, optimize=True)
    strains = [np.diag([1.0, 0.0]), np.diag([0.0, 1.0]), np.array([[0.0, 0.5], [0.5, 0.0]])]
    affine = np.stack([vector @ strain.T for strain in strains])
    force = np.einsum("pax,pab,mpb->mx", stretch, block, affine, optimize=True)
    second = np.einsum("mpa,pab,npb->mn", affine, block, affine) - force @ np.linalg.pinv(hessian, 1e-10) @ force.T
    c = second / float(configuration.volume)
    bulk = (c[0, 0] + c[1, 1] + 2 * c[0, 1]) / 4
    shear = (4 * c[2, 2] + c[0, 0] + c[1, 1] - 2 * c[0, 1]) / 8
    values = measured[1].values
    np.testing.assert_allclose(values["bulk_modulus"], bulk, rtol=1e-9)
    np.testing.assert_allclose(values["shear_modulus"], shear, rtol=1e-9)
    np.testing.assert_allclose(values["poisson_ratio"], (bulk - shear) / (bulk + shear), rtol=1e-9)
    assert values["pressure"] < 0.0


def test_derivatives_bond_by_bond(model, prepared, measured):
    """Of single bonds and of all bonds together, against differences of networks that are relaxed again."""
    problem, measurement = measured
    values = problem.initial_values
    n = values["stiffness"].size
    strongest = int(np.argmax(np.abs(measurement.gradients["shear_modulus"]["stiffness"])))
    directions = [{"stiffness": jnp.eye(1, n, bond)[0]} for bond in (0, strongest)]
    directions += [{"rest_length": jnp.eye(1, n, strongest)[0]}]
    keys = jax.random.split(jax.random.key(3))
    directions += [{"stiffness": jax.random.normal(keys[0], (n,)), "rest_length": jax.random.normal(keys[1], (n,))}]
    for direction, step in zip(directions, (1e-3, 1e-3, 1e-4, 1e-5), strict=True):
        ends = []
        for amplitude in (-2 * step, -step, step, 2 * step):
            moved = values | {name: values[name] + amplitude * along for name, along in direction.items()}
            there = problem.at(moved).potential
            followed = model.protocol.follow(there, prepared)
            assert followed.accepted
            ends.append(measure_sample(problem, moved, followed).measurement.values)
        for name in problem.terms:
            far2, near2, near, far = (float(end[name]) for end in ends)
            difference = (8 * (near - near2) - (far - far2)) / (12 * step)
            slope = sum(float(np.vdot(measurement.gradients[name][key], along)) for key, along in direction.items())
            scale = max(float(np.max(np.abs(measurement.gradients[name][key]))) for key in direction)
            assert abs(difference - slope) < 1e-6 * max(scale, abs(slope)), name


@pytest.mark.slow
def test_a_network_is_trained_from_the_command_line(tmp_path):
    """Every bond is a design variable; the network that comes out has the ratio, and its file can be measured."""
    run = tmp_path / "run"
    command = ["train", "potential=harmonic_spring_network", f"potential.packing={PACKING}"]
    command += ["design.stiffness=[0.01,10]", "terms.poisson_ratio.objective.target=0.1", f"hydra.run.dir={run}"]
    assert cli.main(command) == 0
    result = json.loads((run / "result.json").read_text())
    assert result["success"] is True
    assert result["values"]["poisson_ratio"] == pytest.approx(0.1, abs=2e-3)
    assert len(result["design"]["stiffness"]) == len(result["design"]["rest_length"]) > 1000
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert lines[0]["terms"]["poisson_ratio"]["value"] > 0.2
    again = SpringNetwork(str(PACKING), stiffness=result["design"]["stiffness"])
    request = MeasureRequest(
        read_configuration(run / "final.extxyz"), again, Quench(), {"nu": component("property", "poisson_ratio")()}
    )
    check_measurable(request)


def experiment(**changes) -> gw.Experiment:
    parts = {
        "potential": SpringNetwork(str(PACKING)),
        "system": gw.System(),
        "protocol": Quench(),
        "sampler": component("sampler", "tracked")(1),
        "terms": {"nu": gw.Term(component("property", "poisson_ratio")(), Target(0.1))},
        "design": {"stiffness": (0.01, 10.0)},
        "optimizer": component("optimizer", "adam")(1e-3),
    }
    return gw.Experiment(**(parts | changes))


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sampler": component("sampler", "fresh")(2)}, "sampler: HarmonicSpringNetwork belongs to the one packing"),
        ({"sampler": component("sampler", "tracked")(2)}, "choose sampler=tracked sampler.size=1"),
        ({"system": gw.System(n_particles=128)}, "system.n_particles=128: the packing .* has n_particles 368"),
        ({"system": gw.System(dimension=3)}, "system.dimension=3"),
        ({"system": gw.System(density=1.5)}, "system.density=1.5: the packing .* has density 1.6"),
        ({"system": gw.System(polydispersity=0.05)}, "system.polydispersity=0.05, which the potential"),
    ],
)
def test_bad_combinations_are_refused(changes, message):
    check_experiment(experiment())
    with pytest.raises(gw.RequestError, match=message):
        check_experiment(experiment(**changes))


@pytest.mark.wrong_types
def test_wrong_requests(tmp_path, network):
    with pytest.raises(gw.RequestError, match=r"potential.packing=.*nothing.extxyz: no such file"):
        SpringNetwork(str(tmp_path / "nothing.extxyz"))
    with pytest.raises(ValueError, match=r"stiffness=…\): 3 numbers for"):
        SpringNetwork(str(PACKING), stiffness=(1.0, 2.0, 3.0))
    with pytest.raises(ValueError, match="no two particles"):
        SpringNetwork(str(PACKING), cutoff=0.1)
    with pytest.raises(ValueError, match="has bonds of its own"):
        component("potential", "sum")(network, component("potential", "harmonic_morse")())
    smaller = gw.System(n_particles=128).start(jax.random.key(0))
    request = MeasureRequest(smaller, network, Quench(), {"nu": component("property", "poisson_ratio")()})
    with pytest.raises(gw.RequestError, match="was made from a packing of 368"):
        check_measurable(request)


def test_a_run_directory_is_a_packing(tmp_path, network):
    (tmp_path / "final.extxyz").write_text(write_configuration(network.start))
    there = SpringNetwork(str(tmp_path))
    assert np.array_equal(there.first, network.first)
    # Only what can be trained is offered for it.
    assert set(trainable_leaves({"potential": there})) == {"potential.stiffness", "potential.rest_length"}
