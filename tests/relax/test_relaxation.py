"""Finding minima: descents, Newton's steps, following, saddles, and how each search's end is told."""

import dataclasses

import equinox as eqx
import glasswright as gw
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from glasswright.neighbors import build_pair_list, find_pairs
from glasswright.relax import NewtonEnd, factor_hessian, leave_saddle, newton_steps
from helpers import component

Quench = component("protocol", "quench")
HarmonicMorse = component("potential", "harmonic_morse")


@pytest.fixture(scope="module")
def start():
    return gw.System().start(jax.random.key(5))


def max_force(potential, configuration):
    neighbors = build_pair_list(configuration, potential.cutoff)
    return float(jnp.max(jnp.abs(potential.gradient(configuration, neighbors))))


@pytest.mark.parametrize("method", ["newton", "fire"])
def test_a_quench_ends_at_a_minimum(start, method):
    potential = HarmonicMorse()
    prepared = Quench(method=method).prepare(potential, start)
    assert prepared.accepted
    assert max_force(potential, prepared.configuration) < 1e-12
    # Positive definite apart from the two translations.
    state = Quench().attach(potential, prepared)
    eigenvalues = np.linalg.eigvalsh(potential.hessian(state.configuration, state.neighbors))
    assert np.all(np.abs(eigenvalues[:2]) < 1e-10)
    assert eigenvalues[2] > 1e-4


def test_newton_finishes_where_the_descent_was_going():
    """Handing over at 1e-4 finds the minimum that FIRE alone goes on to."""
    potential = HarmonicMorse()
    for index in range(3):
        start = gw.System().start(jax.random.fold_in(jax.random.key(1), index))
        handed = Quench().prepare(potential, start)
        alone = Quench(hand_over=1.0001e-12).prepare(potential, start)
        assert handed.accepted
        assert alone.accepted
        moved = handed.configuration.position - alone.configuration.position
        assert np.max(np.abs(moved - np.mean(moved, axis=0, keepdims=True))) < 1e-8


def test_following_stays_with_the_packing(reference_2d):
    """Newton with the old factor ends where a descent from the old minimum ends."""
    potential = eqx.tree_at(lambda p: p.diameter, reference_2d.potential, replace_fn=lambda d: d * 1.0005)
    followed = reference_2d.protocol.follow(potential, reference_2d.prepared)
    again = Quench(hand_over=1e-9).prepare(potential, reference_2d.prepared.configuration)
    assert followed.accepted
    assert int(followed.statistics["rearranged"]) == 0
    assert max_force(potential, followed.configuration) < 1e-12
    assert np.max(np.abs(followed.configuration.position - again.configuration.position)) < 1e-8
    # The factor that came with it is that of the new minimum.
    fresh = factor_hessian(potential, followed.configuration, followed.memory.neighbors)
    np.testing.assert_allclose(jnp.tril(followed.memory.hessian.factor), jnp.tril(fresh.factor), atol=1e-12)


def test_the_first_step_of_following_is_the_predictor(reference_2d):
    """`-H^-1 dU/dR` at the new potential is `dR/dtheta dtheta` to first order."""
    potential, memory = reference_2d.potential, reference_2d.prepared.memory
    step = 1e-6

    def position(scale):
        moved = eqx.tree_at(lambda p: p.diameter, potential, replace_fn=lambda d: d * scale)
        return reference_2d.protocol.attach(moved, reference_2d.prepared).configuration.position

    _, velocity = jax.jvp(position, (1.0,), (1.0,))
    moved = eqx.tree_at(lambda p: p.diameter, potential, replace_fn=lambda d: d * (1.0 + step))
    predictor = -memory.hessian.solve(moved.gradient(reference_2d.prepared.configuration, memory.neighbors))
    assert np.max(np.abs(predictor / step - velocity)) < 1e-4 * np.max(np.abs(velocity))


def test_convergence_does_not_count_where_pairs_may_be_missing(reference_2d):
    """One step leads from here to the minimum, and out of what so tight a list covers."""
    potential, memory = reference_2d.potential, reference_2d.prepared.memory
    shift = 1e-8 * jax.random.normal(jax.random.key(0), reference_2d.configuration.fractional.shape)
    start = reference_2d.prepared.configuration.moved(shift)
    ends = []
    for skin in (0.3, 1e-10):
        pairs = build_pair_list(start, potential.cutoff + skin)
        state = newton_steps(potential, start, pairs, np.asarray(1e-12), memory.hessian, np.asarray(1))
        ends.append(NewtonEnd(int(state.end)))
    assert ends == [NewtonEnd.converged, NewtonEnd.uncovered]


def test_a_rearrangement_is_noticed_and_counted(reference_2d):
    potential = eqx.tree_at(lambda p: p.diameter, reference_2d.potential, jnp.array([1.0, 0.8]))
    prepared = reference_2d.protocol.follow(potential, reference_2d.prepared)
    assert prepared.accepted
    assert int(prepared.statistics["lost"]) == 1
    assert int(prepared.statistics["rearranged"]) == 1
    assert max_force(potential, prepared.configuration) < 1e-12


def test_running_out_of_steps_is_an_outcome(start):
    prepared = Quench(max_steps=20).prepare(HarmonicMorse(), start)
    assert gw.Outcome(int(prepared.outcome)) == gw.Outcome.max_steps


def test_not_a_number_is_an_outcome(start):
    broken = dataclasses.replace(start, fractional=start.fractional.at[3, 0].set(jnp.nan))
    prepared = Quench().prepare(HarmonicMorse(), broken)
    assert gw.Outcome(int(prepared.outcome)) == gw.Outcome.nonfinite


def test_a_rejected_packing_gets_another_chance(start):
    potential = HarmonicMorse()
    failed = Quench(max_steps=20).prepare(potential, start)
    assert Quench().follow(potential, failed, key=jax.random.key(2)).accepted


def test_a_saddle_is_left_downhill():
    """Four particles on a line are force-free by symmetry, and no minimum."""
    potential = HarmonicMorse(n_species=1, diameter=1.0)
    line = jnp.array([[0.1, 0.5], [0.3, 0.5], [0.5, 0.5], [0.7, 0.5], [0.9, 0.5]])
    configuration = gw.Configuration(line, 7.0 * jnp.eye(2), jnp.zeros(5, dtype=int))
    neighbors = build_pair_list(configuration, potential.cutoff + 0.3)
    assert float(jnp.max(jnp.abs(potential.gradient(configuration, neighbors)))) < 1e-12
    assert not bool(factor_hessian(potential, configuration, neighbors).is_stable)
    moved = leave_saddle(potential, configuration, neighbors, jnp.asarray(0.01))
    assert float(potential.energy(moved, neighbors)) < float(potential.energy(configuration, neighbors))


def test_a_small_pair_list_grows_instead_of_losing_pairs(reference_2d):
    configuration, cutoff = reference_2d.configuration, reference_2d.potential.cutoff
    tight = find_pairs(configuration, cutoff, 100)
    assert bool(tight.overflowed)
    grown = build_pair_list(configuration, cutoff, 100)
    distances = configuration.displacement(*np.triu_indices(configuration.n_particles, 1))
    assert int(grown.n_pairs) == int(np.sum(np.linalg.norm(distances, axis=1) < float(cutoff)))
    assert int(jnp.sum(grown.mask)) == int(grown.n_pairs)


def test_a_pair_list_knows_when_it_is_stale(reference_2d):
    configuration, cutoff = reference_2d.configuration, reference_2d.potential.cutoff
    pairs = build_pair_list(configuration, cutoff + 0.3)
    # The two that move furthest may have moved towards each other.
    alone = jnp.zeros_like(configuration.fractional).at[0, 0].set(1.0)
    both = alone.at[5, 1].set(-0.5)
    for step, limit in ((alone, 0.3), (both, 0.2)):
        assert bool(pairs.covers(configuration.moved(0.999 * limit * step), cutoff))
        assert not bool(pairs.covers(configuration.moved(1.001 * limit * step), cutoff))
    assert not bool(pairs.covers(configuration.moved(jnp.nan * alone), cutoff))
    assert not bool(pairs.covers(configuration, cutoff + 0.31))


def test_rattlers_are_pinned_and_counted():
    """A particle nobody touches makes no zero mode and does not disturb the others' response."""
    potential = HarmonicMorse(n_species=1, diameter=1.0, inverse_range=50.0)
    angle = jnp.linspace(0, 2 * jnp.pi, 7)[:-1]
    ring = jnp.concatenate([jnp.stack([jnp.cos(angle), jnp.sin(angle)], 1), jnp.zeros((1, 2)), jnp.array([[3.0, 3.0]])])
    configuration = gw.Configuration((ring + 4.0) / 10.0, 10.0 * jnp.eye(2), jnp.zeros(8, dtype=int))
    neighbors = build_pair_list(configuration, potential.cutoff)
    hessian = factor_hessian(potential, configuration, neighbors)
    assert int(hessian.n_rattlers) == 1
    assert bool(hessian.rattler[7])


@pytest.mark.parametrize(
    ("dimension", "n_species"), [(2, 1), (2, 3), (3, 1), pytest.param(3, 3, marks=pytest.mark.slow)]
)
def test_random_starts(dimension, n_species):
    system = gw.System(n_particles=300, n_species=n_species, dimension=dimension, density=1.2)
    start = system.start(jax.random.key(0))
    assert start.fractional.shape == (300, dimension)
    np.testing.assert_allclose(start.n_particles / start.volume, 1.2, rtol=1e-12)
    assert np.array_equal(np.bincount(start.species), [300 // n_species] * n_species)
    assert eqx.tree_equal(start, system.start(jax.random.key(0)))
    assert not eqx.tree_equal(start, system.start(jax.random.key(1)))
