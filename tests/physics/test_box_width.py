"""Boxes have room for twice the cutoff, or are refused with the way to more room; the widest basis of a lattice."""

import dataclasses
import itertools

import glasswright as gw
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from glasswright.physics.configuration import box_width, check_box_width
from glasswright.physics.lattice import widest_basis
from helpers import component


def stacked(start: gw.Configuration) -> gw.Configuration:
    both: gw.Configuration = jax.tree.map(lambda x: jnp.stack([x, x]), start)
    return both


@pytest.mark.wrong_types
def test_a_quench_refuses_a_box_that_is_too_narrow() -> None:
    """Its particles would meet each other twice, and their energy would be wrong without a word."""
    potential, quench = component("potential", "harmonic_morse")(), component("protocol", "quench")()
    start = gw.System(n_particles=24).start(jax.random.key(0))
    with pytest.raises(ValueError, match=r"24 particles: the box is 3\.87298 wide, less than twice"):
        quench.prepare(potential, start, key=jax.random.key(1))
    with pytest.raises(gw.RequestError, match="less than twice the cutoff"):
        quench.prepare_many(potential, stacked(start), width=2)
    with pytest.raises(gw.RequestError, match="less than twice the cutoff"):
        quench.follow(potential, gw.Prepared(start, gw.Outcome.converged), key=jax.random.key(1))


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("angle", [30.0, 45.0, 60.0, 90.0])
@pytest.mark.parametrize("aspect", [1.0, 3.0])
def test_the_width_is_what_decides(dimension: int, angle: float, aspect: float) -> None:
    """Two cutoffs have to fit between opposite faces, however long the lattice vectors are."""
    box = np.diag([6.0] * (dimension - 1) + [6.0 * aspect])
    box[0, -1] = box[-1, -1] / np.tan(np.radians(angle))
    width = float(box_width(jnp.asarray(box)))
    assert width == pytest.approx(6.0 * min(np.sin(np.radians(angle)), aspect))
    check_box_width(box, np.asarray(0.4999 * width), "a box")
    with pytest.raises(gw.RequestError, match="a box: the box is"):
        check_box_width(box, np.asarray(0.5001 * width), "a box")
    check_box_width(np.stack([box, 2 * box]), np.asarray([0.49, 0.99]) * width, "boxes")
    with pytest.raises(gw.RequestError, match=f"boxes: the box is {2 * width:.6g} wide"):
        check_box_width(np.stack([box, 2 * box]), np.asarray([0.49, 1.01]) * width, "boxes")


def test_a_skewed_box_that_could_be_wide_enough_is_told_how() -> None:
    potential, quench = component("potential", "soft_sphere")(diameter=1.0), component("protocol", "quench")()
    start = gw.System(n_particles=24, n_species=1, density=jnp.asarray(0.5)).start(jax.random.key(0))
    skewed = dataclasses.replace(start, box=start.box @ jnp.asarray([[1.0, 5.0], [0.0, 1.0]]))
    with pytest.raises(gw.RequestError, match=r"box @ widest_basis\(box\), makes a box that is 6.9282 wide"):
        quench.prepare(potential, skewed, key=jax.random.key(1))


def shortest(box: np.ndarray) -> list[float]:
    """The successive minima of a lattice, by trying all small combinations."""
    d = len(box)
    grid = np.asarray(list(itertools.product(range(-4, 5), repeat=d)))
    vectors = grid @ box.T
    order = np.argsort(np.linalg.norm(vectors, axis=1))
    chosen: list[np.ndarray] = []
    for k in order[1:]:
        if np.linalg.matrix_rank(np.asarray([*chosen, vectors[k]]), tol=1e-9) > len(chosen):
            chosen.append(vectors[k])
    return [float(np.linalg.norm(v)) for v in chosen]


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("seed", range(8))
def test_no_basis_is_wider(dimension: int, seed: int) -> None:
    """The width is one over the longest vector of the dual basis, which cannot be shorter than the last minimum."""
    rng = np.random.default_rng(seed)
    box = rng.normal(size=(dimension, dimension)) + 2.0 * np.eye(dimension)
    skew = np.eye(dimension) + np.triu(rng.integers(-30, 31, (dimension, dimension)), 1)
    wide = box @ skew @ widest_basis(box @ skew)
    assert np.linalg.det(wide) == pytest.approx(np.linalg.det(box), rel=1e-9)
    dual = np.linalg.inv(wide).T
    assert 1.0 / float(box_width(jnp.asarray(wide))) == pytest.approx(shortest(dual)[-1], rel=1e-9)
    np.testing.assert_array_equal(widest_basis(wide), np.eye(dimension))


@pytest.mark.parametrize("scale", [1e-200, 1e-10, 1.0, 1e10, 1e200])
def test_the_unit_of_length_does_not_matter(scale: float) -> None:
    box = scale * np.asarray([[8.0, 40.0], [0.0, 8.0]])
    np.testing.assert_array_equal(widest_basis(box), [[1, -5], [0, 1]])
    with pytest.raises(ValueError, match="span a volume"):
        widest_basis(scale * np.asarray([[1.0, 2.0], [2.0, 4.0]]))
