"""Quenches at constant pressure: stress, stability, and derivatives against packings that are prepared again."""

import dataclasses
import functools

import equinox as eqx
import glasswright as gw
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from glasswright.evaluation.design import resolve_design
from glasswright.evaluation.measurement import measure_sample
from glasswright.evaluation.problem import Model, Problem
from glasswright.neighbors import build_pair_list
from glasswright.physics.enthalpy import box_response, box_strains, volume_curvature
from glasswright.relax import Enthalpy, extended
from glasswright.testing import check_protocol
from helpers import branches, component

Quench = component("protocol", "quench")
HarmonicMorse = component("potential", "harmonic_morse")
PRESSURE = 0.2
PROPERTIES = ("poisson_ratio", "density", "bulk_modulus", "box_shape", "pressure")
CASES = [
    (2, "isotropic"),
    (2, "flexible"),
    pytest.param(3, "isotropic", marks=pytest.mark.slow),
    pytest.param(3, "flexible", marks=pytest.mark.slow),
]


@functools.cache
def model(dimension, box):
    # Small boxes, and wider than twice the cutoff.
    n, inverse_range = (64, 5.0) if dimension == 2 else (128, 14.0)
    system = gw.System(n_particles=n, dimension=dimension)
    return Model(HarmonicMorse(inverse_range=inverse_range), system, Quench(pressure=PRESSURE, box=box))


@functools.cache
def packing(dimension, box):
    of = model(dimension, box)
    prepared = of.protocol.prepare(of.potential, of.system.start(jax.random.key(1)))
    assert prepared.accepted
    return prepared


def state(dimension, box):
    of = model(dimension, box)
    return of.protocol.attach(of.potential, packing(dimension, box))


@pytest.mark.parametrize(("dimension", "box"), CASES)
def test_the_stress_is_minus_the_pressure(dimension, box):
    pressed = state(dimension, box)
    stress = np.asarray(pressed.stress)
    if box == "isotropic":
        stress = np.trace(stress) / dimension * np.eye(dimension)
        # The shape is that of the start, to rounding.
        side = pressed.configuration.box[0, 0]
        np.testing.assert_allclose(pressed.configuration.box, side * np.eye(dimension), rtol=0, atol=1e-14)
    np.testing.assert_allclose(stress, -PRESSURE * np.eye(dimension), rtol=0, atol=1e-10)
    force = pressed.potential.gradient(pressed.configuration, pressed.neighbors)
    assert np.max(np.abs(force)) < 1e-12
    assert abs(float(pressed.configuration.n_particles / pressed.configuration.volume) - 1.6) > 1e-3


@pytest.mark.parametrize(("dimension", "box"), CASES)
def test_every_strain_of_the_box_raises_the_enthalpy(dimension, box):
    """By relaxing the particles again in strained boxes; and `S = V C + p d²V/de de`."""
    of, prepared = model(dimension, box), packing(dimension, box)
    memory, strains = prepared.memory, box_strains(box, dimension)
    response = box_response(
        of.potential, prepared.configuration, memory.neighbors, memory.hessian, of.protocol.pressure, strains
    )
    assert np.min(np.linalg.eigvalsh(response.stiffness)) > 0.0
    pressed = state(dimension, box)
    volume = pressed.configuration.volume
    expected = volume * jnp.einsum("aij,ijkl,bkl->ab", strains, pressed.elastic_tensor, strains)
    expected = expected + PRESSURE * volume * volume_curvature(strains)
    np.testing.assert_allclose(response.stiffness, expected, rtol=1e-9, atol=1e-9)

    fixed = Quench()

    @jax.jit
    def enthalpy(configuration, neighbors):
        return of.potential.energy(configuration, neighbors) + PRESSURE * configuration.volume

    lowest = float(enthalpy(prepared.configuration, memory.neighbors))
    # Short, for pairs that cross a kink of the potential bend the curve.
    step = 1e-4
    for k, strain in enumerate(strains):
        ends = []
        for sign in (-1.0, 1.0):
            strained = fixed.prepare(of.potential, prepared.configuration.strained(sign * step * strain))
            ends.append(float(enthalpy(strained.configuration, strained.memory.neighbors)))
        curvature = (ends[0] + ends[1] - 2.0 * lowest) / step**2
        assert curvature == pytest.approx(float(response.stiffness[k, k]), rel=2e-2)


@pytest.mark.parametrize(("dimension", "box"), [pytest.param(2, "isotropic", marks=pytest.mark.slow), *CASES[1:]])
def test_gradients_are_those_of_packings_prepared_again(dimension, box):
    of, prepared = model(dimension, box), packing(dimension, box)
    unbounded = (-np.inf, np.inf)
    bounds = {"diameter": unbounded, "binding_energy": unbounded, "protocol.pressure": unbounded}
    target = component("objective", "target")(0.0)
    terms = {name: gw.Term(component("property", name)(), target) for name in PROPERTIES}
    if box == "isotropic":
        # A shape that cannot change has no gradient.
        del terms["box_shape"]
    problem = Problem(of, resolve_design(of, bounds), terms)
    values = problem.initial_values
    keys = jax.random.split(jax.random.key(5), len(values))
    direction = {name: jax.random.normal(key, values[name].shape) for key, name in zip(keys, values, strict=True)}
    measured = measure_sample(problem, values, prepared).measurement

    def at(step):
        moved = {name: values[name] + step * direction[name] for name in values}
        there = problem.at(moved)
        followed = there.protocol.follow(there.potential, prepared)
        assert followed.accepted
        assert int(followed.statistics["rearranged"]) == 0
        properties = measure_sample(problem, moved, followed, gradients=False).measurement.values
        return properties, branches(there.potential, followed.configuration, prepared.memory.neighbors)

    for step in (4e-6, 1e-6, 2.5e-7):
        ends = [at(factor * step) for factor in (-2, -1, 1, 2)]
        if all(np.array_equal(ends[0][1], branch) for _, branch in ends):
            break
    else:
        pytest.fail("a pair changes branch however small the step")
    for name in terms:
        far2, near2, near, far = (np.asarray(end[name]) for end, _ in ends)
        difference = (8 * (near - near2) - (far - far2)) / (12 * step)
        if name == "box_shape":
            assert np.max(np.abs(difference)) > 1e-4
            continue
        gradient = measured.gradients[name]
        slope = sum(float(np.vdot(gradient[key], direction[key])) for key in values)
        size = np.sqrt(sum(np.sum(np.square(part)) for part in gradient.values()))
        assert abs(difference - slope) < 1e-6 * max(1.0, size), name
    # Whatever else changes, the pressure is the one that was asked for.
    assert float(measured.gradients["pressure"]["pressure"]) == pytest.approx(1.0, abs=1e-9)
    assert np.max(np.abs(measured.gradients["pressure"]["diameter"])) < 1e-9


@pytest.mark.parametrize("freedom", ["isotropic", "flexible"])
def test_the_gradient_of_the_enthalpy_in_the_deformation(freedom):
    """All derivatives of an extended configuration, far from any minimum, in a box that is deformed already."""
    enthalpy = Enthalpy(HarmonicMorse(), np.asarray(0.3), np.asarray(6.3), freedom)
    start = extended(gw.System(n_particles=64).start(jax.random.key(0)))
    rows = 0.1 * jnp.eye(2) if freedom == "isotropic" else jnp.array([[0.1, 0.04], [-0.02, 0.07]])
    start = dataclasses.replace(start, fractional=start.fractional.at[-2:].set(rows))
    neighbors = build_pair_list(enthalpy.particles(start), 4.0)
    energy, gradient = jax.jit(lambda: enthalpy.energy_and_gradient(start, neighbors))()
    slope = jax.jit(jax.grad(lambda x: enthalpy.energy(start.moved(x), neighbors)))(jnp.zeros_like(gradient))
    np.testing.assert_allclose(gradient, slope, rtol=1e-9, atol=1e-9)
    assert float(enthalpy.energy(start, neighbors)) == pytest.approx(float(energy), rel=1e-12)


def test_a_packing_under_pressure_stays_where_it_is():
    for box in ("isotropic", "flexible"):
        of, prepared = model(2, box), packing(2, box)
        again = of.protocol.prepare(of.potential, prepared.configuration)
        np.testing.assert_allclose(again.configuration.fractional, prepared.configuration.fractional, atol=1e-11)
        np.testing.assert_allclose(again.configuration.box, prepared.configuration.box, atol=1e-11)


@pytest.mark.slow
@pytest.mark.parametrize("box", ["isotropic", "flexible"])
def test_many_at_once_are_what_they_are_one_by_one(box):
    of, count = model(2, box), 6
    starts = jax.vmap(of.system.start)(jax.random.split(jax.random.key(0), count))
    together = of.protocol.prepare_many(of.potential, starts, width=4)
    assert set(np.asarray(together.outcome)) == {gw.Outcome.converged}
    for k in range(count):
        packing = jax.tree.map(
            lambda x, k=k: x[k], gw.Prepared(together.configuration, together.outcome, {}, together.memory)
        )
        stress = np.asarray(of.protocol.attach(of.potential, packing).stress)
        pressure = -np.trace(stress) / 2
        assert pressure == pytest.approx(PRESSURE, abs=1e-10)
        if box == "flexible":
            np.testing.assert_allclose(stress, -PRESSURE * np.eye(2), rtol=0, atol=1e-10)
        force = of.potential.gradient(packing.configuration, packing.memory.neighbors)
        assert np.max(np.abs(force)) < 1e-12
        alone = of.protocol.prepare(of.potential, jax.tree.map(lambda x, k=k: x[k], starts))
        assert float(alone.configuration.volume) == pytest.approx(float(packing.configuration.volume), rel=1e-10)
        # What follows begins with the cache that the batch has left.
        again = of.protocol.follow(of.potential, packing)
        assert again.accepted
        assert int(again.statistics["rearranged"]) == 0


@pytest.mark.slow
def test_shear_stabilised_packings_are_within_the_bounds():
    """`G > p/2` and `K > -p/2` in every packing, and so the bounds of Poisson's ratio; not so in fixed boxes."""
    count, potential = 64, HarmonicMorse(binding_energy=[0.16, 0.17, 0.07])
    starts = jax.vmap(gw.System(n_particles=96).start)(jax.random.split(jax.random.key(3), count))

    def tensors(protocol):
        prepared = protocol.prepare_many(potential, starts, width=count)
        bare = gw.Prepared(prepared.configuration, prepared.outcome, {}, prepared.memory)
        measure = jax.jit(jax.vmap(lambda packing: protocol.attach(potential, packing).elastic_tensor))
        return np.asarray(measure(bare))[np.asarray(prepared.outcome) == gw.Outcome.converged]

    elastic_tensors = tensors(Quench(pressure=PRESSURE, box="flexible"))
    assert len(elastic_tensors) > 0.9 * count
    moduli = np.array([[float(gw.bulk_modulus(c)), float(gw.shear_modulus(c))] for c in elastic_tensors])
    assert np.all(moduli[:, 0] > -0.5 * PRESSURE)
    assert np.all(moduli[:, 1] > 0.5 * PRESSURE)
    ratios = (moduli[:, 0] - moduli[:, 1]) / np.sum(moduli, axis=1)
    assert np.all(np.abs(ratios) < 1.0)
    fixed = tensors(Quench())
    assert np.any([float(gw.shear_modulus(c)) < 0.5 * PRESSURE for c in fixed])


@pytest.mark.parametrize("box", ["isotropic", pytest.param("flexible", marks=pytest.mark.slow)])
def test_the_protocol_conforms(box):
    """All that the kit asks of a protocol, derivatives included."""
    check_protocol(Quench(pressure=PRESSURE, box=box))


def test_the_density_is_not_trained_under_a_pressure():
    experiment = gw.Experiment(
        potential=HarmonicMorse(),
        system=gw.System(n_particles=64),
        protocol=Quench(pressure=PRESSURE),
        sampler=component("sampler", "tracked")(),
        terms={"density": gw.Term(component("property", "density")(), component("objective", "target")(1.5))},
        design={"system.density": (1.0, 2.0)},
        optimizer=optax.sgd(1e-3),
    )
    with pytest.raises(gw.RequestError, match=r"protocol\.pressure"):
        _ = experiment.problem


def test_what_a_box_needs():
    with pytest.raises(ValueError, match="needs a pressure"):
        Quench(box="flexible")
    with pytest.raises(ValueError, match="isotropic or flexible"):
        Quench(pressure=0.1, box="fixed")
    assert not Quench(box="fixed").changes_box
    assert Quench(pressure=0.0).changes_box
    # Without a pressure nothing of it can be trained, and nothing is traced.
    assert not jax.tree.leaves(eqx.filter(Quench(), eqx.is_array))


def test_a_box_that_becomes_too_narrow_is_an_outcome():
    of = model(2, "isotropic")
    pressed = Quench(pressure=3.0)
    prepared = pressed.prepare(of.potential, of.system.start(jax.random.key(2)))
    assert gw.Outcome(int(prepared.outcome)) == gw.Outcome.narrow_box
