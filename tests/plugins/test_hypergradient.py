"""The learning rate's own gradient, for free: against the form that pays a second evaluation for it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import component

hypergradient = component("optimizer", "hypergradient")


def loss(parameters):
    """Two parameters, curved and coupled."""
    a, b = parameters["a"], parameters["b"]
    return jnp.sum((a - jnp.array([1.0, -2.0])) ** 2 * jnp.array([3.0, 0.3])) + jnp.sin(b) ** 2 + 0.1 * jnp.sum(a) * b


START = {"a": jnp.array([0.2, 0.5]), "b": jnp.array(0.7)}


def two_evaluations(inner, rate, meta_rate, steps):
    """The paper's form: step, evaluate the loss after the step, differentiate it in eta, update eta."""
    parameters, eta = START, jnp.log(rate / (1 - rate))
    state, meta = inner.init(START), optax.adam(meta_rate)
    meta_state, rates = meta.init(eta), []
    for _ in range(steps):
        direction, new_state = inner.update(jax.grad(loss)(parameters), state, parameters)

        def after(eta, parameters=parameters, direction=direction):
            return loss(jax.tree.map(lambda p, d: p + jax.nn.sigmoid(eta) * d, parameters, direction))

        rates.append(float(jax.nn.sigmoid(eta)))
        slope = jax.grad(after)(eta)
        parameters = jax.tree.map(lambda p, d: p + jax.nn.sigmoid(eta) * d, parameters, direction)  # noqa: B023
        change, meta_state = meta.update(slope, meta_state)
        eta, state = eta + change, new_state
    return parameters, rates


@pytest.mark.parametrize(
    "inner",
    [
        optax.rmsprop(1.0),
        *(pytest.param(o, marks=pytest.mark.slow) for o in (optax.adam(1.0), optax.sgd(1.0, momentum=0.9))),
    ],
)
def test_equals_the_two_evaluation_form(inner):
    expected, expected_rates = two_evaluations(inner, 0.01, 0.05, 60)
    optimizer = hypergradient(inner, learning_rate=0.01, meta_learning_rate=0.05)
    parameters, state, rates = START, optimizer.init(START), []
    for _ in range(60):
        updates, state = optimizer.update(jax.grad(loss)(parameters), state, parameters)
        parameters = optax.apply_updates(parameters, updates)
        rates.append(float(state.learning_rate))
    np.testing.assert_allclose(rates, expected_rates, rtol=1e-9)
    for name in START:
        np.testing.assert_allclose(parameters[name], expected[name], rtol=1e-8)
    assert abs(rates[-1] / rates[0] - 1) > 0.05


def test_a_component_at_its_bound_does_not_teach_the_rate():
    optimizer = hypergradient(optax.sgd(1.0), learning_rate=0.01, meta_learning_rate=0.05)
    state = optimizer.init(START)
    _, state = optimizer.update(jax.grad(loss)(START), state, START)
    # A bound stops everything: no component has moved with the rate.
    _, state = optimizer.update(jax.grad(loss)(START), state, START)
    assert float(state.learning_rate) == pytest.approx(0.01, rel=1e-12)


@pytest.mark.wrong_types
@pytest.mark.parametrize("wrong", [{"learning_rate": 0.0}, {"learning_rate": 1.0}, {"meta_learning_rate": -1.0}])
def test_rates_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match=r"rate="):
        hypergradient(optax.sgd(1.0), **wrong)
