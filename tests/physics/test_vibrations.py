"""Normal modes: against an independent Hessian in plain NumPy, and derivatives that survive repeated frequencies."""

import math

import equinox as eqx
import glasswright as gw
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from glasswright.neighbors import build_pair_list
from glasswright.relax import factor_pinning_zero_modes
from helpers import component, derivatives_of


def harmonic_morse(potential, r, s, energy):
    """`V'` and `V''` of the paper's potential, by hand."""
    k, a = potential.stiffness, potential.inverse_range
    onset, cutoff = s + 5.0 / a, s + 9.9 / a
    decay = np.exp(-a * (r - s))
    morse = energy * (decay**2 - 2.0 * decay)
    first, second = (
        energy * (-2.0 * a * decay**2 + 2.0 * a * decay),
        energy * (4.0 * a**2 * decay**2 - 2.0 * a**2 * decay),
    )
    x, o, c = r**2, onset**2, cutoff**2
    third_power = (c - o) ** 3
    smooth = (c - x) ** 2 * (c + 2.0 * x - 3.0 * o) / third_power
    slope = (-2.0 * (c - x) * (c + 2.0 * x - 3.0 * o) + 2.0 * (c - x) ** 2) / third_power
    curvature = (2.0 * (c + 2.0 * x - 3.0 * o) - 8.0 * (c - x)) / third_power
    by_r, by_rr = 2.0 * r * slope, 2.0 * slope + 4.0 * x * curvature
    inner = r < onset
    smooth, by_r, by_rr = np.where(inner, 1.0, smooth), np.where(inner, 0.0, by_r), np.where(inner, 0.0, by_rr)
    outside = [first * smooth + morse * by_r, second * smooth + 2.0 * first * by_r + morse * by_rr]
    repulsion = [k * (r - s), np.full_like(r, k)]
    return [
        np.where(r < s, core, np.where(r < cutoff, tail, 0.0)) for core, tail in zip(repulsion, outside, strict=True)
    ]


def soft_sphere(potential, r, s, energy):
    """`V'` and `V''` of harmonic spheres."""
    touching = r < s
    return np.where(touching, -energy / s * (1.0 - r / s), 0.0), np.where(touching, energy / s**2, 0.0)


def independent_hessian(potential, derivatives, configuration):
    """Block by block from all pairs, and which particles nobody touches."""
    fractional, box = np.asarray(configuration.fractional), np.asarray(configuration.box)
    species = np.asarray(configuration.species)
    diameter, energies = np.asarray(potential.diameter), np.asarray(potential.binding_energy)
    packed = np.zeros((len(diameter), len(diameter)))
    packed[np.triu_indices(len(diameter))] = energies
    packed = np.triu(packed) + np.triu(packed, 1).T
    n, d = fractional.shape
    blocks, force = np.zeros((n, n, d, d)), np.zeros((n, d))
    for i in range(n):
        difference = fractional[i] - fractional
        vector = (difference - np.rint(difference)) @ box.T
        r = np.linalg.norm(vector, axis=1)
        r[i] = np.inf
        near = np.flatnonzero(r < float(potential.cutoff))
        r, normal = r[near], vector[near] / r[near, None]
        s = 0.5 * (diameter[species[i]] + diameter[species[near]])
        first, second = derivatives(potential, r, s, packed[species[i], species[near]])
        outer = normal[:, :, None] * normal[:, None, :]
        stiffness = second[:, None, None] * outer + (first / r)[:, None, None] * (np.eye(d) - outer)
        blocks[i, near] = -stiffness
        blocks[i, i] = np.sum(stiffness, axis=0)
        force[i] = -np.sum(first[:, None] * normal, axis=0)
    assert np.max(np.abs(force)) < 1e-11
    rattler = ~np.any(blocks[np.arange(n), np.arange(n)], axis=(1, 2))
    return blocks.transpose(0, 2, 1, 3).reshape(n * d, n * d), rattler


def prepared_soft_spheres(dimension):
    """A jammed packing of N = 128 harmonic spheres; small ones rattle between large ones."""
    potential = component("potential", "soft_sphere")(diameter=[0.5, 1.4])
    protocol = component("protocol", "quench")()
    start = gw.System(n_particles=128, density=1.07 if dimension == 2 else 0.95, dimension=dimension).start(
        jax.random.key(5)
    )
    prepared = protocol.prepare(potential, start, key=jax.random.key(0))
    assert prepared.accepted
    return protocol, potential, prepared


@eqx.filter_jit
def vibrations(protocol, potential, prepared, properties):
    state = protocol.attach(potential, prepared)
    modes = state.vibrations
    return (modes.frequency, modes.is_vibration, modes.participation_ratio), [
        prop.measure(state) for prop in properties
    ]


@pytest.fixture(
    scope="module",
    params=[
        "harmonic_morse 2d",
        pytest.param("harmonic_morse 3d", marks=pytest.mark.slow),
        pytest.param("soft_sphere 2d", marks=pytest.mark.slow),
        "soft_sphere 3d",
    ],
)
def packing(request):
    name, dimension = request.param.split()
    if name == "soft_sphere":
        return (*prepared_soft_spheres(int(dimension[0])), soft_sphere)
    from helpers import PACKINGS, reference_packing

    reference = reference_packing(PACKINGS[0 if dimension == "2d" else 1])
    return reference.protocol, reference.potential, reference.prepared, harmonic_morse


def test_against_an_independent_hessian(packing):
    """Frequencies, density of states and participation ratios are those of `numpy.linalg.eigh`."""
    protocol, potential, prepared, derivatives = packing
    configuration = prepared.configuration
    n, d = configuration.fractional.shape
    hessian, rattler = independent_hessian(potential, derivatives, configuration)
    if derivatives is soft_sphere:
        assert np.sum(rattler) > 0
    eigenvalues, vectors = np.linalg.eigh(hessian)
    # A particle that just touches a single other one is no rattler, and still moves sideways at no cost.
    n_zero = int(np.sum(eigenvalues < 1e-10 * eigenvalues[-1]))
    assert n_zero >= d * (1 + int(np.sum(rattler)))
    assert np.all(np.abs(eigenvalues[:n_zero]) < 1e-12 * eigenvalues[-1])
    expected = np.sqrt(eigenvalues[n_zero:])
    top = float(expected[-1])
    states = component("property", "density_of_states")(maximum=1.1 * top, n_points=160, width=0.03 * top)
    every = component("property", "participation_ratio")()
    window = component("property", "participation_ratio")(frequency=0.3 * top, width=0.1 * top)
    properties = [states, every, window]
    (frequency, is_vibration, participation), values = vibrations(protocol, potential, prepared, properties)
    assert int(np.sum(~is_vibration)) == n_zero
    np.testing.assert_allclose(frequency[is_vibration], expected, rtol=1e-9)
    assert not np.any(frequency[~is_vibration])

    grid, width = (np.arange(160) + 0.5) * 1.1 * top / 160, 0.03 * top
    counted = [np.sum(np.exp(-0.5 * ((w - expected) / width) ** 2)) for w in grid]
    np.testing.assert_allclose(
        values[0], np.array(counted) / (width * math.sqrt(2.0 * math.pi) * len(expected)), rtol=1e-9
    )
    # Of each Gaussian the part above zero.
    above = np.mean([0.5 * (1.0 + math.erf(w / width / math.sqrt(2.0))) for w in expected])
    assert float(np.sum(values[0])) * (grid[1] - grid[0]) == pytest.approx(above, abs=1e-4)

    squared = np.sum(vectors[:, n_zero:].reshape(n, d, -1) ** 2, axis=1)
    ratio = 1.0 / (n * np.sum(squared**2, axis=0))
    # Vectors are as exact as their eigenvalue is far from the next one.
    np.testing.assert_allclose(np.asarray(participation)[np.asarray(is_vibration)], ratio, rtol=1e-7)
    assert np.all((ratio > 1.0 / n) & (ratio < 1.0))
    assert float(values[1]) == pytest.approx(np.mean(ratio), rel=1e-9)
    weight = np.exp(-0.5 * ((expected - 0.3 * top) / (0.1 * top)) ** 2)
    assert float(values[2]) == pytest.approx(np.sum(weight * ratio) / np.sum(weight), rel=1e-9)


def test_gradients_of_a_window_against_central_differences(reference_2d):
    """The parameters that the defaults do not exercise, and single frequencies and participation ratios."""
    window = component("property", "participation_ratio")(frequency=1.0, width=0.2)
    states = component("property", "density_of_states")(maximum=3.0, n_points=7, width=0.05)
    # The ten softest of the vibrations, which follow two translations.
    softest = slice(2, 12)

    def values(state):
        modes = state.vibrations
        single = [modes.frequency[softest], modes.participation_ratio[softest]]
        return jnp.concatenate([window.measure(state)[None], states.measure(state), *single])

    slopes, difference = derivatives_of(reference_2d, values)
    np.testing.assert_allclose(difference, slopes, rtol=1e-5, atol=1e-5 * float(jnp.max(jnp.abs(slopes))))


@pytest.mark.slow
def test_repeated_frequencies():
    """Two equal dimers float free: the density of states has its derivative, and modes of their own do not exist."""
    s, a, energy, box = 1.0, 5.0, 0.3, 12.0
    potential = component("potential", "morse")(n_species=1, diameter=s, binding_energy=energy, inverse_range=a)
    position = jnp.array([[0.0, 0.0], [s, 0.0], [5.0, 5.0], [5.0, 5.0 + s]])
    configuration = gw.Configuration(position / box, box * jnp.eye(2), jnp.zeros(4, dtype=int))
    neighbors = build_pair_list(configuration, 3.5)
    hessian, zero_modes = factor_pinning_zero_modes(potential, configuration, neighbors)
    assert bool(hessian.is_stable)
    # Both rotations, and the dimers' distance from each other; translations of everything are not counted.
    assert int(zero_modes) == 4
    states = component("property", "density_of_states")(maximum=12.0, n_points=12, width=1.0)

    def attached(energy):
        moved = eqx.tree_at(lambda p: p.binding_energy, potential, energy[None])
        return gw.attach_equilibrium(moved, configuration, neighbors, hessian)

    def value(energy):
        return states.measure(attached(energy))

    def expected(energy):
        # The relative motion of two masses of one has half their mass, and `V'' = 2 a² e`.
        frequency = jnp.sqrt(4.0 * a**2 * energy)
        return jnp.exp(-0.5 * (jnp.asarray(states.grid) - frequency) ** 2) / math.sqrt(2.0 * math.pi)

    energy = jnp.asarray(energy)
    modes = attached(energy).vibrations
    assert int(modes.n_vibrations) == 2
    np.testing.assert_allclose(modes.frequency[-2:], math.sqrt(4.0 * a**2 * 0.3), rtol=1e-12)
    np.testing.assert_allclose(value(energy), expected(energy), rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(jax.jacrev(value)(energy), jax.jacfwd(expected)(energy), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(jax.jacfwd(value)(energy), jax.jacfwd(expected)(energy), rtol=1e-9, atol=1e-12)
    assert jnp.isnan(component("property", "participation_ratio")().measure(attached(energy)))


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("density_of_states", {"maximum": 0.0}, r"density_of_states\(maximum=0.0\): must be positive"),
        ("density_of_states", {"n_points": 0}, r"density_of_states\(n_points=0\): must be at least 1"),
        ("density_of_states", {"width": -0.1}, r"density_of_states\(width=-0.1\): must be positive"),
        ("participation_ratio", {"frequency": -1.0}, r"participation_ratio\(frequency=-1.0\): must be finite"),
        ("participation_ratio", {"width": 0.0}, r"participation_ratio\(width=0.0\): must be positive"),
    ],
)
def test_what_is_refused(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        component("property", name)(**arguments)
