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
# Rates of training: of small steps, and of steps that lead through two rearrangements of the packing. Next to these
# rounding is amplified without bound, so that only powers of 2 and of 4 show whether units matter.
SMALL, REARRANGING = 3e-4, 1e-2
Quench = component("protocol", "quench")


def potential(length: float, energy: float) -> gw.AbstractPotential:
    return component("potential", "harmonic_morse")(
        diameter=[0.8 * length, 1.0 * length],
        binding_energy=0.1 * energy,
        inverse_range=5.0 / length,
        stiffness=5.0 * energy / length**2,
    )


def trained(folder: Path, length: float, energy: float, *, rate: float = SMALL, **protocol: Any) -> list[float]:
    """Poisson's ratio at each step of a training of the diameters of one packing, and the number of rearrangements."""
    packing = read_configuration(PACKING)
    text = write_configuration(gw.Configuration(packing.fractional, length * packing.box, packing.species))
    path = folder / f"{length:g}_{energy:g}.extxyz"
    folder.mkdir(exist_ok=True)
    path.write_text(text)
    experiment = gw.Experiment(
        potential=potential(length, energy),
        system=component("system", "file")(path),
        protocol=Quench(**protocol),
        sampler=component("sampler", "tracked")(),
        terms={"nu": gw.Term(component("property", "poisson_ratio")(), component("objective", "target")(0.35))},
        design={"diameter": (0.1 * length, 3.0 * length)},
        # A rate has the units of the design, squared.
        optimizer=optax.sgd(rate * length**2),
        steps=STEPS,
        tolerance=0.0,
    )
    run = folder / f"run_{length:g}_{energy:g}"
    train(experiment, run, progress=False)
    lines = RunDirectory.read_metrics(run)
    return [*(line["terms"]["nu"]["value"] for line in lines), float(sum(line["rearranged"] for line in lines))]


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


def anneal(length: float, energy: float, duration: float) -> gw.AbstractTreatment:
    # The unit of time of particles of mass one.
    time = length / energy**0.5
    return component("treatment", "anneal")(
        temperature=0.05 * energy, duration=duration * time, time_step=0.05 * time, friction=0.5 / time
    )


def treated(treatment: gw.AbstractTreatment, length: float, energy: float) -> list[float]:
    """Poisson's ratio of a packing prepared from a random start that is treated before it is relaxed."""
    return prepared(length, energy, treatments={"treatment": treatment})


def placed(length: float, energy: float) -> list[float]:
    """Where particles are after few steps of dynamics, for which their overlaps have been relaxed."""
    start = gw.System(64, density=1.6 / length**2).start(jax.random.key(3))
    end = anneal(length, energy, 0.5).apply(potential(length, energy), start, key=jax.random.key(4))
    return np.asarray(end.configuration.fractional).ravel().tolist()


Case = Callable[[Path, float, float], list[float]]
# Scaled by any factors, Poisson's ratios are the same to 1e-9.
ANY: dict[str, Case] = {
    "training": trained,
    "training under a pressure": lambda folder, length, energy: trained(
        folder, length, energy, pressure=0.2 * energy / length**2
    ),
}
# Scaled by powers of 2 and of 4, all digits are the same, also after rearrangements and in dynamics.
EXACT: dict[str, Case] = {
    "training through rearrangements": lambda folder, length, energy: trained(folder, length, energy, rate=REARRANGING),
    "flexible box": lambda _, length, energy: prepared(
        length, energy, pressure=0.2 * energy / length**2, box="flexible"
    ),
    "sparse": lambda _, length, energy: prepared(length, energy, hessian="sparse"),
    "matrix-free": lambda _, length, energy: prepared(length, energy, hessian="matrix_free"),
    "native descent": lambda _, length, energy: prepared(length, energy, descent="native"),
    "paper's FIRE": lambda _, length, energy: prepared(length, energy, method="fire"),
    "compressed": lambda _, length, energy: treated(component("treatment", "compress")(n_cycles=1), length, energy),
    "sheared back and forth": lambda _, length, energy: treated(
        component("treatment", "cyclic_shear")(n_cycles=1), length, energy
    ),
    "swapped": lambda _, length, energy: treated(
        component("treatment", "swap")(temperature=0.05 * energy, n_sweeps=20, step=0.1 * length), length, energy
    ),
    "annealed": lambda _, length, energy: treated(anneal(length, energy, 20.0), length, energy),
    "sheared": lambda _, length, energy: sheared(length, energy),
}


def check_exact(values: Case, folder: Path, scales: list[tuple[float, float]]) -> None:
    expected = values(folder, 1.0, 1.0)
    for length, energy in scales:
        np.testing.assert_array_equal(values(folder, length, energy), expected, err_msg=f"{length:g} {energy:g}")


def test_no_digit_of_dynamics_depends_on_units(tmp_path: Path) -> None:
    """The cheapest of them in which particles descend, move and renew their lists."""
    check_exact(lambda _, length, energy: placed(length, energy), tmp_path, POWERS[:2])


@pytest.mark.slow
@pytest.mark.parametrize("name", EXACT)
def test_no_digit_of_any_preparation_depends_on_units(tmp_path: Path, name: str) -> None:
    check_exact(EXACT[name], tmp_path, POWERS)


@pytest.mark.slow
def test_the_large_rate_leads_through_rearrangements(tmp_path: Path) -> None:
    assert trained(tmp_path, 1.0, 1.0, rate=REARRANGING)[-1] > 0
    assert trained(tmp_path / "small", 1.0, 1.0)[-1] == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ANY)
def test_units_do_not_matter(tmp_path: Path, name: str) -> None:
    expected = ANY[name](tmp_path, 1.0, 1.0)
    assert len(set(expected)) > 1
    for length, energy in TENS:
        np.testing.assert_allclose(
            ANY[name](tmp_path, length, energy), expected, rtol=0, atol=1e-9, err_msg=f"{length:g} {energy:g}"
        )
