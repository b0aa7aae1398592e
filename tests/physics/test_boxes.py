"""Skewed and elongated boxes: the same material in other descriptions has the same properties."""

import dataclasses
import functools

import equinox as eqx
import glasswright as gw
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from glasswright.neighbors import build_pair_list, find_pairs
from glasswright.physics.configuration import box_width
from glasswright.plots.packing import draw_cut
from helpers import component
from matplotlib.figure import Figure

QUENCH = component("protocol", "quench")()
SHAPES = {
    2: {"square": None, "elongated": [[1.0, 0.0], [0.0, 2.0]], "skewed": [[1.0, 0.45], [0.0, 1.1]]},
    3: {
        "cubic": None,
        "elongated": np.diag([1.0, 1.0, 1.6]).tolist(),
        "skewed": [[1.0, 0.3, -0.2], [0.0, 1.1, 0.3], [0.0, 0.0, 1.0]],
    },
}
BOXES = [(dimension, name) for dimension, shapes in SHAPES.items() for name in shapes]


def potential_of(dimension: int) -> gw.AbstractPotential:
    """Interactions with a short range, so that few particles fill a box that is wide enough in every basis."""
    if dimension == 2:
        return component("potential", "lennard_jones")(diameter=[0.8, 1.0], onset_ratio=1.5, cutoff_ratio=1.9)
    return component("potential", "soft_sphere")(diameter=[0.9, 1.1])


@functools.cache
def packing(dimension: int, name: str) -> gw.Prepared:
    """A packing of 80:20 in a box of this shape."""
    n, density = (120, 1.25) if dimension == 2 else (150, 2.2)
    system = gw.System(n, 2, dimension, density, composition=[0.8, 0.2], box=SHAPES[dimension][name])
    for seed in range(5):
        prepared = QUENCH.prepare(potential_of(dimension), system.start(jax.random.key(seed)), key=jax.random.key(0))
        if prepared.accepted:
            return prepared
    raise AssertionError("no packing could be prepared")


def tensor(dimension: int, configuration: gw.Configuration) -> np.ndarray:
    """The elastic tensor of a configuration at its minimum, which a quench must not leave."""
    potential = potential_of(dimension)
    prepared = QUENCH.prepare(potential, configuration, key=jax.random.key(0))
    assert prepared.accepted
    shift = np.asarray(prepared.configuration.fractional) - np.asarray(configuration.fractional)
    assert np.max(np.abs(shift - shift.mean(axis=0, keepdims=True))) < 1e-9
    return np.asarray(compiled_tensor(potential, prepared))


@eqx.filter_jit
def compiled_tensor(potential: gw.AbstractPotential, prepared: gw.Prepared) -> jax.Array:
    return QUENCH.attach(potential, prepared).elastic_tensor


def in_basis(configuration: gw.Configuration, change: np.ndarray) -> gw.Configuration:
    """The same particles with the lattice vectors `box @ change`."""
    fractional = np.linalg.solve(change, np.asarray(configuration.fractional).T).T
    return dataclasses.replace(
        configuration, fractional=jnp.asarray(fractional), box=configuration.box @ jnp.asarray(change, dtype=float)
    )


def doubled(configuration: gw.Configuration) -> gw.Configuration:
    """Two cells behind each other along the first lattice vector."""
    d = configuration.dimension
    step = np.eye(d)[0]
    first = np.asarray(configuration.fractional) % 1.0
    fractional = np.concatenate([first, first + step]) / np.where(np.arange(d) == 0, 2.0, 1.0)
    box = np.asarray(configuration.box) * np.where(np.arange(d) == 0, 2.0, 1.0)
    species = np.tile(np.asarray(configuration.species), 2)
    return gw.Configuration(jnp.asarray(fractional), jnp.asarray(box), jnp.asarray(species))


def rotation(dimension: int) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(3).normal(size=(dimension, dimension)))[0]


@pytest.mark.parametrize(("dimension", "name"), [(2, "skewed"), pytest.param(3, "elongated", marks=pytest.mark.slow)])
def test_the_elastic_tensor_does_not_depend_on_the_description(dimension: int, name: str) -> None:
    """In its box, in a sheared basis of the same lattice, in a doubled supercell, and turned with the solid."""
    at_rest = packing(dimension, name).configuration
    own = tensor(dimension, at_rest)
    scale = np.max(np.abs(own))
    change = np.eye(dimension, dtype=int)
    change[0, 1] = -1
    sheared = in_basis(at_rest, change)
    assert float(box_width(sheared.box)) < float(box_width(at_rest.box))
    assert np.max(np.abs(tensor(dimension, sheared) - own)) < 1e-10 * scale
    assert np.max(np.abs(tensor(dimension, doubled(at_rest)) - own)) < 1e-10 * scale
    turn = rotation(dimension)
    turned = dataclasses.replace(at_rest, box=jnp.asarray(turn) @ at_rest.box)
    expected = np.einsum("ia,jb,kc,ld,abcd->ijkl", turn, turn, turn, turn, own)
    assert np.max(np.abs(tensor(dimension, turned) - expected)) < 1e-10 * scale


@pytest.mark.parametrize(("dimension", "name"), BOXES)
def test_a_list_holds_every_pair_that_it_says_it_holds(dimension: int, name: str) -> None:
    """Compared with all images in space, beyond half the width of the box as well."""
    shape = SHAPES[dimension][name]
    system = gw.System(40, 1, dimension, 1.0, box=shape)
    start = system.start(jax.random.key(4))
    width = float(box_width(start.box))
    for listed in (build_pair_list(start, 0.8 * width), find_pairs(start, 0.8 * width, capacity=800)):
        near = np.asarray(listed.mask)
        pairs = {
            tuple(sorted(pair)) for pair in zip(np.asarray(listed.i)[near], np.asarray(listed.j)[near], strict=True)
        }
        assert float(listed.radius) == pytest.approx((0.8 if shape is None or name == "elongated" else 0.5) * width)
        steps = np.stack(np.meshgrid(*[(-1, 0, 1)] * dimension), axis=-1).reshape(-1, dimension)
        apart = np.asarray(start.fractional)[:, None] - np.asarray(start.fractional)[None]
        apart = (apart - np.round(apart))[:, :, None] + steps
        nearest = np.min(np.linalg.norm(apart @ np.asarray(start.box).T, axis=-1), axis=-1)
        i, j = np.nonzero(np.triu(nearest < float(listed.radius) * (1 - 1e-6), 1))
        assert set(zip(i, j, strict=True)) <= pairs


@pytest.mark.parametrize(("dimension", "name"), BOXES)
def test_structure_does_not_depend_on_the_basis(dimension: int, name: str) -> None:
    """`S(k)` by true `|k|`, `g(r)` by true images: against sums over everything there is."""
    start = gw.System(60, 1, dimension, 1.0, box=SHAPES[dimension][name]).start(jax.random.key(5))
    state = Given(potential_of(dimension), start)
    box = np.asarray(start.box)
    position = np.asarray(start.position)
    maximum, bins = 1.1 * float(box_width(start.box)), 20
    measured = component("property", "pair_correlation")(maximum=maximum, n_bins=bins).measure(state)
    steps = np.stack(np.meshgrid(*[(-3, -2, -1, 0, 1, 2, 3)] * dimension), axis=-1).reshape(-1, dimension) @ box.T
    i, j = np.triu_indices(60, 1)
    distances = np.linalg.norm((position[i] - position[j])[:, None] + steps, axis=-1)
    spread, grid = maximum / bins, (np.arange(bins) + 0.5) * maximum / bins
    weights = np.exp(-0.5 * ((grid[:, None, None] - distances) / spread) ** 2).sum(axis=(1, 2))
    surface = (2.0 if dimension == 2 else 4.0) * np.pi * grid ** (dimension - 1)
    expected = 2.0 * weights / (spread * np.sqrt(2.0 * np.pi)) / (60 * 1.0 * surface)
    np.testing.assert_allclose(measured, expected, rtol=1e-9)

    shells = 6
    values = np.asarray(component("property", "structure_factor")(n_shells=shells).measure(state))
    longest = np.linalg.norm(box, 2)
    whole = np.stack(np.meshgrid(*[np.arange(-9, 10)] * dimension), axis=-1).reshape(-1, dimension)
    k = 2.0 * np.pi * whole @ np.linalg.inv(box)
    shell = np.rint(np.linalg.norm(k, axis=1) * longest / (2.0 * np.pi)).astype(int)
    power = np.abs(np.exp(-1j * k @ position.T).sum(axis=1)) ** 2 / 60
    for s in range(1, shells + 1):
        if np.any(shell == s):
            assert values[s - 1] == pytest.approx(np.mean(power[shell == s]), rel=1e-9)
        else:
            assert np.isnan(values[s - 1])


class Given(gw.State):
    """A configuration as it is."""

    potential: gw.AbstractPotential
    configuration: gw.Configuration


@pytest.mark.parametrize(("dimension", "name"), BOXES)
def test_pictures_show_the_whole_cell(dimension: int, name: str) -> None:
    start = gw.System(60, 1, dimension, 1.0, box=SHAPES[dimension][name]).start(jax.random.key(5))
    axes = Figure().subplots()
    shown = draw_cut(axes, start, np.asarray([1.0]))
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    centres = np.asarray(axes.collections[0].get_offsets())
    plane = np.linalg.qr(np.asarray(start.box)[:, :2])[1] if dimension == 3 else np.asarray(start.box)
    area = abs(np.linalg.det(plane[:2, :2]))
    inside = np.all((centres > [left, bottom]) & (centres < [right, top]), axis=1).sum()
    # The picture holds as many particles as its area says, periodic images included.
    assert inside == pytest.approx(shown.sum() * (right - left) * (top - bottom) / area, rel=0.35)


def test_a_quench_in_a_skewed_box_carries_its_derivative() -> None:
    """Gradients of moduli in the potential and in the density against central differences."""
    potential, prepared = potential_of(2), packing(2, "skewed")

    def modulus(stretch: jax.Array, prepared: gw.Prepared) -> jax.Array:
        box = (1.0 + stretch[0]) * packing(2, "skewed").configuration.box
        there = eqx.tree_at(lambda p: p.configuration.box, prepared, box)
        scaled = eqx.tree_at(lambda p: p.diameter, potential, potential.diameter * (1.0 + stretch[1:]))
        return gw.bulk_modulus(compiled_tensor(scaled, there))

    gradient = jax.jit(jax.grad(lambda s: modulus(s, prepared)))(jnp.zeros(3))
    direction, step = np.asarray([0.3, 0.5, -0.4]), 1e-6

    def at(h: float) -> float:
        stretch = jnp.asarray(h * direction)
        box = (1.0 + stretch[0]) * prepared.configuration.box
        moved = eqx.tree_at(lambda p: p.configuration.box, prepared, box)
        scaled = eqx.tree_at(lambda p: p.diameter, potential, potential.diameter * (1.0 + stretch[1:]))
        return float(modulus(stretch, QUENCH.follow(scaled, moved, key=jax.random.key(0))))

    difference = (8.0 * (at(step) - at(-step)) - (at(2 * step) - at(-2 * step))) / (12.0 * step)
    assert float(jnp.dot(gradient, direction)) == pytest.approx(difference, rel=1e-5)


@pytest.mark.slow
def test_packings_side_by_side_rest_in_a_skewed_box() -> None:
    """Also where the skin of a list reaches beyond half the width of the box."""
    potential = potential_of(2)
    system = gw.System(24, 2, 2, 1.25, box=SHAPES[2]["skewed"])
    assert 2.0 * float(potential.cutoff) < float(box_width(system.box)) < 2.0 * (float(potential.cutoff) + 0.3)
    starts = [system.start(jax.random.key(k)) for k in range(2)]
    prepared = QUENCH.prepare_many(potential, jax.tree.map(lambda *x: jnp.stack(x), *starts), width=2)
    for k in range(2):
        assert int(prepared.outcome[k]) == gw.Outcome.converged
        at_rest = jax.tree.map(lambda x, k=k: x[k], prepared.configuration)
        force = potential.gradient(at_rest, build_pair_list(at_rest, potential.cutoff))
        assert float(jnp.max(jnp.abs(force))) < 1e-10
        alone = QUENCH.prepare(potential, starts[k], key=jax.random.key(0))
        assert alone.accepted
