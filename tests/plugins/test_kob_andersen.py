"""The Kob-Andersen mixture against LAMMPS and jax-md: energies, forces and stresses, elastic moduli, and a training."""

import functools

import glasswright as gw
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from glasswright.exchange.lammps_data import lammps_data
from glasswright.exchange.packing import Packing, describe_packing
from glasswright.neighbors import build_pair_list
from helpers import KOB_ANDERSEN_DEPTHS as DEPTHS
from helpers import KOB_ANDERSEN_SIZES as SIZES
from helpers import component, lammps_engine, polynomial_commands

PARAMETERS = {"pair_diameter": list(SIZES.values()), "binding_energy": list(DEPTHS.values())}
DENSITY = 1.2


def kob_andersen(smoothing: str = "xplor"):
    return component("potential", "lennard_jones")(**PARAMETERS, smoothing=smoothing)


def mixture(n_particles: int, dimension: int = 3) -> gw.System:
    composition = [0.8, 0.2] if dimension == 3 else [0.65, 0.35]
    return gw.System(n_particles, 2, dimension, DENSITY, composition=composition)


def noisy_lattice(side: int) -> gw.Configuration:
    """Four of five particles of the first species on a cubic lattice, each a little off its place."""
    axes = np.meshgrid(*[np.arange(side)] * 3, indexing="ij")
    sites = np.stack(axes, axis=-1).reshape(-1, 3) / side
    noise = 0.01 * jax.random.normal(jax.random.key(1), sites.shape)
    n = len(sites)
    box = (n / DENSITY) ** (1 / 3) * jnp.eye(3)
    return gw.Configuration(jnp.asarray(sites) + noise, box, (jnp.arange(n) % 5 == 0).astype(int))


@functools.cache
def quenched(seed: int, n_particles: int = 1000) -> gw.Prepared:
    prepared = component("protocol", "quench")().prepare(
        kob_andersen(), mixture(n_particles).start(jax.random.key(seed))
    )
    assert prepared.accepted
    return prepared


def with_charges(text: str) -> str:
    """A data file for `atom_style charge`, which the smoothed Lennard-Jones of LAMMPS asks for."""
    head, rows = text.split("Atoms  # atomic\n\n")
    fields = [row.split() for row in rows.splitlines()]
    return head + "Atoms  # charge\n\n" + "".join(" ".join([*row[:2], "0", *row[2:]]) + "\n" for row in fields)


def xplor_commands() -> list[str]:
    """The CHARMM smoothing is XPLOR; it has one cutoff for all pairs, so each pair has a style of its own."""
    style = "lj/charmm/coul/charmm"
    styles = " ".join(f"{style} {2.0 * s:.17g} {2.5 * s:.17g}" for s in SIZES.values())
    coefficients = [
        f"pair_coeff {a} {b} {style} {k} {DEPTHS[a, b]} {s}" for k, ((a, b), s) in enumerate(SIZES.items(), start=1)
    ]
    return [f"pair_style hybrid {styles}", *coefficients]


def compare_with_lammps(packing: Packing, potential: gw.AbstractPotential, commands: list[str], tmp_path) -> None:
    engine = lammps_engine()
    try:
        (tmp_path / "packing.data").write_text(with_charges(lammps_data(packing)))
        style, *coefficients = commands
        for command in (
            "units lj",
            "dimension 3",
            "boundary p p p",
            "atom_style charge",
            "atom_modify map yes",
            style,
            f"read_data {tmp_path / 'packing.data'}",
            *coefficients,
            "compute virial all pressure NULL virial",
            "thermo_style custom step pe press pxx pyy pzz pxy pxz pyz",
            "thermo_modify norm no",
            "run 0",
        ):
            engine.command(command)
        np.testing.assert_allclose(packing.energy, engine.get_thermo("pe"), rtol=1e-10)
        np.testing.assert_allclose(-np.trace(packing.stress) / 3, engine.get_thermo("press"), rtol=1e-10)
        i, j = [0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]
        theirs = [engine.get_thermo(name) for name in ("pxx", "pyy", "pzz", "pxy", "pxz", "pyz")]
        scale = float(np.max(np.abs(theirs)))
        np.testing.assert_allclose(-packing.stress[i, j], theirs, atol=1e-10 * scale)
        configuration = packing.configuration
        neighbors = build_pair_list(configuration, potential.cutoff)
        force = -np.asarray(jax.jit(lambda c: potential.gradient(c, neighbors))(configuration))
        there = np.asarray(engine.gather_atoms("f", 1, 3)).reshape(-1, 3)
        np.testing.assert_allclose(force, there, atol=1e-10 * max(float(np.max(np.abs(force))), 1.0))
    finally:
        engine.close()


@pytest.mark.parametrize("smoothing", ["xplor", "polynomial_1", "polynomial_2", "polynomial_3"])
def test_lammps_has_the_same_energy_forces_and_stress(smoothing, tmp_path):
    """With each smoothing, of particles that are not at rest."""
    potential, configuration = kob_andersen(smoothing), noisy_lattice(6)
    commands = xplor_commands() if smoothing == "xplor" else polynomial_commands(int(smoothing[-1]))
    compare_with_lammps(describe_packing(potential, configuration, ("A", "B")), potential, commands, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_packings_of_a_thousand_particles_are_those_of_lammps(seed, tmp_path):
    potential, configuration = kob_andersen(), quenched(seed).configuration
    compare_with_lammps(describe_packing(potential, configuration, ("A", "B")), potential, xplor_commands(), tmp_path)
    noise = 0.02 * jax.random.normal(jax.random.key(seed), configuration.fractional.shape)
    moved = describe_packing(potential, configuration.moved(noise), ("A", "B"))
    compare_with_lammps(moved, potential, xplor_commands(), tmp_path)


@pytest.mark.slow
def test_moduli_are_those_of_jax_md():
    """The energy is written out here, with jax-md's smoothing, space and moduli."""
    from jax_md import elasticity, space

    prepared = quenched(0)
    packing = prepared.configuration
    displacement, _ = space.periodic_general(packing.box, fractional_coordinates=True)
    neighbors = build_pair_list(packing, 2.6)
    n_pairs = int(neighbors.n_pairs)
    i, j = (np.asarray(index)[:n_pairs] for index in (neighbors.i, neighbors.j))
    kinds = [tuple(sorted(pair)) for pair in np.stack([packing.species[i], packing.species[j]], axis=1) + 1]
    sigma, epsilon = (jnp.asarray([table[kind] for kind in kinds]) for table in (SIZES, DEPTHS))

    def energy(position, **deformation):
        between = jax.vmap(lambda a, b: displacement(a, b, **deformation))
        r = space.distance(between(position[i], position[j]))
        onset, cutoff = 2.0 * sigma, 2.5 * sigma
        smooth = (cutoff**2 - r**2) ** 2 * (cutoff**2 + 2 * r**2 - 3 * onset**2) / (cutoff**2 - onset**2) ** 3
        factor = jnp.where(r < onset, 1.0, jnp.where(r < cutoff, smooth, 0.0))
        return jnp.sum(4 * epsilon * ((sigma / r) ** 12 - (sigma / r) ** 6) * factor)

    moduli = elasticity.athermal_moduli(energy, tether_strength=1e-12, cg_tol=1e-12, check_convergence=True)
    wrapped = packing.fractional - jnp.floor(packing.fractional)
    theirs, converged = jax.jit(lambda position: moduli(position, packing.box))(wrapped)
    assert bool(converged)
    ours = component("protocol", "quench")().attach(kob_andersen(), prepared).elastic_tensor
    print({f: (float(f(ours) / f(theirs)) - 1.0) for f in (gw.bulk_modulus, gw.shear_modulus)})
    np.testing.assert_allclose(gw.bulk_modulus(ours), gw.bulk_modulus(theirs), rtol=1e-8)
    np.testing.assert_allclose(gw.shear_modulus(ours), gw.shear_modulus(theirs), rtol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["kob_andersen", "kob_andersen_2d"])
def test_its_ensemble_trains_to_a_pressure(preset):
    """The preset with smaller packings and fewer steps: the pressure of packings never seen approaches the target."""
    size = {"kob_andersen": "system.n_particles=216", "kob_andersen_2d": "system.n_particles=100"}[preset]
    result = gw.train(f"experiment={preset}", size, "train.steps=30", "optimizer.learning_rate.init_value=4e-3")
    assert abs(result["values"]["pressure"] - 1.0) < 0.5
    assert result["design"]["pair_diameter"] != [1.0, 0.8, 0.88]
