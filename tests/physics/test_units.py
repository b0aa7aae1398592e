"""The units that potentials and packings have of their own, and what is the same whatever units the user has."""

import dataclasses

import glasswright as gw
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from glasswright.physics.units import Units, natural_units
from glasswright.registry import registry
from glasswright.run.extxyz import read_configuration, write_configuration
from helpers import REFERENCE, component

STARTS = {d: gw.System(n_particles=96, dimension=d, density=1.4).start(jax.random.key(0)) for d in (2, 3)}
# Lengths and energies, whole powers of 2 and of 4, whose units are far from those of the paper.
POWERS = [(2.0**33, 1.0), (2.0**-33, 4.0**25), (1.0, 4.0**-25), (2.0**20, 4.0**20)]
TENS = [(1e10, 1e15), (1e-10, 1e15), (1e10, 1e-15), (1e-10, 1e-15), (1.0, 1e15), (1.0, 1e-15)]


def make(name: str, length: float = 1.0, energy: float = 1.0) -> gw.AbstractPotential:
    """A potential of that name in which lengths and energies are scaled."""
    diameter = [0.8 * length, 1.0 * length]
    if name == "sum":
        return component("potential", name)(make("morse", length, energy), make("soft_sphere", length, energy))
    if name == "jax_md":
        pytest.importorskip("jax_md.energy")
        parameters = {"sigma": diameter, "epsilon": energy}
        return component("potential", name)("soft_sphere", parameters, cutoff=1.0 * length, n_species=2)
    if name == "tabulated":
        lengths = [1.0 * length, 0.9 * length, 0.8 * length]
        path = REFERENCE / "lennard_jones.txt"
        return component("potential", name)(path, amplitude=energy, length=lengths, n_species=2)
    scaled = {
        "harmonic_morse": {
            "binding_energy": 0.1 * energy,
            "inverse_range": 5.0 / length,
            "stiffness": 5.0 * energy / length**2,
        },
        "morse": {"binding_energy": 0.1 * energy, "inverse_range": 5.0 / length},
        "yukawa": {"binding_energy": energy, "inverse_range": 3.0 / length},
    }.get(name, {"binding_energy": energy})
    return component("potential", name)(diameter=diameter, **scaled)


def scaled(start: gw.Configuration, length: float) -> gw.Configuration:
    return dataclasses.replace(start, box=length * start.box)


NAMES = sorted(set(registry().components("potential")) - {"harmonic_spring_network"})


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_units_go_with_the_users(name, dimension):
    start = STARTS[dimension]
    own = natural_units(make(name), start)
    for length, energy in POWERS:
        units = natural_units(make(name, length, energy), scaled(start, length))
        for of_user, here, factor in (
            (own.length, units.length, length),
            (own.stiffness, units.stiffness, energy / length**2),
        ):
            # Powers next to the paper's count as its own.
            assert of_user == 1.0 or here == of_user * factor
            assert 2.0**-5 < here / factor < 2.0**5 or of_user != 1.0
            assert np.log2(here) % 1 == 0


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"inverse_power", "jax_md", "lennard_jones", "tabulated"}))
def test_units_are_the_papers_for_what_resembles_it(name):
    for density in (1.3, 1.6):
        start = gw.System(n_particles=96, density=density).start(jax.random.key(0))
        assert natural_units(make(name), start) == Units(1.0, 1.0)


def test_units_do_not_depend_on_positions():
    potential, start = make("lennard_jones"), STARTS[2]
    moved = dataclasses.replace(start, fractional=0.5 * start.fractional)
    assert natural_units(potential, start) == natural_units(potential, moved) == Units(1.0, 256.0)


def test_particles_that_do_not_touch_have_units_too():
    dilute = gw.System(n_particles=96, density=1e-3).start(jax.random.key(0))
    for length, energy in POWERS:
        units = natural_units(make("soft_sphere", length, energy), scaled(dilute, length))
        assert 2.0**-5 < units.length / length < 2.0**5
        assert 2.0**-5 < units.stiffness / energy * length**2 < 2.0**5


def test_units_of_what_is_not_a_number():
    start = dataclasses.replace(STARTS[2], box=jnp.full((2, 2), jnp.nan))
    assert natural_units(make("harmonic_morse"), start) == Units()


def test_units_of_a_spring_network(tmp_path):
    (tmp_path / "packing.extxyz").write_text(write_configuration(STARTS[2]))
    network = component("potential", "harmonic_spring_network")
    for stiffness, expected in ((1.0, 1.0), (5.0 * 4.0**20, 4.0**20), (5.0 * 4.0**-20, 4.0**-20)):
        potential = network(str(tmp_path / "packing.extxyz"), stiffness=stiffness)
        assert natural_units(potential, potential.start).stiffness == expected


def shaken(length: float = 1.0) -> gw.Configuration:
    """A reference packing away from its minimum, in any unit of length."""
    packing = read_configuration(REFERENCE / "2d_n100_sp2_a5.extxyz")
    noise = 0.02 * jax.random.normal(jax.random.key(1), packing.fractional.shape)
    return scaled(packing.moved(noise), length)


def poisson_ratio(length: float, energy: float) -> float:
    """Poisson's ratio of the shaken packing, relaxed."""
    protocol, potential = component("protocol", "quench")(), make("harmonic_morse", length, energy)
    prepared = protocol.prepare(potential, shaken(length))
    assert prepared.accepted
    return float(gw.poisson_ratio(protocol.attach(potential, prepared).elastic_tensor))


def check_same_poisson_ratio(scales):
    expected = poisson_ratio(1.0, 1.0)
    for length, energy in scales:
        ratio = poisson_ratio(length, energy)
        assert ratio == expected if (length, energy) in POWERS else ratio == pytest.approx(expected, abs=1e-9)


def test_poisson_ratio_in_other_units():
    check_same_poisson_ratio([POWERS[1], TENS[2]])


@pytest.mark.slow
def test_poisson_ratio_in_all_units():
    check_same_poisson_ratio(POWERS + TENS + [(1.0, 1e-12), (1.0, 1e6), (3.0, 1.0), (10.0, 10.0), (0.1, 0.1)])
