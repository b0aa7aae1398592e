"""Every registered property, on real packings: derivative, jit, invariances, serialisation."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import branches, component
from glasswright.registry import registry

PROPERTIES = sorted(registry().components("property"))


def _contract(value, key=7):
    """A scalar out of a value of any shape."""
    return jnp.sum(value * jax.random.normal(jax.random.key(key), value.shape))


@pytest.mark.parametrize("name", PROPERTIES)
def test_gradient_against_central_differences_of_the_prepared_system(reference, name):
    """Along a random direction of all parameters; the step shrinks until no pair changes branch within it."""
    wanted = component("property", name)()
    protocol, potential = reference.protocol, reference.potential
    parameters, static = eqx.partition(potential, eqx.is_inexact_array)
    leaves, structure = jax.tree.flatten(parameters)
    keys = jax.random.split(jax.random.key(3), len(leaves))
    direction = structure.unflatten(
        [jax.random.normal(key, leaf.shape) for key, leaf in zip(keys, leaves, strict=True)]
    )

    @eqx.filter_jit
    def measure(parameters, prepared):
        return _contract(wanted.measure(protocol.attach(eqx.combine(parameters, static), prepared)))

    slope = eqx.filter_jit(lambda p, prepared: jax.jvp(lambda q: measure(q, prepared), (p,), (direction,))[1])(
        parameters, reference.prepared
    )
    gradient = eqx.filter_jit(eqx.filter_grad(measure))(parameters, reference.prepared)
    reverse = sum(jnp.vdot(g, d) for g, d in zip(jax.tree.leaves(gradient), jax.tree.leaves(direction), strict=True))
    norm = np.sqrt(sum(float(jnp.sum(g**2)) for g in jax.tree.leaves(gradient)))
    np.testing.assert_allclose(slope, reverse, atol=1e-10 * norm)

    def difference(step):
        """Central difference, and the branches of all pairs at both ends."""
        ends, branch = [], []
        for sign in (-1.0, 1.0):
            moved = jax.tree.map(lambda p, d: p + sign * step * d, parameters, direction)  # noqa: B023
            there = eqx.combine(moved, static)
            prepared = protocol.follow(there, reference.prepared)
            assert prepared.accepted
            ends.append(float(measure(moved, prepared)))
            branch.append(branches(there, prepared.configuration, reference.prepared.memory.neighbors))
        return (ends[1] - ends[0]) / (2 * step), np.array_equal(*branch)

    for step in (4e-6, 1e-6, 2.5e-7):
        (wide, smooth), (narrow, _) = difference(2 * step), difference(step)
        if smooth:
            break
    else:
        pytest.fail("a pair changes branch however small the step")
    # Richardson's extrapolation takes out the error of second order; rounding of the values, 1e-13, remains.
    expected = (4 * narrow - wide) / 3
    assert abs(expected - float(slope)) < 1e-6 * norm


@pytest.mark.parametrize("name", PROPERTIES)
def test_jit_equals_eager(reference, name):
    wanted = component("property", name)()
    eager = wanted.measure(reference.state)
    jitted = eqx.filter_jit(lambda p, q: wanted.measure(reference.protocol.attach(p, q)))(
        reference.potential, reference.prepared
    )
    np.testing.assert_allclose(jitted, eager, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", PROPERTIES)
@pytest.mark.parametrize("change", ["translated", "relabelled", "another image"])
def test_invariance(reference, name, change):
    wanted = component("property", name)()
    configuration = reference.configuration
    if change == "translated":
        shift = jax.random.uniform(jax.random.key(1), (1, configuration.dimension))
        moved = dataclasses.replace(configuration, fractional=configuration.fractional + shift)
    elif change == "relabelled":
        order = jax.random.permutation(jax.random.key(2), configuration.n_particles)
        moved = dataclasses.replace(
            configuration, fractional=configuration.fractional[order], species=configuration.species[order]
        )
    else:
        hop = jax.random.randint(jax.random.key(3), configuration.fractional.shape, -2, 3)
        moved = dataclasses.replace(configuration, fractional=configuration.fractional + hop)
    prepared = reference.protocol.prepare(reference.potential, moved)
    value = wanted.measure(reference.protocol.attach(reference.potential, prepared))
    np.testing.assert_allclose(value, wanted.measure(reference.state), rtol=1e-9, atol=1e-10)


def test_quarter_turn(reference):
    """Scalars do not change when the packing is turned; the elastic tensor turns with it."""
    d = reference.configuration.dimension
    turn = np.eye(d)
    turn[:2, :2] = [[0, -1], [1, 0]]
    turned = dataclasses.replace(reference.configuration, fractional=reference.configuration.fractional @ turn.T)
    prepared = reference.protocol.prepare(reference.potential, turned)
    state = reference.protocol.attach(reference.potential, prepared)
    for name in PROPERTIES:
        wanted = component("property", name)()
        before, after = wanted.measure(reference.state), wanted.measure(state)
        if before.ndim == 4:
            before = jnp.einsum("ai,bj,ck,dl,ijkl->abcd", *(4 * [turn]), before)
        np.testing.assert_allclose(after, before, rtol=1e-9, atol=1e-10, err_msg=name)


@pytest.mark.parametrize("name", PROPERTIES)
def test_vmap_over_parameters(reference_2d, name):
    wanted = component("property", name)()
    scales = jnp.array([1.0, 1.0, 1.0])

    def measure(scale):
        potential = eqx.tree_at(lambda p: p.binding_energy, reference_2d.potential, replace_fn=lambda b: scale * b)
        return wanted.measure(reference_2d.protocol.attach(potential, reference_2d.prepared))

    values = jax.vmap(measure)(scales)
    for value in values:
        np.testing.assert_allclose(value, measure(1.0), rtol=1e-10, atol=1e-12)


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

    @eqx.filter_jit
    def measure(parameters, prepared):
        return wanted.measure(protocol.attach(eqx.combine(parameters, static), prepared))

    start = float(measure(parameters, reference_2d.prepared))
    gradient = eqx.filter_jit(eqx.filter_grad(measure))(parameters, reference_2d.prepared)
    keys = iter(jax.random.split(jax.random.key(11), 2))
    direction = jax.tree.map(lambda p: jax.random.normal(next(keys), p.shape), parameters)
    slope = float(
        sum(jnp.vdot(g, d) for g, d in zip(jax.tree.leaves(gradient), jax.tree.leaves(direction), strict=True))
    )
    home = branches(potential, reference_2d.prepared.configuration, reference_2d.prepared.memory.neighbors)
    steps, errors = np.geomspace(3e-8, 3e-4, 17), []
    for step in steps:
        moved = jax.tree.map(lambda p, d: p + step * d, parameters, direction)  # noqa: B023
        prepared = protocol.follow(eqx.combine(moved, static), reference_2d.prepared)
        assert prepared.accepted
        there = branches(eqx.combine(moved, static), prepared.configuration, reference_2d.prepared.memory.neighbors)
        if np.array_equal(home, there):
            errors.append((step, abs(float(measure(moved, prepared)) - start - slope * step)))
    step, error = np.array(errors).T
    clear = error > 1e-11
    assert step[clear].max() / step[clear].min() >= 100, "two decades without a kink are needed to see the power"
    power = np.polyfit(np.log(step[clear]), np.log(error[clear]), 1)[0]
    assert 1.9 < power < 2.1
