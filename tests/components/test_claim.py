"""What is said of a published value and a measured one."""

import numpy as np
import pytest
from glasswright.components.claim import compare_bound, compare_mean, compare_rate


def sample(mean: float, error: float, n: int = 100) -> list[float]:
    """Values with exactly this mean and standard error."""
    values = np.random.default_rng(0).normal(size=n)
    values = (values - values.mean()) / (values.std(ddof=1) / np.sqrt(n))
    return list(mean + error * values)


@pytest.mark.parametrize(
    ("mean", "error", "published_error", "verdict"),
    [
        (0.351, 0.001, 0.0, "agrees"),  # within the tolerance
        (0.362, 0.007, 0.0, "agrees"),  # within two standard errors
        (0.362, 0.001, 0.0, "disagrees"),  # beyond the tolerance, and three of them
        (0.375, 0.010, 0.0, "undecided"),  # between two and three
        (0.375, 0.005, 0.01, "undecided"),  # the published value has an error, too
        (0.350, 0.050, 0.0, "undecided"),  # says nothing about a tolerance of 0.01
        (0.900, 0.050, 0.0, "disagrees"),
    ],
)
def test_means(mean, error, published_error, verdict):
    claim = compare_mean("c", "s", sample(mean, error), 0.35, tolerance=0.01, published_error=published_error)
    assert claim.verdict == verdict, claim.reason
    assert claim.measured == pytest.approx(mean)
    assert claim.error == pytest.approx(error)
    assert claim.n == 100


def test_a_mean_says_how_many_values_are_missing():
    claim = compare_mean("c", "s", sample(0.35, 0.001, 98), 0.35, tolerance=0.01, requested=100)
    assert "2 of 100 have no value" in claim.reason
    assert compare_mean("c", "s", [], 0.35, tolerance=0.01).verdict == "undecided"


@pytest.mark.parametrize(
    ("successes", "attempts", "published", "verdict"),
    [
        (10, 10, 1.0, "agrees"),
        (2, 2, 1.0, "undecided"),  # the interval begins at 0.16
        (9, 10, 1.0, "disagrees"),  # one failure excludes a rate of exactly one
        (5, 10, 0.6, "undecided"),  # wider than one half
        (50, 100, 0.6, "agrees"),
        (50, 100, 0.9, "disagrees"),
        (0, 0, 1.0, "undecided"),
    ],
)
def test_rates(successes, attempts, published, verdict):
    claim = compare_rate("c", "s", successes, attempts, published)
    assert claim.verdict == verdict, claim.reason


def test_a_rate_of_nearly_one_survives_a_failure():
    assert compare_rate("c", "s", 19, 20, 1.0, tolerance=0.02).verdict == "agrees"


@pytest.mark.parametrize(
    ("measured", "error", "verdict"),
    [(1.2, 0.05, "agrees"), (1.05, 0.05, "undecided"), (0.8, 0.05, "disagrees"), (1.2, None, "agrees")],
)
def test_bounds(measured, error, verdict):
    assert compare_bound("c", "s", measured, "larger than one", lower=1.0, error=error).verdict == verdict


@pytest.mark.parametrize("measured", [None, float("nan")])
def test_no_value_decides_nothing(measured):
    assert compare_bound("c", "s", measured, "larger than one", lower=1.0).verdict == "undecided"
