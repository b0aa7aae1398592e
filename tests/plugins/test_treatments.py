"""Treatments: known averages, reproducibility, one at a time and many, and runs that apply them."""

import dataclasses
import functools

import glasswright as gw
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from glasswright.neighbors import build_pair_list
from glasswright.registry import registry
from glasswright.testing import check_treatment
from helpers import component

Anneal = component("treatment", "anneal")
HarmonicMorse = component("potential", "harmonic_morse")
Quench = component("protocol", "quench")
SYSTEM = gw.System(n_particles=64)


@functools.cache
def minimum():
    prepared = Quench().prepare(HarmonicMorse(), SYSTEM.start(jax.random.key(4)))
    assert prepared.accepted
    return prepared


def energy(configuration):
    return float(HarmonicMorse().energy(configuration, minimum().memory.neighbors))


@pytest.mark.slow
def test_langevin_dynamics_has_its_temperature():
    """Kinetic and potential energy of small vibrations about a minimum: `T/2` for each degree of freedom."""
    temperature, count = 1e-6, 12
    bath = Anneal(temperature=temperature, duration=60.0, friction=1.0)
    starts = jax.tree.map(lambda x: jnp.stack([x] * count), minimum().configuration)
    treated = bath.apply_many(HarmonicMorse(), starts, keys=jax.random.split(jax.random.key(0), count))
    n, d = minimum().configuration.fractional.shape
    kinetic = np.asarray(treated.statistics["kinetic_energy"])
    assert np.mean(kinetic) == pytest.approx(0.5 * d * n * temperature, rel=0.02)
    configurations = [jax.tree.map(lambda x, k=k: x[k], treated.configuration) for k in range(count)]
    potential = np.array([energy(configuration) for configuration in configurations]) - energy(minimum().configuration)
    expected = 0.5 * d * (n - 1) * temperature
    error = expected * np.sqrt(2.0 / (d * (n - 1)) / count)
    assert abs(np.mean(potential) - expected) < 4.0 * error


@pytest.mark.slow
def test_slow_cooling_reaches_lower_energies():
    count, ramp = 24, [0.1, 0.0]
    starts = jax.vmap(SYSTEM.start)(jax.random.split(jax.random.key(1), count))
    per_particle = jax.jit(jax.vmap(lambda c, m: HarmonicMorse().energy(c, m.neighbors) / 64))

    def energies(**treatments):
        prepared = Quench(treatments=treatments).prepare_many(HarmonicMorse(), starts, width=count)
        assert set(np.asarray(prepared.outcome)) == {gw.Outcome.converged}
        return np.asarray(per_particle(prepared.configuration, prepared.memory))

    quenched = energies()
    fast = energies(anneal=Anneal(temperature=ramp, duration=10.0))
    slow = energies(anneal=Anneal(temperature=ramp, duration=500.0))
    for lower, higher in ((slow, quenched), (slow, fast)):
        difference = lower - higher
        assert np.mean(difference) < -3.0 * np.std(difference, ddof=1) / np.sqrt(count)


def test_many_at_once_are_what_they_are_one_by_one():
    """Which pair list a force was summed over does not depend on the others of a batch."""
    anneal, keys = Anneal(duration=5.0), jax.random.split(jax.random.key(2), 3)
    starts = jax.vmap(SYSTEM.start)(keys)
    together = anneal.apply_many(HarmonicMorse(), starts, keys=keys).configuration
    for k in range(3):
        alone = anneal.apply(HarmonicMorse(), jax.tree.map(lambda x, k=k: x[k], starts), key=keys[k]).configuration
        # Rounding differs between programs, and dynamics are chaotic: after a hundred steps little of it shows.
        np.testing.assert_allclose(alone.fractional, together.fractional[k], rtol=0, atol=1e-6)
    again = anneal.apply(HarmonicMorse(), jax.tree.map(lambda x: x[2], starts), key=keys[2]).configuration
    np.testing.assert_array_equal(again.fractional, alone.fractional)


def test_followed_packings_are_not_treated_again():
    protocol = Quench(treatments={"anneal": Anneal(duration=2.0)})
    prepared = protocol.prepare(HarmonicMorse(), SYSTEM.start(jax.random.key(0)), key=jax.random.key(1))
    assert "anneal_evaluations" in prepared.statistics
    followed = protocol.follow(HarmonicMorse(), prepared, key=jax.random.key(1))
    assert "anneal_evaluations" not in followed.statistics
    rested = protocol.relax(HarmonicMorse(), prepared.configuration, key=jax.random.key(1))
    np.testing.assert_allclose(rested.configuration.fractional, prepared.configuration.fractional, atol=1e-12)


def test_treatments_keep_their_order():
    names = ("second", "first", "anneal")
    treatments = gw.Treatments({name: Anneal(duration=k + 1.0) for k, name in enumerate(names)})
    leaves, structure = jax.tree.flatten(treatments)
    again = jax.tree.unflatten(structure, leaves)
    assert tuple(again) == names
    assert [treatment.duration for treatment in again.values()] == [1.0, 2.0, 3.0]
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(treatments)]
    dotted = [jax.tree_util.keystr(path, simple=True, separator=".") for path in paths]
    assert [name for name in dotted if name.endswith("temperature")] == [f"{name}.temperature" for name in names]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=() if n == "swap" else pytest.mark.slow)
        for n in sorted(registry().components("treatment"))
    ],
)
def test_built_in_treatments_conform(name):
    """All that the kit asks of a treatment, with paths and walks that are short: those of the defaults take minutes."""
    short = {
        "anneal": {"duration": 5.0},
        "swap": {"n_sweeps": 5},
        "cyclic_shear": {"amplitude": 0.02, "strain_step": 0.01},
        "compress": {"density": 1.03},
    }
    check_treatment(component("treatment", name)(**short[name]))


@pytest.mark.slow
def test_swaps_sample_the_boltzmann_distribution():
    """Two particles of each species near a wall of their own: both ways round are as likely as their energies say."""
    # Four particles in a row, too far apart for all but nearest neighbours; displacements are too small to matter.
    potential = HarmonicMorse(diameter=[0.8, 1.0], binding_energy=[0.05, 0.3, 0.1])
    length = 8.0
    position = jnp.array([[0.0, 0.0], [0.9, 0.0], [0.0, 4.0], [0.9, 4.0]])
    packing = gw.Configuration(position / length, length * jnp.eye(2), jnp.array([0, 0, 1, 1]))
    temperature, count = 0.2, 1000
    walk = component("treatment", "swap")(temperature=temperature, n_sweeps=6, swaps=1.0)
    starts = jax.tree.map(lambda x: jnp.stack([x] * count), packing)
    treated = walk.apply_many(potential, starts, keys=jax.random.split(jax.random.key(0), count))
    species = np.asarray(treated.configuration.species)
    same = np.mean(species[:, 0] == species[:, 1])
    energies = []
    neighbors = build_pair_list(packing, 3.5)
    for labels in ([0, 0, 1, 1], [0, 1, 0, 1]):
        calm = jax.tree.map(lambda x: x[0], treated.configuration)
        energies.append(float(potential.energy(dataclasses.replace(calm, species=jnp.array(labels)), neighbors)))
    # Two ways to be alike, four to be mixed.
    weights = np.array([2.0, 4.0]) * np.exp(-np.array(energies) / temperature)
    expected = weights[0] / np.sum(weights)
    assert abs(same - expected) < 4.0 * np.sqrt(expected * (1.0 - expected) / count)
    assert np.all(np.sort(species, axis=1) == [0, 0, 1, 1])


def test_small_cycles_are_reversible_and_change_nothing():
    """Shear and compression of a minimum by less than what makes it rearrange, and back."""
    for name, settings in (("cyclic_shear", {"amplitude": 0.002}), ("compress", {"density": 1.002})):
        treatment = component("treatment", name)(strain_step=0.001, force_tolerance=1e-9, **settings)
        start = minimum().configuration
        treated = treatment.apply(HarmonicMorse(), start, key=jax.random.key(0))
        shift = treated.configuration.position - start.position
        assert np.max(np.abs(shift - jnp.mean(shift, axis=0)[None])) < 1e-6, name
        np.testing.assert_array_equal(treated.configuration.box, start.box)
        assert int(treated.statistics["evaluations"]) > 0
