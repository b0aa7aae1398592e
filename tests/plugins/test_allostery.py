"""Strain at one place answering strain at another: against forces that are really applied, and against NumPy."""

import dataclasses

import equinox as eqx
import glasswright as gw
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from glasswright.registry import registry
from glasswright.registry.parameters import parameters
from helpers import component, derivatives_of, solid_is_slow

SOURCE, TARGET = [0.2, 0.3, 0.6], [0.7, 0.4, 0.1]


def allosteric(**arguments):
    return component("property", "allosteric_response")(**arguments)


@pytest.fixture(scope="module")
def soft_spheres():
    """A jammed packing of N = 128 harmonic spheres whose small ones often rattle."""
    potential = component("potential", "soft_sphere")(diameter=[0.5, 1.4])
    protocol = component("protocol", "quench")()
    start = gw.System(n_particles=128, density=1.07).start(jax.random.key(5))
    prepared = protocol.prepare(potential, start, key=jax.random.key(0))
    assert prepared.accepted
    return protocol, potential, prepared


@eqx.filter_jit
def measured(protocol, potential, prepared, properties):
    state = protocol.attach(potential, prepared)
    return [prop.measure(state) for prop in properties]


def nearest_pair(configuration, interacts, place):
    """The pair of particles nearest to a place, by trying all pairs."""
    fractional, box = np.asarray(configuration.fractional), np.asarray(configuration.box)
    away = fractional - np.asarray(place)
    squared = np.sum(((away - np.rint(away)) @ box.T) ** 2, axis=1)
    i, j = np.triu_indices(len(fractional), 1)
    r = np.linalg.norm(np.asarray(configuration.displacement(jnp.asarray(i), jnp.asarray(j))), axis=1)
    score = np.where(interacts(i, j, r), squared[i] + squared[j], np.inf)
    best = int(np.argmin(score))
    return int(i[best]), int(j[best])


def interactions_of(reference):
    """Whether pairs of particles at these distances interact."""
    species, potential = np.asarray(reference.prepared.configuration.species), reference.potential
    diameter = np.asarray(potential.diameter)
    return lambda i, j, r: r < 0.5 * (diameter[species[i]] + diameter[species[j]]) + 9.9 / potential.inverse_range


def given_pairs(reference):
    """The pairs at the places of the source and of the target."""
    configuration, interacts = reference.prepared.configuration, interactions_of(reference)
    return [nearest_pair(configuration, interacts, place[: configuration.dimension]) for place in (SOURCE, TARGET)]


def bond(configuration, pair):
    vector = np.asarray(configuration.displacement(jnp.asarray([pair[0]]), jnp.asarray([pair[1]])))[0]
    return np.linalg.norm(vector), vector / np.linalg.norm(vector)


def by_numpy(potential, prepared, source, target):
    """The same ratio from the pseudo-inverse of the whole Hessian."""
    configuration = prepared.configuration
    hessian = np.asarray(potential.hessian(configuration, prepared.memory.neighbors))
    lengths, vectors = [], []
    for pair in (source, target):
        length, unit = bond(configuration, pair)
        vector = np.zeros(configuration.fractional.shape)
        vector[pair[0]], vector[pair[1]] = unit, -unit
        lengths.append(length)
        vectors.append(vector.reshape(-1))
    moved = np.linalg.pinv(hessian, rcond=1e-10, hermitian=True) @ vectors[0]
    return (vectors[1] @ moved / lengths[1]) / (vectors[0] @ moved / lengths[0])


@solid_is_slow
def test_places_and_pairs(reference):
    """Places name the nearest interacting pairs; the value is that of the pseudo-inverse."""
    configuration, d = reference.prepared.configuration, reference.prepared.configuration.dimension
    potential, interacts = reference.potential, interactions_of(reference)
    source, target = given_pairs(reference)
    assert source != target
    properties = [
        allosteric(source_position=SOURCE[:d], target_position=TARGET[:d]),
        allosteric(source_position=[x - 2.0 for x in SOURCE[:d]], target_position=[x + 1.0 for x in TARGET[:d]]),
        allosteric(source_pair=source, target_pair=target),
        allosteric(source_pair=source[::-1], target_pair=target[::-1]),
        allosteric(source_position=SOURCE[:d], target_position=SOURCE[:d]),
        allosteric(),
    ]
    values = [float(x) for x in measured(reference.protocol, potential, reference.prepared, properties)]
    expected = by_numpy(potential, reference.prepared, source, target)
    np.testing.assert_allclose(values[:4], expected, rtol=1e-8)
    assert values[4] == pytest.approx(1.0, rel=1e-12)

    # Left out: the shortest pair, and the one on the other side of the box.
    i, j = np.triu_indices(configuration.n_particles, 1)
    r = np.linalg.norm(np.asarray(configuration.displacement(jnp.asarray(i), jnp.asarray(j))), axis=1)
    shortest = int(i[np.argmin(r)]), int(j[np.argmin(r)])
    length, unit = bond(configuration, shortest)
    middle = np.asarray(configuration.position[shortest[0]]) - 0.5 * length * unit
    opposite = np.linalg.solve(np.asarray(configuration.box), middle) + 0.5
    answer = by_numpy(potential, reference.prepared, shortest, nearest_pair(configuration, interacts, opposite))
    assert values[5] == pytest.approx(answer, rel=1e-7)


def test_against_forces_that_are_applied(reference_2d):
    """A small pair of forces on the source, all particles relaxed under it: both lengths change as predicted."""
    potential, prepared = reference_2d.potential, reference_2d.prepared
    state, neighbors = reference_2d.state, prepared.memory.neighbors
    wanted = allosteric(source_position=SOURCE[:2], target_position=TARGET[:2])
    source, target = given_pairs(reference_2d)
    gradient = eqx.filter_jit(lambda configuration: potential.gradient(configuration, neighbors))
    solve = eqx.filter_jit(state.hessian.solve)

    def relaxed(size):
        configuration = prepared.configuration
        for _ in range(30):
            _, unit = bond(configuration, source)
            force = np.zeros(configuration.fractional.shape)
            force[source[0]], force[source[1]] = size * unit, -size * unit
            residual = jnp.asarray(force) - gradient(configuration)
            if jnp.max(jnp.abs(residual)) < 1e-14:
                break
            configuration = configuration.moved(solve(residual))
        assert jnp.max(jnp.abs(residual)) < 1e-13
        return np.array([bond(configuration, pair)[0] for pair in (source, target)])

    size = 1e-5
    strain = (relaxed(size) - relaxed(-size)) / relaxed(0.0)
    (value,) = measured(reference_2d.protocol, potential, prepared, [wanted])
    assert strain[1] / strain[0] == pytest.approx(float(value), rel=1e-6)


def test_gradient_at_given_places(reference_2d):
    """Central differences of the prepared system; the default is tested with all other properties."""
    source, target = given_pairs(reference_2d)
    properties = [
        allosteric(source_position=SOURCE[:2], target_position=TARGET[:2]),
        allosteric(source_pair=target, target_pair=source),
    ]
    slope, difference = derivatives_of(
        reference_2d, lambda state: jnp.stack([wanted.measure(state) for wanted in properties])
    )
    np.testing.assert_allclose(difference, slope, rtol=1e-5)


@pytest.mark.slow
def test_soft_spheres_and_rattlers(soft_spheres):
    """Only particles that touch are a pair that a place can name; rattlers do not respond."""
    protocol, potential, prepared = soft_spheres
    configuration = prepared.configuration
    species, diameter = np.asarray(configuration.species), np.asarray(potential.diameter)
    rattlers = np.flatnonzero(prepared.memory.hessian.rattler)
    assert len(rattlers) > 0

    def touch(i, j, r):
        return r < 0.5 * (diameter[species[i]] + diameter[species[j]])

    # A place inside a rattler names a pair beside it.
    place = np.asarray(configuration.fractional[rattlers[0]])
    source, target = (nearest_pair(configuration, touch, x) for x in (place, place + 0.5))
    assert not set(source + target) & set(rattlers.tolist())
    properties = [
        allosteric(source_position=place.tolist(), target_position=(place + 0.5).tolist()),
        allosteric(source_pair=[int(rattlers[0]), source[0]], target_pair=target),
        allosteric(source_pair=source, target_pair=[int(rattlers[0]), target[0]]),
    ]
    value, *none = measured(protocol, potential, prepared, properties)
    assert float(value) == pytest.approx(by_numpy(potential, prepared, source, target), rel=1e-7)
    assert all(np.isnan(x) for x in none)


def test_vmap_chooses_for_each(reference_2d):
    """Packings side by side: each has its own shortest pair."""
    configuration = reference_2d.prepared.configuration
    swapped = dataclasses.replace(configuration, species=1 - configuration.species)
    protocol, potential = reference_2d.protocol, reference_2d.potential
    other = protocol.prepare(potential, swapped, key=jax.random.key(0))
    assert other.accepted
    wanted = [allosteric(), allosteric(source_position=SOURCE[:2], target_position=TARGET[:2])]
    alone = [measured(protocol, potential, prepared, wanted) for prepared in (reference_2d.prepared, other)]
    i = jnp.maximum(reference_2d.prepared.memory.neighbors.capacity, other.memory.neighbors.capacity)
    bare = [
        (packing.configuration, _padded(packing.memory.neighbors, int(i)), packing.memory.hessian)
        for packing in (reference_2d.prepared, other)
    ]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *bare)

    def measure(configuration, neighbors, hessian):
        state = gw.attach_equilibrium(potential, configuration, neighbors, hessian)
        return [x.measure(state) for x in wanted]

    together = eqx.filter_jit(jax.vmap(measure))(*stacked)
    for k in range(2):
        np.testing.assert_allclose([x[k] for x in together], alone[k], rtol=1e-9)


def _padded(neighbors, capacity):
    more = capacity - neighbors.capacity
    i, j = (jnp.concatenate([x, jnp.zeros(more, x.dtype)]) for x in (neighbors.i, neighbors.j))
    return dataclasses.replace(neighbors, i=i, j=j)


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source_pair": [3, 3]}, r"source_pair=\[3, 3\]\): must be two different integers"),
        ({"target_pair": [3, -1]}, r"target_pair=\[3, -1\]\): must be two different integers"),
        ({"target_pair": [3.5, 1]}, r"target_pair=\[3.5, 1\]\): must be two different integers"),
        ({"target_pair": 3}, r"target_pair=\[3\]\): must be two different integers"),
        ({"source_position": 0.5}, r"source_position=\[0.5\]\): must be a number for each axis"),
        ({"source_position": [0.1, 0.2], "source_pair": [0, 1]}, r"source_pair=\[0, 1\]\): source_position is given"),
    ],
)
def test_what_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        allosteric(**arguments)


@pytest.mark.wrong_types
def test_what_is_refused_of_a_packing(reference_2d):
    with pytest.raises(ValueError, match=r"source_pair=\[0, 368\]\): there are 368 particles"):
        allosteric(source_pair=[0, 368]).measure(reference_2d.state)
    with pytest.raises(ValueError, match=r"target_position=\[0.1, 0.2, 0.3\]\): the box has 2 axes"):
        allosteric(target_position=[0.1, 0.2, 0.3]).measure(reference_2d.state)


def test_pairs_and_places_are_keys_of_the_command_line():
    kinds = {name: p.kind for name, p in parameters(registry().components("property")["allosteric_response"]).items()}
    assert kinds == dict.fromkeys(("source_position", "target_position", "source_pair", "target_pair"), "array")
