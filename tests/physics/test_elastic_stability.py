"""Packings that are stable in their box, and not against a strain of it."""

import glasswright as gw
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import component

Quench = component("protocol", "quench")
HarmonicMorse = component("potential", "harmonic_morse")
# Small boxes have more of them.
SYSTEM = gw.System(n_particles=64)
COUNT = 48


@pytest.fixture(scope="module")
def potential():
    return HarmonicMorse(binding_energy=[0.16, 0.17, 0.07])


@pytest.fixture(scope="module")
def starts():
    return jax.vmap(SYSTEM.start)(jax.random.split(jax.random.key(3), COUNT))


@pytest.fixture(scope="module")
def packings(potential, starts):
    return [Quench().prepare(potential, jax.tree.map(lambda x, k=k: x[k], starts)) for k in range(COUNT)]


@pytest.fixture(scope="module")
def softest(potential, packings):
    attach = jax.jit(lambda prepared: gw.eigenmoduli(Quench().attach(potential, prepared).elastic_tensor)[0])
    return np.array([float(attach(packing)) for packing in packings])


def test_eigenmoduli_are_those_of_an_isotropic_solid():
    """`d K` once, `2 G` for every other strain; the energy of each strain is half of it."""
    for d, count in ((2, 2), (3, 5)):
        bulk, shear = 2.3, 0.4
        identity = np.eye(d)
        tensor = (bulk - 2.0 * shear / d) * np.einsum("ij,kl->ijkl", identity, identity) + shear * (
            np.einsum("ik,jl->ijkl", identity, identity) + np.einsum("il,jk->ijkl", identity, identity)
        )
        np.testing.assert_allclose(gw.eigenmoduli(jnp.asarray(tensor)), [2.0 * shear] * count + [d * bulk], rtol=1e-13)


def test_eigenmoduli_bound_the_energy_of_every_strain():
    random = np.random.default_rng(0)
    square = random.standard_normal((9, 9))
    tensor = (square @ square.T).reshape(3, 3, 3, 3)
    tensor = tensor + tensor.transpose(1, 0, 2, 3)
    tensor = tensor + tensor.transpose(0, 1, 3, 2)
    tensor = tensor + tensor.transpose(2, 3, 0, 1)
    moduli = gw.eigenmoduli(jnp.asarray(tensor))
    for _ in range(50):
        strain = random.standard_normal((3, 3))
        strain = strain + strain.T
        stiffness = np.einsum("ij,ijkl,kl->", strain, tensor, strain) / np.sum(strain**2)
        assert moduli[0] - 1e-9 < stiffness < moduli[-1] + 1e-9


def test_only_what_a_strain_would_break_is_rejected(potential, starts, packings, softest):
    assert all(packing.accepted for packing in packings)
    broken = softest <= 0.0
    assert 0 < np.sum(broken) < COUNT // 2
    for k in [*np.flatnonzero(broken)[:3], *np.flatnonzero(~broken)[:3]]:
        prepared = Quench(stability="elastic").prepare(potential, jax.tree.map(lambda x, k=k: x[k], starts))
        np.testing.assert_array_equal(prepared.configuration.fractional, packings[k].configuration.fractional)
        assert gw.Outcome(int(prepared.outcome)) == (gw.Outcome.unstable if broken[k] else gw.Outcome.converged)


@pytest.mark.slow
def test_many_at_once_are_classified_likewise(potential, starts):
    batch = jax.tree.map(lambda x: x[:16], starts)
    protocol = Quench(stability="elastic")
    prepared = protocol.prepare_many(potential, batch, width=16)
    lowest_modulus = jax.jit(
        jax.vmap(lambda packing: gw.eigenmoduli(protocol.attach(potential, packing).elastic_tensor)[0])
    )
    lowest = lowest_modulus(gw.Prepared(prepared.configuration, memory=prepared.memory, outcome=prepared.outcome))
    np.testing.assert_array_equal(np.asarray(prepared.outcome) == gw.Outcome.converged, np.asarray(lowest) > 0.0)
    assert set(np.asarray(prepared.outcome)) <= {gw.Outcome.converged, gw.Outcome.unstable}


def test_strained_bounds_hold_for_accepted_packings(potential, packings, softest):
    """Poisson's ratio lies within its bounds where no strain lowers the energy."""
    ratios = jax.jit(lambda prepared: gw.poisson_ratio(Quench().attach(potential, prepared).elastic_tensor))
    for packing, modulus in zip(packings, softest, strict=True):
        if modulus > 0.0:
            assert -1.0 <= float(ratios(packing)) <= 1.0


def test_clusters_that_float_free_have_no_poisson_ratio():
    """All moduli are zero: what rounding leaves of them must not be divided by each other."""
    s, box = 1.0, 12.0
    potential = component("potential", "morse")(n_species=1, diameter=s, binding_energy=0.3)
    angles = [0.3 + 2.0 * np.pi * k / 3 for k in range(3)]
    triangle = s / np.sqrt(3.0) * np.array([[np.cos(angle), np.sin(angle)] for angle in angles])
    position = np.concatenate([triangle + 2.5, triangle @ [[0.6, 0.8], [-0.8, 0.6]] + 8.1])
    configuration = gw.Configuration(jnp.asarray(position / box), box * jnp.eye(2), jnp.zeros(6, dtype=int))
    prepared = component("protocol", "quench")().prepare(potential, configuration)
    assert prepared.accepted
    state = component("protocol", "quench")().attach(potential, prepared)
    assert np.max(np.abs(state.potential.hessian(state.configuration, state.neighbors))) > 1.0
    np.testing.assert_array_equal(state.elastic_tensor, 0.0)
    assert np.isnan(component("property", "poisson_ratio")().measure(state))
    assert component("property", "bulk_modulus")().measure(state) == 0.0
