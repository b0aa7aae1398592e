"""Structure as freud sees it: g(r), S(k), bond order and coordination of relaxed packings."""

import freud
import numpy as np
import pytest
from helpers import component

# freud computes in single precision.
SINGLE = 1e-5


@pytest.fixture(scope="module")
def system(reference):
    """A packing as freud takes it: box, and positions with the box's centre as origin."""
    configuration = reference.configuration
    d = configuration.dimension
    length = float(configuration.box[0, 0])
    positions = np.zeros((configuration.n_particles, 3))
    positions[:, :d] = np.asarray(configuration.position) - 0.5 * length
    box = freud.box.Box.square(length) if d == 2 else freud.box.Box.cube(length)
    return reference.state, box, box.wrap(positions)


def neighbors_within(distance: float) -> dict:
    return {"mode": "ball", "r_max": distance, "exclude_ii": True}


def test_pair_correlation(system):
    state, box, positions = system
    d, n_fine, width = state.configuration.dimension, 1000, 0.1
    measured = component("property", "pair_correlation")(maximum=2.2, n_bins=40, width=width)
    fine = freud.density.RDF(bins=n_fine, r_max=2.7).compute((box, positions))
    r = fine.bin_centers
    # A histogram so fine is a sum of peaks: each is smeared as the property smears pairs.
    smear = np.exp(-0.5 * ((measured.grid[:, None] - r) / width) ** 2) / (width * np.sqrt(2.0 * np.pi))
    expected = smear @ (fine.rdf * r ** (d - 1)) * (2.7 / n_fine) / measured.grid ** (d - 1)
    np.testing.assert_allclose(measured.measure(state), expected, atol=1e-3)
    assert np.max(expected) > 2.0


def test_structure_factor(system):
    """freud takes other wave vectors together, so that the shells are summed by hand."""
    state, box, positions = system
    n_shells = 12
    measured = component("property", "structure_factor")(n_shells=n_shells).measure(state)
    reach = np.arange(-n_shells, n_shells + 1)
    vectors = np.stack(np.meshgrid(reach, reach, [0] if box.is2D else reach), axis=-1).reshape(-1, 3)
    shell = np.rint(np.linalg.norm(vectors, axis=1))
    for s in (1, 5, n_shells):
        wave = np.exp(-2j * np.pi / box.Lx * positions @ vectors[shell == s].T)
        expected = np.mean(np.abs(np.sum(wave, axis=0)) ** 2) / len(positions)
        assert measured[s - 1] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("symmetry", [4, 6, 8])
def test_bond_order(system, symmetry):
    """With a hard cut: mean |psi| in the plane, the mean of Steinhardt's q_l in space."""
    state, box, positions = system
    distance = 1.3
    measured = component("property", "bond_order")(symmetry=symmetry, distance=distance, width=0.0).measure(state)
    order = freud.order.Hexatic(k=symmetry) if box.is2D else freud.order.Steinhardt(l=symmetry)
    particle_order = order.compute((box, positions), neighbors=neighbors_within(distance)).particle_order
    assert float(measured) == pytest.approx(np.mean(np.abs(np.nan_to_num(particle_order))), rel=SINGLE)


def test_coordination(system):
    state, box, positions = system
    distance = 1.2
    measured = component("property", "coordination")(distance=distance, width=0.0).measure(state)
    query = freud.locality.AABBQuery(box, positions)
    pairs = query.query(positions, neighbors_within(distance)).toNeighborList()
    assert float(measured) == pytest.approx(len(pairs) / len(positions), abs=1e-12)
