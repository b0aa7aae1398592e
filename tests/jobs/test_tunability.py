"""Singular values and directions of Jacobians that are given."""

import glasswright as gw
import numpy as np
import pytest
from glasswright.jobs.predictiveness import holds_to
from glasswright.jobs.tunability import Tunability, property_scale


def synthetic(jacobians, **options) -> Tunability:
    """Tunability of Jacobians that are given, in scales of one."""
    n, rows, columns = jacobians.shape
    names = tuple(f"property{k}" for k in range(rows))
    unit = {"property_scale": np.ones(rows), "design_scale": np.ones(columns)}
    return Tunability(names, tuple(f"x[{k}]" for k in range(columns)), np.ones((n, rows)), jacobians, **unit | options)


def test_what_cannot_be_reached_is_called_so():
    """Of two properties that are twice and three times the same third one, only one combination can change."""
    row = np.array([1.0, -2.0, 0.5])
    result = synthetic(np.stack([2.0 * row, 3.0 * row])[None])
    assert result.rank == 1
    assert result.standard_error() is None
    step, reachable = result.step({"property0": 0.2, "property1": 0.3})
    assert reachable
    np.testing.assert_allclose(step, 0.1 * row / (row @ row), rtol=1e-12)
    assert not result.step({"property0": 0.2, "property1": 0.0})[1]
    assert result.step({"property0": 0.2})[1]


@pytest.mark.parametrize("unit", [1.0, 1e-15, 1e15])
def test_what_a_property_is_measured_in_does_not_depend_on_its_units(unit):
    values, changes = unit * np.array([[0.4, 1e-15], [0.6, -2e-15]]), unit * np.array([1.0, 1.0])
    np.testing.assert_allclose(property_scale(["a"], values[:, :1], changes[:1], "magnitude"), [0.5 * unit])
    with pytest.raises(gw.RunError, match=r"property_scale: that of b is .*, no scale"):
        property_scale(["a", "b"], values, changes, "magnitude")
    np.testing.assert_allclose(property_scale(["a", "b"], values, changes, {"b": unit}), [0.5 * unit, unit])


def test_scales_change_what_is_short():
    """A variable of a large scale is cheap to move."""
    result = synthetic(np.array([[[1.0, 1.0]]]), design_scale=np.array([1.0, 3.0]), property_scale=np.array([0.5]))
    step, _ = result.step({"property0": 1.0})
    np.testing.assert_allclose(step, [0.1, 0.9], rtol=1e-12)
    np.testing.assert_allclose(result.predict(step), [1.0], rtol=1e-12)
    np.testing.assert_allclose(result.decomposition()[0], [2.0 * np.sqrt(10.0)], rtol=1e-12)


def test_standard_errors_of_singular_values_are_what_repeats_vary_by():
    random = np.random.default_rng(1)
    mean = np.array([[4.0, 1.0, 0.0], [0.5, 2.0, -1.0]])
    every = [synthetic(mean + 0.8 * random.normal(size=(40, 2, 3))) for _ in range(400)]
    sigma = np.array([result.decomposition()[0] for result in every])
    predicted = np.mean([result.standard_error() for result in every], axis=0)
    np.testing.assert_allclose(predicted, np.std(sigma, axis=0, ddof=1), rtol=0.12)


def test_one_packing_next_to_an_instability_does_not_rule_the_median_nor_the_clipped_mean():
    random = np.random.default_rng(2)
    mean = np.array([[4.0, 1.0, 0.0], [0.5, 2.0, -1.0]])
    jacobians = mean + 0.3 * random.normal(size=(50, 2, 3))
    jacobians[7] *= -1000.0
    result = synthetic(jacobians)
    expected = np.linalg.svd(mean)[1]
    errors = {name: np.max(np.abs(result.decomposition(name)[0] / expected - 1.0)) for name in ("median", "clipped")}
    assert errors["median"] < 0.1
    assert errors["clipped"] < 0.2
    assert np.max(np.abs(result.decomposition("mean")[0] / expected - 1.0)) > 5.0
    clipped = synthetic(jacobians, average="clipped")
    assert np.all(clipped.standard_error() < 0.1 * result.standard_error())


def test_how_far_a_prediction_holds():
    def line(step, predicted, found):
        return {"step": step, "predicted": predicted, "found": found}

    assert holds_to([]) is None
    assert holds_to([line(1, 1.0, 1.2), line(2, 2.0, 2.0)]) is None
    assert holds_to([line(1, 1.0, 1.05), line(2, 2.0, 2.1), line(3, 3.0, None), line(4, 4.0, 4.0)]) == 2
    assert holds_to([line(1, 1.0, 0.91), line(2, 2.0, 1.7)]) == 1
