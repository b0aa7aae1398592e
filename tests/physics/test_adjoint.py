"""The dense closed forms, automatic differentiation, and the matrix-free way: three routes to the same numbers."""

import equinox as eqx
import glasswright as gw
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from glasswright.physics.adjoint import MatrixFreeHessian
from glasswright.physics.elasticity import strain_basis
from glasswright.run.extxyz import read_configuration
from helpers import REFERENCE, component
from jaxopt.implicit_diff import custom_root
from jaxopt.linear_solve import solve_cg

Quench = component("protocol", "quench")


class OnlyEnergy(gw.AbstractPotential):
    """A potential that gives nothing but its energy: everything else has to come by differentiation."""

    inner: gw.AbstractPairPotential

    @property
    def cutoff(self):
        return self.inner.cutoff

    def energy(self, configuration, neighbors):
        return self.inner.energy(configuration, neighbors)


def test_closed_forms_equal_automatic_differentiation(reference):
    pairs, potential = reference.prepared.memory.neighbors, reference.potential
    plain = OnlyEnergy(potential)
    configuration = reference.prepared.configuration
    strains = strain_basis(configuration.dimension)
    moves = jax.random.normal(jax.random.key(0), (len(strains), *configuration.fractional.shape))

    @eqx.filter_jit
    def quantities(p):
        return {
            "gradient": p.gradient(configuration, pairs),
            "energy": p.energy_and_gradient(configuration, pairs)[0],
            "strain_gradient": p.strain_gradient(configuration, pairs, strains),
            "hessian_product": p.hessian_product(configuration, pairs, moves[0]),
            "second_variation": p.second_variation(configuration, pairs, strains, moves),
        }

    closed, differentiated = quantities(potential), quantities(plain)
    for name, value in closed.items():
        scale = np.max(np.abs(differentiated[name])) + 1e-2
        assert np.max(np.abs(value - differentiated[name])) < 1e-11 * scale, name


def test_hessian_matrix_equals_its_products(reference_2d):
    pairs, potential = reference_2d.prepared.memory.neighbors, reference_2d.potential
    configuration = reference_2d.prepared.configuration
    matrix = potential.hessian(configuration, pairs)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-14)
    move = jax.random.normal(jax.random.key(0), configuration.fractional.shape)
    product = potential.hessian_product(configuration, pairs, move)
    np.testing.assert_allclose(matrix @ move.reshape(-1), product.reshape(-1), atol=1e-11)
    bound = potential.stiffness_bound(configuration, pairs)
    largest = np.linalg.eigvalsh(matrix)[-1]
    assert largest <= bound < 4 * largest
    assert largest <= OnlyEnergy(potential).stiffness_bound(configuration, pairs) < 2.5 * largest


@pytest.mark.parametrize("name", [pytest.param("poisson_ratio", marks=pytest.mark.slow), "pressure"])
def test_matrix_free_equals_dense(reference_2d, name):
    wanted = component("property", name)()
    prepared, potential = reference_2d.prepared, reference_2d.potential
    memory = prepared.memory
    free = MatrixFreeHessian(potential, prepared.configuration, memory.neighbors)

    def measure(p, hessian):
        return wanted.measure(gw.attach_equilibrium(p, prepared.configuration, memory.neighbors, hessian))

    both = [eqx.filter_jit(eqx.filter_value_and_grad(measure))(potential, h) for h in (memory.hessian, free)]
    (value, gradient), (value_free, gradient_free) = both
    np.testing.assert_allclose(value_free, value, rtol=1e-9)
    for a, b in zip(jax.tree.leaves(gradient_free), jax.tree.leaves(gradient), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-8 * float(jnp.max(jnp.abs(b))))


def test_matrix_free_equals_jaxopt_implicit_differentiation(reference_2d):
    """The attached derivative against jaxopt's `custom_root`, given a solver that is exact enough."""
    prepared, potential = reference_2d.prepared, reference_2d.potential
    configuration, pairs = prepared.configuration, prepared.memory.neighbors

    def pressure(p, fractional):
        here = eqx.tree_at(lambda c: c.fractional, configuration, fractional)
        slope = jax.grad(lambda e: p.energy(here.strained(e), pairs))(jnp.zeros((2, 2)))
        return -jnp.trace(slope) / (2 * here.volume)

    def force_free(fractional, diameter):
        p = eqx.tree_at(lambda q: q.diameter, potential, diameter)
        here = eqx.tree_at(lambda c: c.fractional, configuration, fractional)
        return p.gradient(here, pairs) + jnp.mean(fractional - configuration.fractional, axis=0, keepdims=True)

    def solve(matvec, right):
        return solve_cg(matvec, right, tol=1e-13, maxiter=5000)

    root = custom_root(force_free, solve=solve)(lambda _, diameter: configuration.fractional)

    def theirs(diameter):
        return pressure(eqx.tree_at(lambda q: q.diameter, potential, diameter), root(None, diameter))

    def ours(diameter):
        moved = eqx.tree_at(lambda q: q.diameter, potential, diameter)
        hessian = MatrixFreeHessian(potential, configuration, pairs)
        attached = gw.attach_equilibrium(moved, configuration, pairs, hessian).configuration.fractional
        return pressure(moved, attached)

    np.testing.assert_allclose(
        jax.jit(jax.grad(ours))(potential.diameter), jax.jit(jax.grad(theirs))(potential.diameter), rtol=1e-8
    )


def test_a_potential_with_only_an_energy_is_prepared_and_measured(reference_2d):
    """The whole way without a Hessian matrix: descent, response and adjoint by products."""
    pairwise, start = reference_2d.potential, read_configuration(REFERENCE / "2d_n100_sp2_a5.extxyz")

    def measured(potential):
        prepared = Quench().prepare(potential, start)
        assert prepared.accepted
        return prepared, component("property", "poisson_ratio")().measure(Quench().attach(potential, prepared))

    (prepared, value), (_, expected) = measured(OnlyEnergy(pairwise)), measured(pairwise)
    assert isinstance(prepared.memory.hessian, MatrixFreeHessian)
    np.testing.assert_allclose(value, expected, rtol=1e-8)


def test_what_conjugate_gradients_cannot_solve_is_not_a_number(reference_2d):
    prepared = reference_2d.prepared
    free = MatrixFreeHessian(
        reference_2d.potential, prepared.configuration, prepared.memory.neighbors, max_iterations=3
    )
    force = jax.random.normal(jax.random.key(0), prepared.configuration.fractional.shape)
    assert bool(jnp.all(jnp.isnan(free.solve(force - jnp.mean(force, axis=0, keepdims=True)))))


def test_response_carries_its_derivative(reference_2d):
    """The non-affine displacement against central differences of the prepared system."""
    protocol, potential = reference_2d.protocol, reference_2d.potential

    @eqx.filter_jit
    def response(scale, prepared):
        moved = eqx.tree_at(lambda p: p.diameter, potential, replace_fn=lambda d: d * scale)
        return protocol.attach(moved, prepared).response

    _, slope = jax.jvp(lambda s: response(s, reference_2d.prepared), (jnp.array(1.0),), (jnp.array(1.0),))
    ends, step = [], 1e-7
    for sign in (1, -1):
        moved = eqx.tree_at(lambda p: p.diameter, potential, replace_fn=lambda d: d * (1 + sign * step))  # noqa: B023
        ends.append(response(jnp.array(1 + sign * step), protocol.follow(moved, reference_2d.prepared)))
    difference = (ends[0] - ends[1]) / (2 * step)
    assert np.max(np.abs(difference - slope)) < 1e-5 * np.max(np.abs(slope))
