"""Many quenches side by side: true minima, every configuration accounted for, and the same answers as one at a time."""

import equinox as eqx
import glasswright as gw
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from glasswright.neighbors import build_pair_list, find_pairs
from glasswright.relax import batch
from glasswright.relax.batch import bytes_per_configuration, expected_pairs
from helpers import component

Quench = component("protocol", "quench")
HarmonicMorse = component("potential", "harmonic_morse")
PoissonRatio = component("property", "poisson_ratio")

# All batches but those of other systems have these sizes: programs are compiled once.
SIZE, WIDTH = 6, 3


def draw(system: gw.System, seed: int, size: int = SIZE) -> gw.Configuration:
    return jax.vmap(system.start)(jax.random.split(jax.random.key(seed), size))


def at_positions(configurations: gw.Configuration, fractional) -> gw.Configuration:
    """The stacked configurations at other positions."""
    return eqx.tree_at(lambda c: c.fractional, configurations, fractional)


def row(tree, k: int):
    return jax.tree.map(lambda x: x[k], tree)


@eqx.filter_jit
def forces_and_hessians(potential, configurations: gw.Configuration, capacity: int):
    """Largest force and Hessian of each configuration, from pair lists of their own."""

    def prepare(configuration):
        pairs = find_pairs(configuration, potential.cutoff, capacity)
        force = jnp.max(jnp.abs(potential.gradient(configuration, pairs)))
        return eqx.error_if(force, pairs.overflowed, "too many pairs"), potential.hessian(configuration, pairs)

    return jax.vmap(prepare)(configurations)


def assert_minima(potential, prepared: gw.Prepared) -> None:
    assert np.all(prepared.outcome == gw.Outcome.converged)
    forces, hessians = forces_and_hessians(potential, prepared.configuration, prepared.memory.neighbors.i.shape[1])
    assert np.all(forces < 1e-12)
    for k, hessian in enumerate(np.asarray(hessians)):
        eigenvalues = np.linalg.eigvalsh(hessian)
        # Positive definite apart from translations, rattlers, and what else is free and counted.
        d = prepared.configuration.fractional.shape[-1]
        zero = d + d * prepared.statistics["rattlers"][k] + prepared.statistics["zero_modes"][k]
        assert np.all(np.abs(eigenvalues[:zero]) < 1e-9)
        assert eigenvalues[zero] > 1e-7


def distance(first: gw.Configuration, second: gw.Configuration) -> float:
    """Largest distance between the same particles of two packings, apart from a drift of all."""
    moved = np.asarray(first.position - second.position)
    return float(np.max(np.abs(moved - np.mean(moved, axis=0, keepdims=True))))


@pytest.fixture(scope="module")
def starts() -> gw.Configuration:
    return draw(gw.System(), 3)


@pytest.fixture(scope="module")
def prepared(starts) -> gw.Prepared:
    return Quench().prepare_many(HarmonicMorse(), starts, width=WIDTH)


def test_every_start_ends_at_a_minimum(prepared):
    assert_minima(HarmonicMorse(), prepared)


def test_everything_has_an_axis_over_configurations(starts, prepared):
    assert {len(x) for x in jax.tree.leaves(prepared)} == {SIZE}
    assert set(prepared.statistics) == set(Quench().prepare(HarmonicMorse(), row(starts, 0)).statistics)
    assert np.all(prepared.statistics["evaluations"] > 100)
    assert np.all(prepared.statistics["factorisations"] >= 2)
    assert prepared.configuration.fractional.shape == starts.fractional.shape
    assert np.array_equal(prepared.configuration.species, starts.species)
    covers = jax.vmap(lambda p, c: p.covers(c, HarmonicMorse().cutoff))
    assert np.all(covers(prepared.memory.neighbors, prepared.configuration))


def test_a_quench_does_not_depend_on_what_runs_beside_it(starts, prepared):
    """In another order they share lanes with others, and wait for others."""
    backwards = Quench().prepare_many(HarmonicMorse(), jax.tree.map(lambda x: x[::-1], starts), width=WIDTH)
    for k in range(SIZE):
        assert distance(row(prepared, k).configuration, row(backwards, SIZE - 1 - k).configuration) < 1e-9


def test_near_a_minimum_it_is_the_one_that_a_quench_of_its_own_finds(prepared):
    shift = 1e-4 * jax.random.normal(jax.random.key(0), prepared.configuration.fractional.shape)
    near = jax.vmap(gw.Configuration.moved)(prepared.configuration, shift)
    again = Quench().prepare_many(HarmonicMorse(), near, width=WIDTH)
    for k in range(SIZE):
        together, alone = row(again, k), Quench().prepare(HarmonicMorse(), row(near, k))
        assert distance(together.configuration, alone.configuration) < 1e-10
        factors = [jnp.tril(p.memory.hessian.factor) for p in (together, alone)]
        np.testing.assert_allclose(*factors, atol=1e-9)


@pytest.mark.slow
def test_measuring_all_at_once_is_measuring_each(prepared):
    potential, protocol = HarmonicMorse(), Quench()

    def ratio(diameter, binding_energy, prepared):
        here = eqx.tree_at(lambda p: (p.diameter, p.binding_energy), potential, (diameter, binding_energy))
        return PoissonRatio().measure(protocol.attach(here, prepared))

    both = jax.value_and_grad(ratio, (0, 1))
    parameters = potential.diameter, potential.binding_energy
    together = jax.jit(jax.vmap(both, (None, None, 0)))(*parameters, prepared)
    alone = jax.jit(both)
    for k in range(SIZE):
        single = alone(*parameters, row(prepared, k))
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-8), row(together, k), single)
    followed = protocol.follow(potential, row(prepared, 0))
    assert distance(followed.configuration, row(prepared, 0).configuration) < 1e-10


def test_lists_that_are_too_small_grow(starts, monkeypatch):
    monkeypatch.setattr(batch, "expected_pairs", lambda *a: 0.55 * expected_pairs(*a))
    grown = Quench().prepare_many(HarmonicMorse(), starts, width=WIDTH)
    assert_minima(HarmonicMorse(), grown)
    for k in range(SIZE):
        pairs = row(grown.memory.neighbors, k)
        fresh = build_pair_list(pairs.reference, pairs.radius)
        assert int(jnp.sum(pairs.mask)) == int(pairs.n_pairs) == int(fresh.n_pairs)


def test_what_cannot_be_prepared_is_counted(starts):
    broken = at_positions(starts, starts.fractional.at[1, 3, 0].set(jnp.nan))
    # As many evaluations as half of them need: how many that is changes with every detail of the descent.
    enough = int(np.median(Quench().prepare_many(HarmonicMorse(), starts, width=WIDTH).statistics["evaluations"]))
    for steps in (20, enough):
        prepared = Quench(max_steps=steps).prepare_many(HarmonicMorse(), broken, width=WIDTH)
        outcomes = [gw.Outcome(k) for k in prepared.outcome.tolist()]
        assert outcomes[1] == gw.Outcome.nonfinite
        assert gw.Outcome.max_steps in outcomes
        assert (gw.Outcome.converged in outcomes) == (steps == enough)
        evaluations = prepared.statistics["evaluations"]
        assert [k == gw.Outcome.max_steps for k in outcomes] == (evaluations == steps).tolist()
        # What there is of them breaks nothing when all are measured.
        assert np.all(np.isfinite(prepared.memory.hessian.factor))


def test_the_last_descents_run_in_fewer_lanes(starts, monkeypatch):
    monkeypatch.setattr(batch, "NARROW", WIDTH)
    monkeypatch.setattr(batch, "NARROWEST", 1)
    narrow = Quench().prepare_many(HarmonicMorse(), starts, width=WIDTH)
    assert_minima(HarmonicMorse(), narrow)


@pytest.mark.slow
def test_saddles_are_left_and_zero_modes_pinned():
    """A square lattice is force-free by symmetry, and no minimum; in a large box, clusters float."""
    potential = HarmonicMorse(n_species=1, diameter=1.0, binding_energy=0.5)
    side = 8
    lattice = jnp.stack(jnp.meshgrid(jnp.arange(side), jnp.arange(side)), axis=-1).reshape(-1, 2) / side
    random = draw(gw.System(n_particles=side**2, n_species=1), 0, 3)
    fractional, box = random.fractional.at[0].set(lattice), random.box.at[2].multiply(4.0)
    starts = eqx.tree_at(lambda c: (c.fractional, c.box), random, (fractional, box))
    prepared = Quench().prepare_many(potential, starts, width=2)
    assert_minima(potential, prepared)
    assert prepared.statistics["saddles"][0] > 0
    assert prepared.statistics["zero_modes"][2] > 0
    # What came from elsewhere is kept like the rest.
    covers = jax.vmap(lambda p, c: p.covers(c, potential.cutoff))
    assert np.all(covers(prepared.memory.neighbors, prepared.configuration))
    assert np.all(prepared.memory.hessian.is_stable)


@pytest.mark.slow
def test_particles_on_top_of_each_other_are_parted():
    potential = component("potential", "inverse_power")(n_species=1, diameter=1.0)
    starts = draw(gw.System(n_particles=64, n_species=1, density=1.0), 0, 2)
    fractional = starts.fractional.at[0, 1].set(starts.fractional[0, 0] + 1e-7)
    prepared = Quench().prepare_many(potential, at_positions(starts, fractional), width=2)
    assert_minima(potential, prepared)
    assert np.all(prepared.statistics["evaluations"] < 2000)


@pytest.mark.parametrize("settings", [{"method": "fire"}, {"hessian": "matrix_free"}])
def test_other_methods_have_no_batches(starts, settings):
    assert Quench(**settings).prepare_many(HarmonicMorse(), starts, width=WIDTH) is None


def test_memory_is_estimated_from_above(prepared):
    memory = prepared.memory
    kept = sum(x.nbytes for x in jax.tree.leaves(memory)) / SIZE
    pairs = expected_pairs(368, 2, 230.0, 3.28)
    assert abs(pairs / float(jnp.mean(memory.neighbors.n_pairs)) - 1.0) < 0.1
    assert kept < bytes_per_configuration(368, 2, pairs) < 5 * kept
