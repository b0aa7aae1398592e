"""The rate that never steps over a near target."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import component

polyak = component("optimizer", "polyak")


def run(loss, start, optimizer, steps):
    parameters, state, rates = start, optimizer.init(start), []
    for _ in range(steps):
        value, gradient = jax.value_and_grad(loss)(parameters)
        updates, state = optimizer.update(gradient, state, parameters, value=value)
        parameters = optax.apply_updates(parameters, updates)
        rates.append(float(state.learning_rate))
    return parameters, rates


def test_a_linear_residual_is_reached_in_one_step_once_it_is_near():
    slope = jnp.array([3.0, -1.0])
    start = jnp.array([0.01, 0.0])
    parameters, rates = run(lambda p: (slope @ p - 0.02) ** 2, start, polyak(optax.rmsprop(1.0), 0.1, floor=0.0), 1)
    assert rates[0] < 0.1
    assert float(slope @ parameters) == pytest.approx(0.02, abs=1e-12)


def test_far_away_the_largest_rate_holds():
    _, rates = run(lambda p: jnp.sum((p - 100.0) ** 2), jnp.zeros(3), polyak(optax.rmsprop(1.0), 0.01), 20)
    np.testing.assert_allclose(rates, 0.01)


def test_a_curved_residual_converges_quadratically():
    def loss(p):
        return (jnp.exp(p[0]) + p[1] ** 2 - 1.3) ** 2

    losses = []
    for steps in range(1, 8):
        parameters, _ = run(loss, jnp.array([0.1, 0.2]), polyak(optax.sgd(1.0), 10.0, floor=0.0), steps)
        losses.append(float(loss(parameters)))
    assert losses[-1] < 1e-24


def test_the_rate_never_falls_below_its_floor():
    def cusp(p):
        return (1e-3 + 1e3 * jnp.abs(p[0])) ** 2

    _, rates = run(cusp, jnp.array([1e-8]), polyak(optax.sgd(1.0), 0.1, floor=0.05), 5)
    assert min(rates) == pytest.approx(0.005)


@pytest.mark.wrong_types
@pytest.mark.parametrize("wrong", [{"learning_rate": 0.0}, {"learning_rate": float("nan")}, {"floor": 1.5}])
def test_wrong_arguments_are_refused(wrong):
    with pytest.raises(ValueError, match=r"polyak\("):
        polyak(optax.sgd(1.0), **wrong)
