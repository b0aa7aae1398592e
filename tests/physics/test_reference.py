"""Values and derivatives against packings calculated by independent codes."""

import equinox as eqx
import jax
import numpy as np
import pytest
from helpers import component

VALUES = ("poisson_ratio", "pressure", "bulk_modulus", "shear_modulus", "elastic_tensor")


def test_the_packing_is_where_it_was(reference):
    moved = reference.prepared.configuration.position - reference.configuration.position
    assert np.max(np.abs(moved)) < 1e-11


@pytest.mark.parametrize("name", VALUES)
def test_value(reference, name):
    value = np.asarray(component("property", name)().measure(reference.state))
    expected = np.asarray(reference.data["value"][name])
    assert np.max(np.abs(value - expected)) <= 1e-8 * np.max(np.abs(expected))


def test_energy(reference):
    np.testing.assert_allclose(reference.state.energy, reference.data["value"]["energy"], rtol=1e-12)


@pytest.mark.parametrize("name", ["poisson_ratio", "pressure"])
def test_gradient(reference, name):
    wanted = component("property", name)()

    @eqx.filter_jit
    def gradient(potential, prepared):
        return eqx.filter_grad(lambda p: wanted.measure(reference.protocol.attach(p, prepared)))(potential)

    computed = gradient(reference.potential, reference.prepared)
    expected = reference.data["gradient"][name]
    norm = np.linalg.norm(np.concatenate([expected["diameter"], expected["binding_energy"]]))
    for parameter, numbers in expected.items():
        assert np.max(np.abs(getattr(computed, parameter) - np.asarray(numbers))) < 1e-6 * norm


def test_lowest_eigenvalues(reference):
    state = reference.state
    matrix = state.potential.hessian(state.configuration, state.neighbors)
    eigenvalues = np.linalg.eigvalsh(matrix)[: len(reference.data["lowest_hessian_eigenvalues"])]
    np.testing.assert_allclose(eigenvalues, reference.data["lowest_hessian_eigenvalues"], atol=1e-9)


def test_forward_and_reverse_modes_agree(reference_2d):
    wanted = component("property", "poisson_ratio")()
    potential = reference_2d.potential
    direction = np.array([0.3, -0.7])

    @jax.jit
    def value(diameter):
        moved = eqx.tree_at(lambda p: p.diameter, potential, diameter)
        return wanted.measure(reference_2d.protocol.attach(moved, reference_2d.prepared))

    _, forward = jax.jvp(value, (potential.diameter,), (direction,))
    reverse = jax.grad(value)(potential.diameter) @ direction
    np.testing.assert_allclose(forward, reverse, rtol=1e-11)
