"""Trainings and preparations in other units of energy and length: Poisson's ratio does not depend on them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import glasswright as gw
import jax
import numpy as np
import optax
import pytest
from glasswright.jobs.train import train
from glasswright.run.directory import RunDirectory
from glasswright.run.extxyz import read_configuration, write_configuration
from helpers import REFERENCE, component

PACKING = REFERENCE / "2d_n100_sp2_a5.extxyz"
# Lengths and energies: as far apart as anybody's, and whole powers of 2 and 4, with which every digit stays the same.
TENS = [(1e10, 1e15), (1e-10, 1e-15), (1e10, 1e-15), (1e-10, 1e15)]
POWERS = [(2.0**33, 1.0), (2.0**-33, 4.0**25), (1.0, 4.0**-25)]
STEPS = 10
Quench = component("protocol", "quench")


def potential(length: float, energy: float) -> gw.AbstractPotential:
    return component("potential", "harmonic_morse")(
        diameter=[0.8 * length, 1.0 * length],
        binding_energy=0.1 * energy,
        inverse_range=5.0 / length,
        stiffness=5.0 * energy / length**2,
    )


def trained(folder: Path, length: float, energy: float, **protocol: Any) -> list[float]:
    """Poisson's ratio at each step of a training of the diameters of one packing."""
    packing = read_configuration(PACKING)
    text = write_configuration(gw.Configuration(packing.fractional, length * packing.box, packing.species))
    path = folder / f"{length:g}_{energy:g}.extxyz"
    path.write_text(text)
    experiment = gw.Experiment(
        potential=potential(length, energy),
        system=component("system", "file")(path),
        protocol=Quench(**protocol),
        sampler=component("sampler", "tracked")(),
        terms={"nu": gw.Term(component("property", "poisson_ratio")(), component("objective", "target")(0.35))},
        design={"diameter": (0.1 * length, 3.0 * length)},
        # A rate has the units of the design, squared.
        optimizer=optax.sgd(3e-4 * length**2),
        steps=STEPS,
        tolerance=0.0,
    )
    run = folder / f"run_{length:g}_{energy:g}"
    train(experiment, run, progress=False)
    return [line["terms"]["nu"]["value"] for line in RunDirectory.read_metrics(run)]


def prepared(length: float, energy: float, **protocol: Any) -> list[float]:
    """Poisson's ratio of a packing prepared from a random start."""
    quench, start = Quench(**protocol), gw.System(64, density=1.6 / length**2).start(jax.random.key(3))
    packing = quench.prepare(potential(length, energy), start, key=jax.random.key(4))
    assert packing.accepted
    return [float(gw.poisson_ratio(quench.attach(potential(length, energy), packing).elastic_tensor))]


def sheared(length: float, energy: float) -> list[float]:
    """Stresses of a sheared packing, in units of energy over area, and the number of its events."""
    protocol = component("protocol", "shear")(max_strain=0.03)
    start = gw.System(64, density=1.6 / length**2).start(jax.random.key(3))
    packing = protocol.prepare(potential(length, energy), start, key=jax.random.key(4))
    assert packing.accepted
    state = protocol.attach(potential(length, energy), packing)
    stress = component("property", "stress_strain")().measure(state)
    return [*(np.asarray(stress) * length**2 / energy).tolist(), float(packing.statistics["shear_events"])]


def annealed(length: float, energy: float) -> list[float]:
    # The unit of time of particles of mass one.
    time = length / energy**0.5
    anneal = component("treatment", "anneal")(
        temperature=0.05 * energy, duration=20.0 * time, time_step=0.05 * time, friction=0.5 / time
    )
    return prepared(length, energy, treatments={"anneal": anneal})


CASES: dict[str, tuple[Callable[[Path, float, float], list[float]], list[tuple[float, float]], float]] = {
    "training": (trained, TENS, 1e-9),
    "training under a pressure": (
        lambda folder, length, energy: trained(folder, length, energy, pressure=0.2 * energy / length**2),
        TENS,
        1e-9,
    ),
    "flexible box": (
        lambda _, length, energy: prepared(length, energy, pressure=0.2 * energy / length**2, box="flexible"),
        POWERS,
        1e-9,
    ),
    "native descent": (lambda _, length, energy: prepared(length, energy, descent="native"), POWERS, 1e-9),
    "paper's FIRE": (lambda _, length, energy: prepared(length, energy, method="fire"), POWERS, 1e-9),
    "compressed": (
        lambda _, length, energy: prepared(
            length, energy, treatments={"compress": component("treatment", "compress")(n_cycles=1)}
        ),
        POWERS,
        1e-9,
    ),
    "annealed": (lambda _, length, energy: annealed(length, energy), POWERS, 1e-9),
    "sheared": (lambda _, length, energy: sheared(length, energy), POWERS, 1e-9),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_units_do_not_matter(tmp_path: Path, name: str) -> None:
    values, scales, tolerance = CASES[name]
    expected = values(tmp_path, 1.0, 1.0)
    assert len(set(expected)) > 1 or len(expected) == 1
    for length, energy in scales:
        np.testing.assert_allclose(
            values(tmp_path, length, energy), expected, rtol=0, atol=tolerance, err_msg=f"{length:g} {energy:g}"
        )
