"""Every registered property, on the reference packings: derivative, invariances, serialisation.

All properties of a packing are compiled together: that is what keeps this affordable. Whether they give the same under
`jax.jit` and `jax.vmap` is checked by the conformance kit (`tests/testing/`).
"""

import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from glasswright.registry import registry
from helpers import PACKINGS, branches, component, properties_of_equilibria, solid_is_slow

PROPERTIES = sorted(properties_of_equilibria())
# In a box that is fixed, interactions do not change these; tests/relax/test_pressure.py has those of free boxes.
OF_THE_BOX = ("box_shape", "density")


# Those whose formula is another one in three dimensions than in two; the others are compiled apart from them.
OF_THE_DIMENSION = ("bond_order", "bulk_modulus", "poisson_ratio", "pressure", "shear_modulus", "young_modulus")


def measure_all(parameters, static, protocol, prepared, names=tuple(PROPERTIES)):
    """Every property's value, or that of those named, at parameters that may carry a derivative."""
    state = protocol.attach(eqx.combine(parameters, static), prepared)
    return {name: component("property", name)().measure(state) for name in names}


jitted = eqx.filter_jit(measure_all)


@functools.cache
def differences(reference, names):
    """By property: slope along a random direction of all parameters (forward), gradient times direction (reverse),
    the gradient's norm, and the central difference of the prepared system, all contracted to a scalar."""
    protocol = reference.protocol
    parameters, static = eqx.partition(reference.potential, eqx.is_inexact_array)
    leaves, structure = jax.tree.flatten(parameters)
    keys = jax.random.split(jax.random.key(3), len(leaves))
    direction = structure.unflatten([jax.random.normal(k, x.shape) for k, x in zip(keys, leaves, strict=True)])

    def weighted(values):
        weights = {name: jax.random.normal(jax.random.key(7), value.shape) for name, value in values.items()}
        return {name: jnp.sum(weights[name] * value) for name, value in values.items()}

    def contracted(parameters, prepared):
        return weighted(measure_all(parameters, static, protocol, prepared, names))

    @eqx.filter_jit
    def derivatives(parameters, prepared):
        _, slopes = jax.jvp(lambda p: contracted(p, prepared), (parameters,), (direction,))
        return slopes, jax.jacrev(lambda p: contracted(p, prepared))(parameters)

    slopes, gradients = derivatives(parameters, reference.prepared)

    def difference(step):
        """Central difference, and whether all pairs are on the same branches at both ends."""
        ends, branch = [], []
        for sign in (-1.0, 1.0):
            moved = jax.tree.map(lambda p, d: p + sign * step * d, parameters, direction)  # noqa: B023
            there = eqx.combine(moved, static)
            prepared = protocol.follow(there, reference.prepared)
            assert prepared.accepted
            ends.append(weighted(jitted(moved, static, protocol, prepared, names)))
            branch.append(branches(there, prepared.configuration, reference.prepared.memory.neighbors))
        return {name: float(ends[1][name] - ends[0][name]) / (2 * step) for name in ends[0]}, np.array_equal(*branch)

    for step in (4e-6, 1e-6, 2.5e-7):
        (wide, smooth), (narrow, _) = difference(2 * step), difference(step)
        if smooth:
            break
    else:
        pytest.fail("a pair changes branch however small the step")
    # Modes of nearly the same frequency bend some properties sharply: for each, the step that says more for itself.
    finer_wide, _ = difference(step / 2)
    finer_narrow, _ = difference(step / 4)
    results = {}
    for name in names:
        gradient = jax.tree.leaves(gradients[name])
        reverse = sum(float(jnp.vdot(g, d)) for g, d in zip(gradient, jax.tree.leaves(direction), strict=True))
        norm = np.sqrt(sum(float(jnp.sum(g**2)) for g in gradient))
        # Richardson's extrapolation takes out the error of second order; rounding of the values, 1e-13, remains.
        pairs = [(wide[name], narrow[name]), (finer_wide[name], finer_narrow[name])]
        coarse, fine = min(pairs, key=lambda pair: abs(pair[0] - pair[1]))
        results[name] = float(slopes[name]), reverse, norm, (4 * fine - coarse) / 3
    return results


def gradient_cases():
    """Every property on every packing, with the properties that are compiled together; by default all in 2D."""
    flat, solid = PACKINGS
    others = tuple(name for name in PROPERTIES if name not in OF_THE_DIMENSION)
    for name in PROPERTIES:
        yield pytest.param(flat, name, tuple(PROPERTIES), id=f"{flat}-{name}")
    for names in (OF_THE_DIMENSION, others):
        for name in names:
            yield pytest.param(solid, name, names, id=f"{solid}-{name}", marks=pytest.mark.slow)


@pytest.mark.parametrize(("reference", "name", "names"), list(gradient_cases()), indirect=["reference"])
def test_gradient_against_central_differences_of_the_prepared_system(reference, name, names):
    slope, reverse, norm, expected = differences(reference, names)[name]
    if name in OF_THE_BOX:
        assert norm == slope == expected == 0
        return
    assert norm > 0
    assert abs(slope - reverse) < 1e-10 * norm
    assert abs(slope - expected) < 1e-6 * norm


@functools.cache
def values(reference, change=None):
    """All properties of the reference packing, or of that packing described in another way."""
    configuration = reference.configuration
    fractional = configuration.fractional
    if change == "translated":
        fractional = fractional + jax.random.uniform(jax.random.key(1), (1, configuration.dimension))
    elif change == "relabelled":
        order = jax.random.permutation(jax.random.key(2), configuration.n_particles)
        fractional = fractional[order]
        configuration = dataclasses.replace(configuration, species=configuration.species[order])
    elif change == "another image":
        fractional = fractional + jax.random.randint(jax.random.key(3), fractional.shape, -2, 3)
    elif change == "turned":
        fractional = fractional @ quarter_turn(configuration.dimension).T
    prepared = reference.prepared
    if change is not None:
        moved = dataclasses.replace(configuration, fractional=fractional)
        prepared = reference.protocol.prepare(reference.potential, moved)
    parameters, static = eqx.partition(reference.potential, eqx.is_inexact_array)
    return jitted(parameters, static, reference.protocol, prepared)


def quarter_turn(dimension):
    turn = np.eye(dimension)
    turn[:2, :2] = [[0, -1], [1, 0]]
    return turn


@solid_is_slow
@pytest.mark.parametrize("name", PROPERTIES)
@pytest.mark.parametrize("change", ["translated", "relabelled", "another image"])
def test_invariance(reference, name, change):
    np.testing.assert_allclose(values(reference, change)[name], values(reference)[name], rtol=1e-9, atol=1e-10)


@solid_is_slow
@pytest.mark.parametrize("name", PROPERTIES)
def test_quarter_turn(reference, name):
    """Scalars do not change when the packing is turned; tensors turn with it."""
    if not component("property", name).is_isotropic:
        pytest.skip("is about the axes of the box")
    before, after = values(reference)[name], values(reference, "turned")[name]
    if before.ndim == 4:
        turn = quarter_turn(reference.configuration.dimension)
        before = jnp.einsum("ai,bj,ck,dl,ijkl->abcd", *(4 * [turn]), before)
    np.testing.assert_allclose(after, before, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("kind", ["potential", "protocol", "sampler", "property"])
def test_serialisation(kind, tmp_path):
    for name, entry in registry().components(kind).items():
        try:
            instance = entry.cls()
        except TypeError:
            continue
        eqx.tree_serialise_leaves(tmp_path / f"{name}.eqx", instance)
        again = eqx.tree_deserialise_leaves(tmp_path / f"{name}.eqx", instance)
        assert eqx.tree_equal(instance, again)


def test_moduli_share_one_elastic_tensor(reference_2d):
    state = reference_2d.state
    assert state.elastic_tensor is state.elastic_tensor


def test_predictiveness(reference_2d):
    """The paper's Fig. 1c: the error of the predicted change of Poisson's ratio falls as the square of the step."""
    wanted = component("property", "poisson_ratio")()
    protocol, potential = reference_2d.protocol, reference_2d.potential
    parameters, static = eqx.partition(potential, eqx.is_inexact_array)

    def value(parameters, prepared):
        return wanted.measure(protocol.attach(eqx.combine(parameters, static), prepared))

    measure = eqx.filter_jit(value)
    start, gradient = eqx.filter_jit(eqx.filter_value_and_grad(value))(parameters, reference_2d.prepared)
    keys = iter(jax.random.split(jax.random.key(11), 2))
    direction = jax.tree.map(lambda p: jax.random.normal(next(keys), p.shape), parameters)
    slope = sum(jnp.vdot(g, d) for g, d in zip(jax.tree.leaves(gradient), jax.tree.leaves(direction), strict=True))
    home = branches(potential, reference_2d.prepared.configuration, reference_2d.prepared.memory.neighbors)
    steps, errors = np.geomspace(3e-8, 3e-4, 17), []
    for step in steps:
        moved = jax.tree.map(lambda p, d: p + step * d, parameters, direction)  # noqa: B023
        prepared = protocol.follow(eqx.combine(moved, static), reference_2d.prepared)
        assert prepared.accepted
        there = branches(eqx.combine(moved, static), prepared.configuration, reference_2d.prepared.memory.neighbors)
        if np.array_equal(home, there):
            errors.append((step, abs(float(measure(moved, prepared) - start - slope * step))))
    step, error = np.array(errors).T
    clear = error > 1e-11
    assert step[clear].max() / step[clear].min() >= 100, "two decades without a kink are needed to see the power"
    power = np.polyfit(np.log(step[clear]), np.log(error[clear]), 1)[0]
    assert 1.9 < power < 2.1
