"""Sizes of pairs of species, and how potentials end at their cutoff."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from glasswright import Configuration
from glasswright.neighbors import build_pair_list
from glasswright.physics.disorder import draw_disorder, largest_disorder
from helpers import component

SMOOTHED = ("harmonic_morse", "inverse_power", "lennard_jones", "morse", "yukawa")
OF_SPECIES = (*SMOOTHED, "soft_sphere")
POLYNOMIALS = {"polynomial_1": 1, "polynomial_2": 2, "polynomial_3": 3}
ADDITIVE = {"diameter": [0.8, 1.0, 1.3], "pair_diameter": [[0.8, 0.9, 1.05], [0.9, 1.0, 1.15], [1.05, 1.15, 1.3]]}


def packing(n: int = 48, **disorder: float) -> Configuration:
    """Particles of three species on a square lattice, each a little off its place."""
    side = 7
    sites = np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing="ij"), axis=-1).reshape(-1, 2)[:n] / side
    noise = 0.02 * jax.random.normal(jax.random.key(1), (n, 2))
    fields = draw_disorder(jax.random.key(2), n, **({"polydispersity": 0.0, "heterogeneity": 0.0} | disorder))
    return Configuration(jnp.asarray(sites) + noise, 7.5 * jnp.eye(2), jnp.arange(n) % 3, fields)


@pytest.mark.parametrize(
    ("name", "disorder"),
    [("soft_sphere", {}), *((name, {"polydispersity": 0.1, "heterogeneity": 0.1}) for name in OF_SPECIES)],
)
def test_means_given_for_pairs_are_the_means_of_species(name, disorder):
    configuration = packing(**disorder)
    of_species = component("potential", name)(diameter=ADDITIVE["diameter"])
    of_pairs = component("potential", name)(pair_diameter=ADDITIVE["pair_diameter"])
    assert of_pairs.diameter is None
    np.testing.assert_array_equal(of_pairs.species_diameters, of_species.species_diameters)
    neighbors = build_pair_list(configuration, of_species.reach(configuration))

    @eqx.filter_jit
    def quantities(potential):
        return potential.energy_and_gradient(configuration, neighbors), potential.reach(configuration)

    (energy, gradient), reach = quantities(of_species)
    (pair_energy, pair_gradient), pair_reach = quantities(of_pairs)
    np.testing.assert_allclose(pair_energy, energy, rtol=1e-12)
    np.testing.assert_allclose(pair_gradient, gradient, rtol=1e-12, atol=1e-11)
    assert float(pair_reach) >= (1 - 1e-12) * float(reach)


def test_sizes_of_pairs_may_be_anything():
    """Kob-Andersen: unlike particles may come closer than the mean of their diameters."""
    potential = component("potential", "lennard_jones")(pair_diameter=[1.0, 0.8, 0.88], binding_energy=[1.0, 1.5, 0.5])
    assert potential.species_diameters.tolist() == [1.0, 0.88]
    assert float(potential.cutoff) == 2.5
    i, j = jnp.array([0, 0, 1, 1]), jnp.array([2, 1, 0, 3])
    configuration = Configuration(jnp.zeros((4, 2)), jnp.eye(2), jnp.array([0, 1, 0, 1]))
    size, energy = potential.pair_parameters(configuration, i, j)
    assert size.tolist() == [1.0, 0.8, 0.8, 0.88]
    assert energy.tolist() == [1.0, 1.5, 1.5, 0.5]


def test_no_pair_is_beyond_the_reach_of_disordered_sizes():
    configuration = packing(polydispersity=0.2)
    potential = component("potential", "soft_sphere")(pair_diameter=[0.8, 1.4, 1.05, 1.0, 1.15, 1.3])
    i, j = np.triu_indices(configuration.n_particles, 1)
    sizes, _ = jax.jit(lambda c: potential.pair_parameters(c, jnp.asarray(i), jnp.asarray(j)))(configuration)
    assert float(jnp.max(sizes)) <= float(potential.reach(configuration))
    largest = Configuration(jnp.zeros((3, 2)), jnp.eye(2), jnp.arange(3), largest_disorder(3, polydispersity=0.2))
    assert float(potential.reach(configuration)) <= float(potential.reach(largest))


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"diameter": 1.0, "pair_diameter": 1.0}, "two ways to give the same thing"),
        ({"pair_diameter": [1.0, -0.8, 0.88]}, r"pair_diameter=\[1.0, -0.8, 0.88\]\): must be positive"),
        ({"pair_diameter": [1.0, 0.8]}, "packed upper triangle of 1 numbers"),
        ({"pair_diameter": [[1.0, 0.8], [0.7, 1.0]]}, "the matrix must be symmetric"),
        (
            {"smoothing": "c3"},
            r"lennard_jones\(smoothing='c3'\): must be one of xplor, polynomial_1, polynomial_2, polynomial_3",
        ),
        ({"onset_ratio": 3.0}, "the onset must come before the cutoff"),
    ],
)
def test_what_cannot_be_meant_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        component("potential", "lennard_jones")(**options)


def single_species(name: str, smoothing: str):
    return component("potential", name)(n_species=1, diameter=1.0, smoothing=smoothing)


def derivatives(potential, distances: np.ndarray, highest: int) -> np.ndarray:
    """The energy of a pair and its derivatives up to the highest (rows) at distances (columns)."""
    pair = Configuration(jnp.zeros((2, 2)), jnp.eye(2), jnp.zeros(2, dtype=int))

    @jax.jit
    def compute(distances):
        parameters = jax.tree.map(lambda x: x[0], potential.pair_parameters(pair, jnp.array([0]), jnp.array([1])))
        functions = [lambda r: potential.pair_energy(r, parameters)]
        for _ in range(highest):
            functions.append(jax.grad(functions[-1]))
        return jnp.stack([jax.vmap(function)(distances) for function in functions])

    return np.asarray(compute(jnp.asarray(distances)))


@pytest.mark.parametrize("smoothing", POLYNOMIALS)
@pytest.mark.parametrize("name", SMOOTHED)
def test_polynomials_bring_the_energy_and_derivatives_to_zero(name, smoothing):
    """Value and `q` derivatives go to zero at the cutoff as fast as their order says; the next one jumps."""
    potential, q = single_species(name, smoothing), POLYNOMIALS[smoothing]
    cutoff = float(potential.cutoff)
    numbers = derivatives(potential, cutoff * np.array([1.0 - 1e-3, 1.0 - 1e-4, 1.0 + 1e-9]), q + 1)
    assert np.all(numbers[:, 2] == 0.0)
    assert abs(numbers[q + 1, 1]) > 1e-5
    for k in range(max(q - 2, 0), q + 1):
        # V^(k) goes to zero with the power q + 1 - k of the distance from the cutoff.
        np.testing.assert_allclose(numbers[k, 0] / numbers[k, 1], 10.0 ** (q + 1 - k), rtol=0.05)


@pytest.mark.parametrize("smoothing", ["xplor", *POLYNOMIALS])
def test_third_derivatives_are_continuous_with_c3(smoothing):
    """On a fine grid across the cutoff no step of the third derivative is larger than its slope explains."""
    potential = single_species("lennard_jones", smoothing)
    grid = float(potential.cutoff) * (1.0 + np.linspace(-1e-4, 1e-4, 2001))
    largest_step = np.max(np.abs(np.diff(derivatives(potential, grid, 3)[3])))
    assert largest_step < 1e-6 if smoothing == "polynomial_3" else largest_step > 1e-2


@pytest.mark.parametrize("smoothing", POLYNOMIALS)
@pytest.mark.parametrize("name", SMOOTHED)
def test_a_polynomial_is_even_and_added_everywhere(name, smoothing):
    """The difference of a potential and itself without cutoff is a polynomial in the squared distance."""
    potential = single_species(name, smoothing)
    r = np.linspace(1.05, 0.999 * float(potential.cutoff), 12)
    uncut = potential.uncut_energy(jnp.asarray(r), jnp.ones(12), jnp.full(12, potential.binding_energy[0]))
    difference = derivatives(potential, r, 0)[0] - np.asarray(uncut)
    fitted = np.polynomial.Polynomial.fit(r**2, difference, POLYNOMIALS[smoothing])(r**2)
    np.testing.assert_allclose(fitted, difference, atol=1e-12)
