"""Pairs from a grid of cells are those from all distances, in boxes of any shape."""

import jax.numpy as jnp
import numpy as np
import pytest
from glasswright.neighbors import build_pair_list
from glasswright.physics.cell_list import grid_shape, pairs_in_cells
from glasswright.physics.configuration import Configuration
from glasswright.physics.pair_list import MOST_ALL_PAIRS, find_pairs

BOXES = {
    "square": np.diag([20.0, 20.0]),
    "sheared": np.array([[20.0, 9.0], [0.0, 20.0]]),
    "turned": np.array([[12.0, -14.0], [16.0, 13.0]]),
    "strip": np.diag([80.0, 5.0]),
    "left-handed": np.array([[0.0, 20.0], [20.0, 3.0]]),
    "cube": 9.0 * np.eye(3),
    "triclinic": np.array([[9.0, 2.0, -3.0], [0.5, 9.0, 2.5], [0.0, -1.0, 9.0]]),
    "slab": np.diag([20.0, 20.0, 4.5]),
}


def scattered(box: np.ndarray, n: int) -> Configuration:
    """Particles at random, some of them in other images of the box or on its faces."""
    d = len(box)
    fractional = np.random.default_rng(d).uniform(-2.0, 3.0, (n, d))
    fractional[:6] = [[0.0] * d, [1.0] * d, [-1e-18] * d, [1.0 - 1e-16] * d, [0.5] * d, [-3.0] * d]
    return Configuration(jnp.asarray(fractional), jnp.asarray(box), jnp.zeros(n, dtype=int))


@pytest.mark.parametrize("name", BOXES)
@pytest.mark.parametrize("radius", [0.7, 2.2])
def test_pairs_are_those_of_all_distances(name: str, radius: float) -> None:
    configuration = scattered(BOXES[name], 300)
    expected = find_pairs(configuration, radius, 40_000)
    n = int(expected.n_pairs)
    i, j = pairs_in_cells(np.asarray(configuration.fractional), BOXES[name], radius)
    assert 0 < n == len(i) <= 40_000
    np.testing.assert_array_equal(i, expected.i[:n])
    np.testing.assert_array_equal(j, expected.j[:n])


def test_grid_has_cells_as_wide_as_the_radius_in_every_direction() -> None:
    # The faces of a sheared box are nearer to each other than its lattice vectors are long.
    assert grid_shape(np.array([[10.0, 30.0], [0.0, 10.0]]), 1.0) == (3, 10)
    # An axis without room for three cells has one.
    assert grid_shape(np.diag([10.0, 2.9]), 1.0) == (10, 1)


@pytest.mark.parametrize("capacity", [2000, 100])
def test_pairs_by_rows_are_those_of_all_distances(monkeypatch: pytest.MonkeyPatch, capacity: int) -> None:
    configuration = scattered(BOXES["triclinic"], 150)
    expected = find_pairs(configuration, 1.9, capacity)
    monkeypatch.setattr("glasswright.physics.pair_list.MOST_ALL_PAIRS", 100)
    by_rows = find_pairs(configuration, 1.9, capacity)
    for name in ("i", "j", "n_pairs", "radius"):
        np.testing.assert_array_equal(getattr(by_rows, name), getattr(expected, name))


def test_large_lists_take_memory_in_proportion_to_their_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    n = 3 * MOST_ALL_PAIRS
    configuration = scattered(np.sqrt(n / 400.0) * BOXES["sheared"], n)
    monkeypatch.setattr("glasswright.physics.pair_list._near_blocks", None)
    pairs = build_pair_list(configuration, 1.5)
    assert not bool(pairs.overflowed)
    assert int(pairs.n_pairs) == pytest.approx(n * (n - 1) / 2 * np.pi * 1.5**2 / (n / 400.0 * 400.0), rel=0.05)
