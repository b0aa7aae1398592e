"""What each bond contributes to the moduli: exact sums, an independent calculation, what it means."""

import dataclasses

import equinox as eqx
import glasswright as gw
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from glasswright.neighbors import build_pair_list
from helpers import component, derivatives_of

MODULI = {"bulk": gw.bulk_modulus, "shear": gw.shear_modulus}


@eqx.filter_jit
def all_at_once(protocol, potential, prepared):
    """Contributions, moduli and response of one packing."""
    state = protocol.attach(potential, prepared)
    bonds = state.bond_contributions
    return bonds, {name: modulus(state.elastic_tensor) for name, modulus in MODULI.items()}, state.response


def prepared_soft_spheres(dimension):
    """A jammed packing of N = 128 harmonic spheres whose small ones often rattle."""
    potential = component("potential", "soft_sphere")(diameter=[0.5, 1.4])
    protocol = component("protocol", "quench")()
    density = 1.07 if dimension == 2 else 0.95
    start = gw.System(n_particles=128, density=density, dimension=dimension).start(jax.random.key(5))
    prepared = protocol.prepare(potential, start, key=jax.random.key(0))
    assert prepared.accepted
    return protocol, potential, prepared


@pytest.fixture(scope="module", params=[2, pytest.param(3, marks=pytest.mark.slow)])
def soft_spheres(request):
    return prepared_soft_spheres(request.param)


def check_sums(bonds, moduli):
    """To 1e-10 of the modulus, although contributions of both signs cancel in it."""
    assert float(jnp.sum(bonds.bulk)) == pytest.approx(float(moduli["bulk"]), rel=1e-10)
    assert float(jnp.sum(bonds.shear)) == pytest.approx(float(moduli["shear"]), rel=1e-10)
    outside = ~np.asarray(bonds.mask)
    assert not np.any(np.asarray(bonds.bulk)[outside])
    assert not np.any(np.asarray(bonds.shear)[outside])


def test_contributions_sum_to_the_moduli(reference):
    bonds, moduli, _ = all_at_once(reference.protocol, reference.potential, reference.prepared)
    check_sums(bonds, moduli)
    assert float(moduli["bulk"]) == pytest.approx(reference.data["value"]["bulk_modulus"], rel=1e-8)
    assert jnp.min(bonds.bulk) < 0.0 < jnp.max(bonds.bulk)


def test_contributions_of_soft_spheres(soft_spheres):
    """Another potential; its list also holds pairs that do not touch, and those are no bonds."""
    bonds, moduli, _ = all_at_once(*soft_spheres)
    check_sums(bonds, moduli)
    _, potential, prepared = soft_spheres
    i, j = bonds.i, bonds.j
    s = 0.5 * (
        potential.diameter[prepared.configuration.species[i]] + potential.diameter[prepared.configuration.species[j]]
    )
    np.testing.assert_array_equal(bonds.mask, (bonds.distance < s) & (i != j))
    assert 0 < int(jnp.sum(bonds.mask)) < int(jnp.sum(prepared.memory.neighbors.mask))


def test_each_contribution_is_the_second_derivative_of_its_bond(reference):
    """Central differences of the energy of single bonds along strain and response together, in plain NumPy."""
    bonds, _, response = all_at_once(reference.protocol, reference.potential, reference.prepared)
    configuration = reference.prepared.configuration
    d, volume = configuration.dimension, float(configuration.volume)
    mask = np.asarray(bonds.mask)
    # The strongest bonds, and some others.
    chosen = np.concatenate([np.argsort(-np.abs(bonds.bulk))[:20], np.flatnonzero(mask)[::500]])
    i, j = bonds.i[chosen], bonds.j[chosen]
    r, u = np.asarray(configuration.displacement(i, j)), np.asarray(response[:, i] - response[:, j])
    parameters = reference.potential.pair_parameters(configuration, i, j)
    energy = jax.vmap(reference.potential.pair_energy)

    def second(strain, move):
        # Far below the distance to a kink for most bonds; those that cross one are left out.
        h = 1e-5

        def along(amplitude):
            return np.linalg.norm(r + amplitude * (r @ strain.T + move), axis=1)

        ends = [np.asarray(energy(jnp.asarray(along(k * h)), parameters)) for k in (-1, 0, 1)]
        return (ends[0] - 2.0 * ends[1] + ends[2]) / h**2 / volume

    axes = np.eye(d)
    bulk = second(axes / d, np.mean(u[:d], axis=0))
    # Pure shears between all pairs of axes, and simple ones: `e : e = 1/2`. Of the three pure ones of three dimensions
    # each counts 2/3, because they overlap.
    pairs = [(a, b) for a in range(d) for b in range(a + 1, d)]
    pure = [second(0.5 * np.diag(axes[a] - axes[b]), 0.5 * (u[a] - u[b])) for a, b in pairs]
    simple = [
        second(0.5 * (np.outer(axes[a], axes[b]) + np.outer(axes[b], axes[a])), u[d + k])
        for k, (a, b) in enumerate(pairs)
    ]
    shear = (np.sum(pure, axis=0) * (d - 1) / len(pairs) + np.sum(simple, axis=0)) / (d - 1 + len(pairs))
    # A second difference of the step 1e-5 has an error of 1e-6 by rounding, in units of energy over volume.
    scale = float(jnp.max(jnp.abs(bonds.bulk)))
    s = np.asarray(parameters[0])
    near_kink = np.min(
        [
            np.abs(np.asarray(bonds.distance)[chosen] - s - x / reference.potential.inverse_range)
            for x in (0.0, 5.0, 9.9)
        ],
        axis=0,
    )
    clear = near_kink > 1e-4
    assert np.sum(clear) > 20
    np.testing.assert_allclose(bulk[clear], np.asarray(bonds.bulk)[chosen][clear], rtol=1e-4, atol=1e-4 * scale)
    np.testing.assert_allclose(shear[clear], np.asarray(bonds.shear)[chosen][clear], rtol=1e-4, atol=1e-4 * scale)


@pytest.mark.wrong_types
@pytest.mark.parametrize("modulus", ["bulk", "shear"])
def test_the_measure_is_the_number_of_carrying_bonds_per_particle(modulus, reference_2d):
    wanted = component("property", "bond_contributions")(modulus=modulus)

    @dataclasses.dataclass
    class State:
        configuration: gw.Configuration
        bond_contributions: dict

    def measured(share):
        bonds = dataclasses.make_dataclass("Bonds", [modulus])(jnp.asarray(share))
        return float(wanted.measure(State(reference_2d.configuration, bonds)))

    n = reference_2d.configuration.n_particles
    assert measured([0.3] * (2 * n) + [0.0] * 77) == pytest.approx(2.0, rel=1e-12)
    assert measured([0.0] * n + [-5.0]) == pytest.approx(1.0 / n, rel=1e-12)
    values = np.random.default_rng(0).normal(size=1000)
    assert measured(1e-3 * values) == pytest.approx(measured(values), rel=1e-12)


@pytest.mark.slow
def test_bulk_and_shear_against_central_differences(reference_2d):
    """Also of single contributions: the response moves with the potential, and the derivative knows."""
    wanted = [component("property", "bond_contributions")(modulus=modulus) for modulus in MODULI]
    bonds = jnp.argsort(-jnp.abs(reference_2d.state.bond_contributions.bulk))[:10]

    def values(state):
        measured = jnp.stack([prop.measure(state) for prop in wanted])
        contributions = state.bond_contributions
        return jnp.concatenate([measured, contributions.bulk[bonds], contributions.shear[bonds]])

    slopes, difference = derivatives_of(reference_2d, values)
    scale = jnp.concatenate([jnp.abs(slopes[:2]), jnp.full(20, jnp.max(jnp.abs(slopes[2:])))])
    assert jnp.all(jnp.abs(difference - slopes) < 1e-5 * scale)


@pytest.mark.wrong_types
def test_what_is_refused(reference_2d):
    with pytest.raises(ValueError, match="bond_contributions\\(modulus='young'\\): must be bulk or shear"):
        component("property", "bond_contributions")(modulus="young")

    class Triplets(gw.AbstractPotential):
        @property
        def cutoff(self):
            return jnp.asarray(1.0)

        def energy(self, configuration, neighbors):
            return jnp.sum(configuration.fractional**3)

    configuration = reference_2d.configuration
    state = gw.Equilibrium(Triplets(), configuration, build_pair_list(configuration, 1.0), reference_2d.state.hessian)
    with pytest.raises(ValueError, match=r"Triplets is no sum over pairs.*AbstractPairPotential"):
        component("property", "bond_contributions")().measure(state)
