"""Gradients that are estimated: against closed forms, on packings whose preparation is a formula."""

import glasswright as gw
import jax.numpy as jnp
import numpy as np
import pytest
from glasswright.evaluation.design import resolve_design
from glasswright.evaluation.ensemble import Ensemble
from glasswright.evaluation.estimation import evaluate_estimated
from glasswright.evaluation.estimator import COMPOSITION, Variable
from glasswright.evaluation.problem import Model, Problem
from glasswright.execution.executor import Executor
from helpers import component
from still_packings import SPREAD, Moment, Share, Spread, Still

Fresh, Target, TargetEach = (
    component("sampler", "fresh"),
    component("objective", "target"),
    component("objective", "target_each"),
)
# The target is so far away that the noise of the distance from it does not count.
TARGET, WIDTH, N = 1.0, 0.15, 24
PATH = "protocol.treatments.spread.spread"


def problem(term: gw.Term, **design) -> Problem:
    system = gw.System(n_particles=N, density=0.5, composition=[0.4, 0.6])
    if COMPOSITION in design:
        system = system.drawing_species()
    model = Model(component("potential", "harmonic_morse")(diameter=[1.3, 1.0]), system, Still({"spread": Spread()}))
    return Problem(model, resolve_design(model, design), {"term": term})


def evaluate(wanted: Problem, size: int, first: int = 0):
    with Executor(1) as executor:
        indices = range(first, first + size)
        return evaluate_estimated(Ensemble(wanted, seed=3), executor, wanted.initial_values, Fresh(size=size), indices)[
            1
        ]


def assert_within(estimate, noise: float, expected) -> None:
    """An estimate agrees with a number within three standard errors, and is not so noisy that anything would."""
    # Signal to noise without the share of the noise in the length of the estimate.
    error = np.linalg.norm(estimate) / np.sqrt(1.0 + noise**2)
    assert np.linalg.norm(np.asarray(estimate) - expected) < 3.0 * error
    assert noise > 5.0


@pytest.fixture(scope="module")
def treated():
    """A treatment and interactions that are trained together."""
    variables = {PATH: Variable((0.01, 1.0), width=WIDTH), "diameter": (0.5, 2.0)}
    return evaluate(problem(gw.Term(Moment(), Target(TARGET)), **variables), 150)


def test_evolution_gives_the_derivative_of_the_smoothed_mean(treated):
    smoothed = 1.3 * SPREAD**2 * np.exp(2.0 * WIDTH**2)
    expected = 2.0 * (smoothed - TARGET) * 2.0 * smoothed
    assert_within(treated.gradient["spread"], treated.estimates["spread"]["signal_to_noise"], expected)
    assert np.isclose(treated.values["term"], smoothed, rtol=0.03)


def test_interactions_keep_their_exact_gradient(treated):
    smoothed = SPREAD**2 * np.exp(2.0 * WIDTH**2)
    expected = [2.0 * (1.3 * smoothed - TARGET) * smoothed, 0.0]
    assert_within(treated.gradient["diameter"], treated.estimates["diameter"]["signal_to_noise"], expected)
    assert treated.estimates["diameter"]["estimator"] == "exact"
    # The noise is common to both members of a pair, and divides out.
    assert treated.n_preparations == 300
    assert treated.standard_errors["term"] < 0.1 * float(treated.values["term"])


def test_differences_are_those_of_the_loss():
    """With common random numbers the loss of a step is a function: its differences are known to the last digits."""
    wanted = problem(
        gw.Term(Moment(), TargetEach(TARGET)),
        **{PATH: Variable((0.01, 1.0), "differences", 0.1), "diameter": Variable((0.5, 2.0), "differences", 0.01)},
    )
    size = 6
    evaluation = evaluate(wanted, size)
    with Executor(1) as executor:
        samples = Ensemble(wanted, seed=3).samples(executor, wanted.initial_values, range(size))
    values = np.array([float(sample.measurement.values["term"]) for sample in samples])

    def loss(factor):
        return np.sum((factor * values - TARGET) ** 2)

    expected = (loss(np.exp(0.2)) - loss(np.exp(-0.2))) / 0.2
    np.testing.assert_allclose(evaluation.gradient["spread"], expected, rtol=1e-9)
    length = 0.01 * np.sqrt((1.3**2 + 1.0) / 2.0)
    expected = (loss(1.0 + length / 1.3) - loss(1.0 - length / 1.3)) / (2.0 * length)
    np.testing.assert_allclose(evaluation.gradient["diameter"], [expected, 0.0], rtol=1e-9, atol=1e-12)
    assert evaluation.n_preparations == size * (1 + 2 + 4)


@pytest.mark.parametrize("objective", [Target, TargetEach])
def test_the_score_gives_the_derivative_in_the_fractions(objective):
    """The share has the mean `c` and the variance `c (1 - c) / N`."""
    size, c, target = 200, 0.4, 0.3
    wanted = problem(gw.Term(Share(), objective([target, 1.0])), **{COMPOSITION: (0.1, 0.9)})
    evaluation = evaluate(wanted, size)
    slope = 2.0 * (c - target)
    if objective is TargetEach:
        slope = size * (slope + (1.0 - 2.0 * c) / N)
    expected = np.array([0.5, -0.5]) * slope
    assert_within(evaluation.gradient["composition"], evaluation.estimates["composition"]["signal_to_noise"], expected)


def test_what_does_not_depend_on_species_has_no_gradient_in_their_fractions():
    wanted = problem(gw.Term(Moment(), Target(TARGET)), **{COMPOSITION: (0.1, 0.9)})
    evaluation = evaluate(wanted, 100)
    assert np.any(evaluation.gradient["composition"])
    assert evaluation.estimates["composition"]["signal_to_noise"] < 3.0


def test_fractions_move_within_their_plane():
    wanted = problem(gw.Term(Share(), Target([0.3, 1.0])), **{COMPOSITION: (0.1, 0.9)})
    step = wanted.design.step(wanted.model, wanted.initial_values, {"composition": jnp.array([0.2, 0.1])})
    np.testing.assert_allclose(step["composition"], [0.45, 0.55], atol=1e-12)
    step = wanted.design.step(wanted.model, wanted.initial_values, {"composition": jnp.array([-0.7, 0.1])})
    np.testing.assert_allclose(step["composition"], [0.1, 0.9], atol=1e-12)
    assert wanted.at(step).system.with_fixed_species().species_counts == (2, 22)


def test_treatments_change_in_proportion():
    wanted = problem(gw.Term(Moment(), Target(TARGET)), **{PATH: (0.0, 1.0)})
    step = wanted.design.step(wanted.model, wanted.initial_values, {"spread": jnp.asarray(0.5)})
    np.testing.assert_allclose(step["spread"], SPREAD * np.exp(0.5))


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        ({PATH: Variable((0.0, 1.0), "exact")}, "which has no derivative; possible: evolution, differences"),
        ({PATH: Variable((0.0, 1.0), "score")}, "possible: evolution, differences"),
        ({PATH: Variable((0.0, 1.0), "guess")}, "estimator=guess"),
        ({PATH: Variable((0.0, 1.0), width=2.0)}, "must be between 0 and 1"),
        ({COMPOSITION: Variable((0.1, 0.9), "exact")}, "possible: score, evolution, differences"),
        ({COMPOSITION: Variable((0.1, 0.9), width=0.1)}, "the estimator score has no pairs"),
        ({"diameter": Variable((0.1, 2.0), "score")}, "possible: exact, evolution, differences"),
    ],
)
def test_wrong_estimators_are_refused(variable, message):
    with pytest.raises(gw.RequestError, match=message):
        problem(gw.Term(Moment(), Target(TARGET)), **variable)
