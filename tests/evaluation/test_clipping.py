"""Packings next to an instability: their gradients are shortened, and the target stays where it is."""

import glasswright as gw
import numpy as np
import pytest
from glasswright.evaluation.clipping import clipping_factors, gradient_lengths
from glasswright.evaluation.loss import evaluate_scalars
from glasswright.evaluation.measurement import Measurement, Sample
from helpers import component

Target, Fresh = component("objective", "target"), component("sampler", "fresh")
POPULATION = 400


@pytest.fixture(scope="module")
def population():
    """Values, and gradients without a variance that depend on them: soft packings have low values."""
    random = np.random.default_rng(0)
    softness = random.pareto(1.5, POPULATION) + 0.1
    values = 0.4 - 0.05 * np.log(softness) + 0.02 * random.standard_normal(POPULATION)
    directions = np.array([-1.0, -0.5]) + 0.8 * random.standard_normal((POPULATION, 2))
    return values, directions * softness[:, None]


def samples(values, gradients):
    measurements = [
        Measurement({"nu": np.asarray(f)}, {"nu": {"diameter": g}}) for f, g in zip(values, gradients, strict=True)
    ]
    return [Sample(k, gw.Outcome.converged, {}, measurement, None) for k, measurement in enumerate(measurements)]


def gradient(batch, target, limit):
    terms = {"nu": gw.Term(component("property", "poisson_ratio")(), Target(target))}
    evaluation, _ = evaluate_scalars(terms, Fresh(len(batch)), batch, None if limit is None else {"nu": limit})
    return evaluation.gradient["diameter"]


def test_no_packing_pulls_harder_than_the_limit(population):
    values, gradients = population
    lengths = gradient_lengths([sample.measurement for sample in samples(values, gradients)])
    factors = clipping_factors(lengths, {"nu": 1.5})["nu"]
    np.testing.assert_allclose(lengths["nu"], np.linalg.norm(gradients, axis=1))
    assert np.all(factors * lengths["nu"] <= 1.5 * (1 + 1e-12))
    assert np.all(factors[lengths["nu"] <= 1.5] == 1.0)
    assert np.any(factors < 1.0)
    np.testing.assert_array_equal(clipping_factors(lengths, {"nu": np.nan})["nu"], 1.0)


def test_a_limit_that_nobody_reaches_changes_nothing(population):
    values, gradients = population
    batch = samples(values[:6], gradients[:6])
    np.testing.assert_array_equal(gradient(batch, 0.35, 1e9), gradient(batch, 0.35, None))


def over_batches(population, distance, limit):
    """Mean gradient and its error, over many disjoint batches of eight."""
    values, gradients = population
    random = np.random.default_rng(1)
    estimates = []
    for _ in range(12):
        order = random.permutation(POPULATION)
        for chosen in order.reshape(-1, 8):
            batch = samples(values[chosen], gradients[chosen])
            limit_here = limit(gradients[chosen])
            estimates.append(gradient(batch, values.mean() - distance, limit_here))
    return np.mean(estimates, axis=0), np.std(estimates, axis=0) / np.sqrt(len(estimates))


def median_length(gradients):
    return float(np.median(np.linalg.norm(gradients, axis=1)))


def test_the_gradient_is_zero_on_average_on_target_and_only_there(population):
    typical = median_length(population[1])
    mean, error = over_batches(population, 0.0, lambda _: typical)
    assert np.all(np.abs(mean) < 4 * error)
    # The value falls along the design: with the mean above the target, more of it is wanted.
    mean, error = over_batches(population, 0.03, lambda _: typical)
    assert np.all(mean < -5 * error)
    mean, error = over_batches(population, -0.03, lambda _: typical)
    assert np.all(mean > 5 * error)


def test_a_limit_from_the_same_step_would_move_the_target(population):
    """Soft packings have long gradients and low values: the limit would depend on the distances."""
    mean, error = over_batches(population, 0.0, median_length)
    assert np.any(np.abs(mean) > 4 * error)


@pytest.mark.wrong_types
@pytest.mark.parametrize("clip", [0.0, -1.0, float("inf")])
def test_limits_that_make_no_sense_are_refused(clip):
    from glasswright.commands.compose import compose
    from glasswright.commands.train import build

    with pytest.raises(gw.RequestError, match=r"train\.clip"):
        build(compose("train", [f"train.clip={clip}"]))
