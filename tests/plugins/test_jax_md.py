"""jax-md's energy functions as a potential, and our elastic moduli against jax-md's."""

import functools

import equinox as eqx
import glasswright as gw
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from glasswright.neighbors import build_pair_list
from helpers import component

JaxMD = component("potential", "jax_md")
Quench = component("protocol", "quench")
LennardJones = component("potential", "lennard_jones")
SoftSphere = component("potential", "soft_sphere")


def energy_and_gradient(potential, configuration):
    neighbors = build_pair_list(configuration, float(potential.reach(configuration)) + 0.1)
    return potential.energy_and_gradient(configuration, neighbors)


SOFT = SoftSphere(diameter=(0.8, 1.0), binding_energy=(1.0, 1.3, 0.7), exponent=2.5)
SOFT_THERE = {"sigma": [[0.8, 0.9], [0.9, 1.0]], "epsilon": [1.0, 1.3, 0.7], "alpha": 2.5}
LENNARD = LennardJones(n_species=1, diameter=0.9, binding_energy=1.2)
LENNARD_THERE = {"sigma": 0.9, "epsilon": 1.2}


@pytest.mark.parametrize(
    ("ours", "function", "parameters", "options"),
    [
        (
            LennardJones(n_species=1, diameter=0.9, binding_energy=1.2, smoothing="polynomial_2"),
            "lennard_jones",
            LENNARD_THERE,
            {"cutoff": 2.25, "smoothing": "polynomial_2"},
        ),
        (SOFT, "soft_sphere", SOFT_THERE, {"n_species": 2}),
        (SOFT, "soft_sphere", SOFT_THERE | {"sigma": [0.8, 1.0]}, {"n_species": 2}),
        (LENNARD, "lennard_jones", LENNARD_THERE, {"cutoff": 2.25, "onset": 1.8}),
    ],
)
def test_functions_of_a_distance_are_ours(ours, function, parameters, options):
    """Energies and forces of a packing that was relaxed a little, so that no distance is too small."""
    there = JaxMD(function, parameters, **options)
    assert float(there.cutoff) == pytest.approx(float(ours.cutoff), rel=1e-15)
    # A lattice with noise, whose particles keep apart.
    side = jnp.stack(jnp.meshgrid(jnp.arange(12.0), jnp.arange(12.0)), axis=-1).reshape(-1, 2) / 12.0
    noise = 0.02 * jax.random.normal(jax.random.key(1), side.shape)
    species = jnp.arange(144) % ours.diameter.shape[0]
    configuration = gw.Configuration(side + noise, 9.5 * jnp.eye(2), species)
    mine, theirs = energy_and_gradient(ours, configuration), energy_and_gradient(there, configuration)
    assert float(mine[0]) != 0.0
    np.testing.assert_allclose(theirs[0], mine[0], rtol=1e-12)
    np.testing.assert_allclose(theirs[1], mine[1], atol=1e-11 * float(jnp.max(jnp.abs(mine[1]))))


@pytest.mark.parametrize("name", ["lennard_jones", pytest.param("soft_sphere", marks=pytest.mark.slow)])
def test_moduli_are_those_of_jax_md(name):
    """The elastic tensor of a relaxed packing against `athermal_moduli`, with jax-md's own energy and space."""
    from jax_md import elasticity, energy, space  # ten seconds, which only the process that runs this file spends

    if name == "lennard_jones":
        potential, configuration = (
            LENNARD,
            gw.System(n_particles=128, n_species=1, density=1.2).start(jax.random.key(4)),
        )
        make = functools.partial(energy.lennard_jones_pair, sigma=jnp.asarray(0.9), epsilon=jnp.asarray(1.2))
    else:
        potential, configuration = SoftSphere(diameter=(0.8, 1.0)), gw.System(n_particles=128).start(jax.random.key(4))
        sigma = jnp.asarray([[0.8, 0.9], [0.9, 1.0]])
        make = functools.partial(
            energy.soft_sphere_pair, species=np.asarray(configuration.species), sigma=sigma, alpha=jnp.asarray(2.0)
        )
    protocol = Quench()
    prepared = protocol.prepare(potential, configuration)
    assert prepared.accepted
    ours = protocol.attach(potential, prepared).elastic_tensor
    packing = prepared.configuration
    displacement, _ = space.periodic_general(packing.box, fractional_coordinates=True)
    moduli = elasticity.athermal_moduli(make(displacement), tether_strength=1e-12, cg_tol=1e-12, check_convergence=True)
    wrapped = packing.fractional - jnp.floor(packing.fractional)
    theirs, converged = jax.jit(lambda position: moduli(position, packing.box))(wrapped)
    assert bool(converged)
    np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-8 * float(jnp.max(jnp.abs(theirs))))
    assert float(gw.bulk_modulus(theirs)) > 0.0


def diamond(repeats: int = 2, constant: float = 5.431) -> gw.Configuration:
    """Silicon, each atom moved a little."""
    cell = np.array([[0, 0, 0], [0, 2, 2], [2, 0, 2], [2, 2, 0], [1, 1, 1], [1, 3, 3], [3, 1, 3], [3, 3, 1]]) / 4
    corners = np.stack(np.meshgrid(*[np.arange(repeats)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    fractional = (cell[None] + corners[:, None]).reshape(-1, 3) / repeats
    noise = 0.004 * jax.random.normal(jax.random.key(0), fractional.shape)
    box = constant * repeats * jnp.eye(3)
    return gw.Configuration(jnp.asarray(fractional) + noise, box, jnp.zeros(len(fractional), dtype=int))


@functools.cache
def silicon() -> gw.AbstractPotential:
    return JaxMD("stillinger_weber")


@eqx.filter_jit
def measure(potential, prepared):
    """Energy per particle, bulk and shear modulus."""
    state = Quench().attach(potential, prepared)
    names = ("energy_per_particle", "bulk_modulus", "shear_modulus")
    return jnp.stack([component("property", name)().measure(state) for name in names])


@pytest.mark.slow
def test_silicon():
    """Stillinger-Weber: the cohesive energy and the bulk modulus of its diamond, through the matrix-free response."""
    prepared = Quench().prepare(silicon(), diamond())
    assert prepared.accepted
    values = measure(silicon(), prepared)
    # Two bonds for each atom, each as deep as it can be.
    assert float(values[0]) == pytest.approx(-2 * 2.16826, abs=2e-5)
    # C11 = 151.4, C12 = 76.4 GPa (Cowley, Phys. Rev. Lett. 60, 2379 (1988)); 160.22 GPa are 1 eV per cubic angstrom.
    assert float(values[1]) * 160.22 == pytest.approx((151.4 + 2 * 76.4) / 3, rel=5e-3)


@pytest.mark.slow
def test_the_matrix_free_adjoint_of_a_many_body_potential():
    """Compressed silicon relaxes around a vacancy, by as much as its angular forces let it."""
    whole = diamond()
    # Uncompressed, every bond and every angle around the vacancy is as it wants to be, and nothing moves.
    vacancy = gw.Configuration(whole.fractional[1:], 0.97 * whole.box, whole.species[1:])
    prepared = Quench().prepare(silicon(), vacancy)
    assert prepared.accepted
    assert np.max(np.abs(prepared.configuration.fractional - vacancy.fractional)) > 1e-3

    def at(lam):
        return eqx.tree_at(lambda p: p.parameters["lam"], silicon(), lam)

    lam, step = silicon().parameters["lam"], 1e-2
    slopes = jax.jit(jax.jacrev(lambda lam: measure(at(lam), prepared)))(lam)
    ends = []
    for amplitude in (-2 * step, -step, step, 2 * step):
        followed = Quench().follow(at(lam + amplitude), prepared)
        assert followed.accepted
        ends.append(measure(at(lam + amplitude), followed))
    difference = (8 * (ends[2] - ends[1]) - (ends[3] - ends[0])) / (12 * step)
    assert np.all(np.abs(slopes) > 1e-7)
    np.testing.assert_allclose(slopes, difference, rtol=1e-5)


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"function": "lennard_jone"}, "no energy function"),
        ({"function": "lennard_jones_pair"}, "no energy function"),
        ({"function": "lennard_jones"}, "give the cutoff"),
        (
            {"function": "lennard_jones", "parameters": {"size": 1.0}, "cutoff": 2.0},
            "has the parameters sigma, epsilon",
        ),
        ({"function": "bks", "cutoff": 8.0}, "also needs Q_sq"),
        ({"function": "eam", "cutoff": 8.0}, "also needs charge_fn"),
        ({"function": "lennard_jones", "cutoff": 2.0, "onset": 2.5}, "onset must come before"),
        ({"function": "stillinger_weber", "parameters": {"lam": [1.0, 2.0]}}, "takes one number"),
        ({"function": "soft_sphere", "parameters": {"sigma": [1.0, 2.0, 3.0]}}, "need one number for all"),
    ],
)
def test_wrong_requests(arguments, message):
    with pytest.raises(ValueError, match=message) as caught:
        JaxMD(**arguments)
    assert "\n" not in str(caught.value)
