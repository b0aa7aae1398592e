"""The modes of large packings are those of the eigendecomposition of a small one."""

import numpy as np
import pytest
from glasswright.physics.soft_modes import density_of_all_states, lowest_modes
from helpers import PACKINGS, reference_packing


@pytest.mark.parametrize("name", PACKINGS)
def test_lowest_modes_are_those_of_an_eigendecomposition(name: str) -> None:
    reference = reference_packing(name)
    here = reference.potential, reference.prepared.configuration, reference.prepared.memory.neighbors
    values, modes = lowest_modes(*here, number=12)
    matrix = np.asarray(reference.potential.hessian(*here[1:]))
    d = here[1].dimension
    expected = np.linalg.eigvalsh(matrix)[d : d + 12]
    np.testing.assert_allclose(values, expected, rtol=1e-9)
    flat = modes.reshape(12, -1)
    np.testing.assert_allclose(flat @ flat.T, np.eye(12), atol=1e-9)
    np.testing.assert_allclose(flat @ matrix, values[:, None] * flat, atol=1e-7 * np.sqrt(values[-1]))


def test_density_of_states_counts_modes(reference_2d) -> None:
    here = reference_2d.potential, reference_2d.prepared.configuration, reference_2d.prepared.memory.neighbors
    edges, heights = density_of_all_states(*here, n_bins=12, n_moments=600, n_vectors=64)
    frequency = np.sqrt(np.abs(np.linalg.eigvalsh(np.asarray(reference_2d.potential.hessian(*here[1:])))))
    assert edges[-1] == pytest.approx(frequency[-1], rel=1e-4)
    assert np.sum(heights * np.diff(edges)) == pytest.approx(1.0, abs=1e-9)
    counted, _ = np.histogram(frequency, bins=edges * (1.0 + 1e-4), density=True)
    # Within the noise of the vectors and the resolution of the moments.
    assert np.max(np.abs(heights - counted)) < 0.06 * np.max(counted)
