"""The density as a design variable: gradients through the box, followed packings in a box that changes."""

import dataclasses

import glasswright as gw
import jax
import numpy as np
import pytest
from glasswright.evaluation.design import resolve_design
from glasswright.evaluation.measurement import in_box, measure_sample
from glasswright.evaluation.problem import Model, Problem
from glasswright.jobs.train import train
from helpers import branches, component

BOUNDS = {"system.density": (0.5, 3.0), "potential.diameter": (0.1, 3.0)}
PROPERTIES = ("poisson_ratio", "pressure", "energy_per_particle", "q8")


@pytest.fixture(scope="module")
def model():
    return Model(component("potential", "harmonic_morse")(), gw.System(), component("protocol", "quench")())


def test_the_derivative_in_the_density_is_that_of_relaxed_boxes(model):
    """Central differences of packings that are relaxed again in boxes of other sizes."""
    target = component("objective", "target")(0.0)
    terms = {name: gw.Term(component("property", name)(), target) for name in PROPERTIES}
    problem = Problem(model, resolve_design(model, BOUNDS), terms)
    assert "density" in problem.design.names
    values = problem.initial_values
    protocol = model.protocol
    prepared = protocol.prepare(model.potential, model.system.start(jax.random.key(3)))
    measurement = measure_sample(problem, values, prepared).measurement

    def at(density):
        moved = problem.at(values | {"density": density})
        followed = protocol.follow(moved.potential, in_box(moved, prepared))
        assert followed.accepted
        assert int(followed.statistics["rearranged"]) == 0
        measured = measure_sample(problem, values | {"density": density}, followed).measurement.values
        return measured, branches(moved.potential, followed.configuration, prepared.memory.neighbors)

    for step in (4e-6, 1e-6, 2.5e-7):
        ends = [at(values["density"] + sign * step) for sign in (-2, -1, 1, 2)]
        if all(np.array_equal(ends[0][1], branch) for _, branch in ends):
            break
    else:
        pytest.fail("a pair changes branch however small the step")
    for name in PROPERTIES:
        far2, near2, near, far = (float(end[name]) for end, _ in ends)
        difference = (8 * (near - near2) - (far - far2)) / (12 * step)
        gradient = measurement.gradients[name]["density"]
        assert abs(gradient) > 1e-3
        assert abs(difference - gradient) < 1e-6 * max(1.0, abs(gradient)), name


@pytest.mark.slow
def test_density_alone_reaches_a_pressure(model, tmp_path):
    """Compressing a packing to a pressure: the box is all that changes."""
    experiment = gw.Experiment(
        potential=model.potential,
        system=model.system,
        protocol=model.protocol,
        sampler=component("sampler", "tracked")(),
        terms={"pressure": gw.Term(component("property", "pressure")(), component("objective", "target")(0.4))},
        design={"density": (1.0, 2.5)},
        optimizer=component("optimizer", "polyak")(component("optimizer", "sgd")(learning_rate=1.0), learning_rate=1.0),
        steps=60,
        tolerance=1e-8,
    )
    result = train(experiment, tmp_path, progress=False)
    assert result["success"] is True
    density = result["design"]["density"]
    assert density > 1.61
    # The packing it leaves is in the box of that density.
    from glasswright.run.extxyz import read_configuration

    packing = read_configuration(tmp_path / "final.extxyz")
    assert packing.n_particles / float(packing.volume) == pytest.approx(density, rel=1e-12)
    denser = dataclasses.replace(experiment, system=gw.System(density=density))
    assert float(denser.system.density) == density
