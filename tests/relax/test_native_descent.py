"""The native descent: forces from tables, pairs with images, and minima of the potential itself."""

import concurrent.futures
import dataclasses

import equinox as eqx
import glasswright as gw
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from glasswright.neighbors import find_pairs
from glasswright.relax import QuenchSchedule
from glasswright.relax.native import descend_natively
from glasswright.relax.native.fire import stiffness_bound
from glasswright.relax.native.forces import forces
from glasswright.relax.native.pairs import near_pairs, wrap
from glasswright.relax.spline_table import spline_table, table_for_descent
from helpers import component

Quench, HarmonicMorse = component("protocol", "quench"), component("potential", "harmonic_morse")
LennardJones = component("potential", "lennard_jones")
CAPACITY = 150 * 149 // 2
SCHEDULE = QuenchSchedule(force_tolerance=1e-12, hand_over=1e-4, max_steps=20_000, skin=0.3)
# Small, mostly ghosts; one with room for cells; skewed boxes; three dimensions.
PACKINGS = {
    "2d": (100, 2, np.eye(2), 5.0),
    "2d_wide": (100, 2, np.eye(2), 12.0),
    "2d_skewed": (100, 2, np.array([[1.0, 0.2], [0.0, 1.0]]), 5.0),
    "3d_skewed": (150, 3, np.array([[1.0, 0.1, 0.0], [0.0, 1.0, -0.1], [0.0, 0.0, 1.0]]), 10.0),
}


def packing(name: str) -> tuple[gw.Configuration, gw.AbstractPairPotential]:
    n, d, shape, a = PACKINGS[name]
    start = gw.System(n_particles=n, dimension=d, density=1.5).start(jax.random.key(3))
    # Fractional coordinates of any size are legal.
    far = start.fractional + jax.random.randint(jax.random.key(4), start.fractional.shape, -3, 3)
    return dataclasses.replace(start, fractional=far, box=jnp.asarray(shape) @ start.box), HarmonicMorse(
        inverse_range=a
    )


def natively(
    potential: gw.AbstractPairPotential, configuration: gw.Configuration, skin: float
) -> tuple[np.ndarray, float, int]:
    """Force, stiffness bound and number of listed pairs of the native loop's parts."""
    table = spline_table(potential, configuration)
    assert table is not None
    box, x = np.array(configuration.box), np.array(configuration.position)
    inverse = np.linalg.inv(box)
    wrap(x, box, inverse, np.zeros(x.shape, dtype=np.int64))
    width = 1.0 / np.linalg.norm(inverse, axis=1)
    reach = np.minimum(table.cutoff + skin, width.min())
    species = np.asarray(configuration.species).astype(np.int32)
    # Too small a capacity, which grows.
    every, owner, row, _, start, partner = near_pairs(x, species, box, inverse, reach, reach.max() / width, 1)
    force = np.empty_like(every)
    entries = row, start, partner, table.table, table.inner, table.per_interval
    forces(len(x), every, owner, *entries, force)
    return force[: len(x)], stiffness_bound(len(x), every, owner, *entries), len(partner)


@pytest.mark.parametrize("name", PACKINGS)
def test_forces_are_those_of_the_potential(name: str) -> None:
    configuration, potential = packing(name)
    neighbors = find_pairs(configuration, potential.cutoff, CAPACITY)
    expected = -np.asarray(potential.gradient(configuration, neighbors))
    every = np.arange(configuration.n_particles)
    i, j = (k.reshape(-1) for k in np.meshgrid(every, every))
    distance = np.linalg.norm(np.asarray(configuration.displacement(i, j)), axis=1) + np.where(i == j, 9.0, 0.0)
    nearest = distance.reshape(len(every), -1).min(axis=0)
    bound = float(potential.stiffness_bound(configuration, neighbors))
    for skin in (0.0, 0.4):
        force, native_bound, _ = natively(potential, configuration, skin)
        # Pairs nearer than where tables begin repel as there.
        error = np.abs(force - expected)[nearest > 0.15]
        assert len(error) > 0.7 * len(force)
        assert np.median(error) < 1e-8
        # Next to the weaker kinks of the potential, tables are less accurate.
        assert np.max(error) < 1e-4
        assert native_bound == pytest.approx(bound, rel=0.2)


@pytest.mark.parametrize("name", PACKINGS)
def test_a_descent_ends_where_the_force_of_the_potential_is_small(name: str) -> None:
    configuration, potential = packing(name)
    table = spline_table(potential, configuration)
    assert table is not None
    end = descend_natively(table, configuration, SCHEDULE, 1e-4)
    assert end.outcome is None
    neighbors = find_pairs(end.configuration, potential.cutoff, CAPACITY)
    force = np.asarray(potential.gradient(end.configuration, neighbors))
    assert np.max(np.abs(force)) < 1.1e-4
    native, bound, n_pairs = natively(potential, end.configuration, 0.0)
    assert np.max(np.abs(native + force)) < 1e-5
    assert bound == pytest.approx(float(potential.stiffness_bound(end.configuration, neighbors)), rel=0.1)
    # Not wrapped: the particles went a short way.
    moved = np.asarray(end.configuration.fractional - configuration.fractional)
    assert np.max(np.abs(moved)) < 0.8
    # Each pair is listed once.
    i, j = np.triu_indices(configuration.n_particles, 1)
    distance = np.linalg.norm(np.asarray(end.configuration.displacement(i, j)), axis=1)
    species = np.asarray(configuration.species)
    assert n_pairs == np.sum(distance < table.cutoff[species[i], species[j]])
    again = descend_natively(table, configuration, SCHEDULE, 1e-4)
    np.testing.assert_array_equal(again.configuration.fractional, end.configuration.fractional)


def test_threads_change_nothing() -> None:
    configuration, potential = packing("2d")
    table = spline_table(potential, configuration)
    assert table is not None
    starts = [gw.System(n_particles=64).start(jax.random.key(k)) for k in range(6)]
    ends = [descend_natively(table, start, SCHEDULE, 1e-4).configuration for start in starts]
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        threaded = list(pool.map(lambda start: descend_natively(table, start, SCHEDULE, 1e-4).configuration, starts))
    for end, other in zip(ends, threaded, strict=True):
        np.testing.assert_array_equal(end.fractional, other.fractional)


def test_failures_are_outcomes() -> None:
    configuration, potential = packing("2d")
    table = spline_table(potential, configuration)
    assert table is not None
    few = dataclasses.replace(SCHEDULE, max_steps=7)
    end = descend_natively(table, configuration, few, 1e-4)
    assert (end.outcome, end.evaluations) == (gw.Outcome.max_steps, 7)
    broken = dataclasses.replace(configuration, fractional=configuration.fractional.at[5, 1].set(jnp.nan))
    assert descend_natively(table, broken, SCHEDULE, 1e-4).outcome == gw.Outcome.nonfinite
    infinite = dataclasses.replace(table, table=np.where(table.table == 0.0, 0.0, np.inf))
    assert descend_natively(infinite, configuration, SCHEDULE, 1e-4).outcome == gw.Outcome.nonfinite
    prepared = Quench(descent="native", max_steps=7).prepare(potential, configuration)
    assert prepared.outcome == gw.Outcome.max_steps


def test_tables_follow_the_force() -> None:
    """Between their nodes, a singular force and one with jumps of the curvature."""
    start = gw.System(n_particles=256).start(jax.random.key(0))
    for potential in (HarmonicMorse(), LennardJones()):
        table = spline_table(potential, start)
        assert table is not None
        r = np.linspace(0.75, 0.999 * float(potential.cutoff), 3001)
        place = (r**2 - table.inner[0, 1]) * table.per_interval
        y = (place % 1.0)[:, None] ** np.arange(4)
        force = np.sum(table.table[0, 1, place.astype(int)] * y, axis=1) * r
        parameters = potential.pair_parameters(start, *(np.asarray([k]) for k in (0, 255)))
        assert start.species[0] != start.species[255]
        of_pair = jax.tree.map(lambda x: x[0], parameters)
        expected = -np.asarray(jax.vmap(jax.grad(lambda x, p=potential, q=of_pair: p.pair_energy(x, q)))(r))
        error = np.abs(force - expected) / (1.0 + np.abs(expected))
        assert np.median(error) < 1e-9
        assert np.max(error) < 1e-4


@pytest.mark.parametrize(
    ("potential", "hessian", "density"),
    [
        (HarmonicMorse(), "dense", 1.6),
        (HarmonicMorse(), "sparse", 1.6),
        (HarmonicMorse(), "matrix_free", 1.6),
        (LennardJones(), "dense", 1.2),
    ],
    ids=["dense", "sparse", "matrix_free", "lennard_jones"],
)
def test_a_quench_ends_at_a_minimum_of_the_potential(
    potential: gw.AbstractPairPotential, hessian: str, density: float
) -> None:
    start = gw.System(n_particles=64, density=density).start(jax.random.key(1))
    prepared = Quench(descent="native", hessian=hessian).prepare(potential, start)
    assert prepared.accepted
    assert 0 < int(prepared.statistics["native"]) < int(prepared.statistics["evaluations"])
    neighbors = prepared.memory.neighbors
    assert float(jnp.max(jnp.abs(potential.gradient(prepared.configuration, neighbors)))) < 1e-11
    assert hessian == "matrix_free" or bool(prepared.memory.hessian.is_stable)


def test_small_packings_and_others_descend_in_the_loop_of_xla() -> None:
    start = gw.System(n_particles=64).start(jax.random.key(1))
    assert "native" not in Quench().prepare(HarmonicMorse(), start).statistics
    large = gw.System(n_particles=5000).start(jax.random.key(1))
    assert table_for_descent(HarmonicMorse(), start, "auto") is None
    assert table_for_descent(HarmonicMorse(), large, "auto") is not None
    assert table_for_descent(HarmonicMorse(), large, "xla") is None
    disordered = dataclasses.replace(start, disorder={"diameter_factor": jnp.ones(64)})
    with pytest.raises(gw.RequestError, match="no sum over pairs that depends on species alone"):
        table_for_descent(HarmonicMorse(), disordered, "native")
    with pytest.raises(ValueError, match="descent=native, method=fire"):
        Quench(descent="native", method="fire")


@pytest.mark.slow
def test_the_ensemble_is_that_of_the_loop_of_xla() -> None:
    """Means and variances over the same starts, of which a third end in other minima."""
    potential, n_packings = HarmonicMorse(), 400
    names = ("bulk_modulus", "shear_modulus", "pressure", "energy_per_particle", "poisson_ratio")
    properties = [component("property", name)() for name in names]

    @eqx.filter_jit
    def measure(prepared: gw.Prepared) -> jax.Array:
        state = Quench().attach(potential, prepared)
        return jnp.stack([measured.measure(state).reshape(()) for measured in properties])

    values: dict[str, list[np.ndarray]] = {"xla": [], "native": []}
    for index in range(n_packings):
        start = gw.System(n_particles=64).start(jax.random.fold_in(jax.random.key(11), index))
        for descent, measured in values.items():
            prepared = Quench(descent=descent).prepare(potential, start)
            assert prepared.accepted
            measured.append(np.asarray(measure(dataclasses.replace(prepared, statistics={}))))
    xla, native = np.array(values["xla"]), np.array(values["native"])
    for name, first, second in zip(names, xla.T, native.T, strict=True):
        moments = [(first, second)]
        if name != "poisson_ratio":  # whose tails are too heavy
            moments.append(((first - first.mean()) ** 2, (second - second.mean()) ** 2))
        for expected, computed in moments:
            difference = computed - expected
            error = np.std(difference, ddof=1) / np.sqrt(n_packings)
            assert error > 0.0  # other minima
            assert abs(np.mean(difference)) < 4.0 * error, name
