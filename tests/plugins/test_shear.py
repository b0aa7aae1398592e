"""Athermal quasistatic shear: folds, energies and derivatives, against independent ways to the same numbers."""

import dataclasses
import functools
from pathlib import Path

import equinox as eqx
import glasswright as gw
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from glasswright.commands.compose import compose, start
from glasswright.commands.train import build
from glasswright.evaluation.problem import Problem
from glasswright.exchange.lammps_data import lammps_data
from glasswright.exchange.packing import describe_packing
from glasswright.testing import check_property, check_protocol
from helpers import KOB_ANDERSEN_DEPTHS, KOB_ANDERSEN_SIZES, component, lammps_engine, polynomial_commands

POTENTIAL = component("potential", "lennard_jones")(
    pair_diameter=list(KOB_ANDERSEN_SIZES.values()),
    binding_energy=list(KOB_ANDERSEN_DEPTHS.values()),
    smoothing="polynomial_3",
)
SYSTEM = gw.System(64, 2, 2, 1.2, composition=[0.65, 0.35])
KEY = jax.random.key(0)
# The packing of this start has a single event, near 0.0286.
SEED, MAX_STRAIN = 1, 0.05
PROPERTIES = {
    name: component("property", name)()
    for name in ("toughness", "flow_stress", "yield_strain", "shear_dissipation", "stress_strain")
}


def shear(**arguments) -> gw.AbstractProtocol:
    return component("protocol", "shear")(**{"max_strain": MAX_STRAIN, "strain_step": 0.01, **arguments})


@functools.cache
def prepared(seed: int = SEED) -> gw.Prepared:
    result = shear().prepare(POTENTIAL, SYSTEM.start(jax.random.key(seed)), key=KEY)
    assert result.accepted
    return result


@functools.cache
def deformation() -> gw.Deformation:
    return eqx.filter_jit(shear().attach)(POTENTIAL, without_statistics(prepared()))


def without_statistics(prepared: gw.Prepared) -> gw.Prepared:
    return dataclasses.replace(prepared, statistics={})


@eqx.filter_jit
def shear_stress(prepared: gw.Prepared) -> jax.Array:
    """The stress of a minimum, from its own box."""
    return component("protocol", "quench")().attach(POTENTIAL, prepared).stress[0, 1]


def minimum(fractional: np.ndarray, strain: float) -> gw.Prepared:
    """The minimum near a point under a strain, by a quench."""
    home = prepared().configuration
    start = dataclasses.replace(home, fractional=jnp.asarray(fractional))
    start = start.strained(jnp.array([[0.0, strain], [0.0, 0.0]]))
    result = component("protocol", "quench")().relax(POTENTIAL, start, key=KEY)
    assert result.accepted
    return without_statistics(result)


def work_up_to_a_fold(fractional: np.ndarray, start: float, fold: float, n_points: int = 16) -> float:
    """The integral of the stress up to a fold: with `gamma = fold - u²` everything is smooth in `u`."""
    nodes, weights = np.polynomial.legendre.leggauss(n_points)
    largest = np.sqrt(fold - start)
    history, total = [(largest, np.asarray(fractional))], 0.0
    for x, w in list(zip(nodes, weights, strict=True))[::-1]:
        u = 0.5 * largest * (1.0 + x)
        (u1, last), (u0, first) = history[-1], history[-2] if len(history) > 1 else history[-1]
        guess = last if u1 == u0 else last + (last - first) * (u - u1) / (u1 - u0)
        there = minimum(guess, fold - u**2)
        history.append((u, np.asarray(there.configuration.fractional)))
        total += 0.5 * largest * w * 2.0 * u * float(shear_stress(there))
    return total


def work_on_a_branch(fractional: np.ndarray, start: float, end: float, n_points: int = 16) -> float:
    """The integral of the stress on a branch without a fold nearby."""
    nodes, weights = np.polynomial.legendre.leggauss(n_points)
    total = 0.0
    for x, w in zip(nodes, weights, strict=True):
        there = minimum(fractional, start + 0.5 * (end - start) * (1.0 + x))
        fractional = np.asarray(there.configuration.fractional)
        total += 0.5 * (end - start) * w * float(shear_stress(there))
    return total


def test_work_is_stored_or_dissipated():
    """`V int sigma dgamma = U(end) - U(start) + dissipation`, the integral by quadrature over minima quenched anew."""
    state, path = deformation(), prepared().memory.path
    assert int(state.events.n_events) == 1
    assert bool(state.events.is_fold[0])
    fold = float(state.events.strain[0])
    work = work_up_to_a_fold(path.fractional[0], 0.0, fold)
    work += work_on_a_branch(path.events.landed[0], fold, MAX_STRAIN)
    volume = float(state.configuration.volume)
    stored = float(state.energy[-1] - state.energy[0])
    dissipated = float(PROPERTIES["shear_dissipation"].measure(state)) * volume
    assert dissipated > 0.1
    np.testing.assert_allclose(volume * work, stored + dissipated, rtol=0.0, atol=1e-8)
    np.testing.assert_allclose(PROPERTIES["toughness"].measure(state), work, rtol=0.0, atol=1e-8 / volume)


def test_stresses_are_those_of_minima_quenched_anew():
    state, path = deformation(), prepared().memory.path
    there = [minimum(x, g) for x, g in zip(path.fractional, np.asarray(path.strain), strict=True)]
    np.testing.assert_allclose(state.stress, [float(shear_stress(t)) for t in there], atol=1e-9)
    before, after = (float(shear_stress(there[k])) for k in (2, 3))
    # The stress falls at the event between them.
    assert before > after
    assert float(state.events.stress_before[0]) > float(state.events.stress_after[0])


@pytest.mark.slow
def test_tangent_modulus_is_the_elastic_constant():
    """Simple shear is linear shear and a rotation: under a stress they differ by `(3 s_yy - s_xx)/4`."""
    h = 1e-4
    short = shear(max_strain=2 * h, strain_step=h)
    state = eqx.filter_jit(short.attach)(POTENTIAL, without_statistics(short.follow(POTENTIAL, prepared(), key=KEY)))
    tangent = float(-3.0 * state.stress[0] + 4.0 * state.stress[1] - state.stress[2]) / (2 * h)
    stress, tensor = state.undeformed.stress, state.undeformed.elastic_tensor
    expected = float(tensor[0, 1, 0, 1] + (3.0 * stress[1, 1] - stress[0, 0]) / 4.0)
    np.testing.assert_allclose(tangent, expected, rtol=2e-5)


def test_lowest_eigenvalue_closes_as_the_square_root():
    path, fold = prepared().memory.path, float(deformation().events.strain[0])
    mode = path.events.mode[0]
    # Back along the mode, on the side of the minimum; the saddle is on the other.
    start = path.events.fractional[0] - 1e-3 * mode / jnp.max(jnp.abs(mode))
    distances, lowest = np.array([1e-6, 4e-6, 1.6e-5]), []
    for distance in distances:
        there = minimum(start, fold - distance)
        hessian = POTENTIAL.hessian(there.configuration, there.memory.neighbors)
        # The first two are translations.
        lowest.append(float(np.linalg.eigvalsh(hessian)[2]))
    exponents = np.diff(np.log(lowest)) / np.diff(np.log(distances))
    np.testing.assert_allclose(exponents, 0.5, atol=0.02)


@functools.cache
def differences(step: float = 1e-6) -> tuple[dict, dict, dict]:
    """Derivatives along a direction of all parameters: with and without event terms, and from packings prepared again.

    Both ends of the difference go through the event, and `follow` finds its strain anew.
    """
    home = prepared()
    parameters, static = eqx.partition(POTENTIAL, eqx.is_inexact_array)
    direction = jax.tree.map(lambda p: jnp.cos(1.0 + jnp.arange(p.size, dtype=float)), parameters)

    def values(parameters, prepared, event_terms):
        state = shear(event_terms=event_terms).attach(eqx.combine(parameters, static), prepared)
        measured = {name: measured.measure(state) for name, measured in PROPERTIES.items()}
        return measured | {"strain of the event": state.events.strain[0]}

    @eqx.filter_jit
    def compiled(parameters, prepared):
        return [
            jax.jvp(lambda q, e=terms: values(q, prepared, e), (parameters,), (direction,)) for terms in (True, False)
        ]

    def end(sign: float) -> dict:
        moved = jax.tree.map(lambda p, d: p + sign * step * d, parameters, direction)
        again = shear().follow(eqx.combine(moved, static), home, key=KEY)
        assert again.accepted
        assert int(again.memory.path.events.n_events) == 1
        return compiled(moved, without_statistics(again))[0][0]

    (_, slopes), (_, without) = compiled(parameters, without_statistics(home))
    high, low = end(1.0), end(-1.0)
    return slopes, without, {name: (high[name] - low[name]) / (2 * step) for name in high}


def test_derivatives_are_those_of_packings_prepared_again():
    """Of integrals and of the strain of the fold, through the event."""
    slopes, _, expected = differences()
    for name, value in expected.items():
        np.testing.assert_allclose(slopes[name], value, rtol=0.0, atol=1e-5 * np.max(np.abs(value)), err_msg=name)


def test_event_terms_are_part_of_the_derivative():
    """Without them that of the toughness lacks the drop of the stress times the derivative of the fold."""
    slopes, without, expected = differences()
    drop = float(deformation().events.stress_before[0] - deformation().events.stress_after[0])
    lacking = float(expected["toughness"] - without["toughness"])
    assert abs(lacking) > 0.1 * abs(float(expected["toughness"]))
    np.testing.assert_allclose(lacking, drop * float(slopes["strain of the event"]), rtol=1e-4)


def test_events_do_not_depend_on_the_strain_step():
    """The packing leaves each minimum at its fold: steps say where the curve is recorded, and no more."""
    fine, coarse = (
        shear(strain_step=step).follow(POTENTIAL, prepared(), key=KEY).memory.path for step in (0.01, 0.025)
    )
    assert int(fine.events.n_events) == int(coarse.events.n_events) == 1
    np.testing.assert_allclose(fine.events.strain[0], coarse.events.strain[0], rtol=1e-10)
    np.testing.assert_allclose(fine.events.landed[0], coarse.events.landed[0], atol=1e-8)
    np.testing.assert_allclose(fine.fractional[-1], coarse.fractional[-1], atol=1e-8)


def test_too_many_events_are_an_overflow():
    protocol = shear(max_strain=0.08, max_events=1)
    result = protocol.prepare(POTENTIAL, SYSTEM.start(jax.random.key(2)), key=KEY)
    assert gw.Outcome(int(result.outcome)) == gw.Outcome.overflow
    assert int(result.statistics["shear_events"]) == 2


def test_a_box_that_becomes_too_narrow_is_an_outcome():
    """It is 7.3 wide, and 5.2 where it is sheared by 1: the interactions reach 2.5."""
    long_range = component("potential", "lennard_jones")(diameter=1.0, cutoff_ratio=3.4, smoothing="polynomial_3")
    result = shear(max_strain=1.0).prepare(long_range, SYSTEM.start(jax.random.key(0)), key=KEY)
    assert gw.Outcome(int(result.outcome)) == gw.Outcome.narrow_box


def test_pointwise_stresses_are_not_trained_unasked():
    shape = ["protocol=shear", "property=[stress_strain]", "terms.stress_strain.property.pointwise=true"]
    target = ["terms.stress_strain.objective.target=0.1"]

    def check(*further: str) -> Problem:
        return build(compose("train", [*shape, *target, *further], instance=start("train"))).problem

    with pytest.raises(gw.RequestError, match=r"terms\.stress_strain\.property: .*train_pointwise=true"):
        check()
    check("terms.stress_strain.property.train_pointwise=true")


@pytest.mark.parametrize(
    "arguments",
    [{"max_strain": 0.0}, {"strain_step": 0.1}, {"max_events": 0}, {"strain_step": -1.0}],
    ids=lambda arguments: next(iter(arguments)),
)
def test_impossible_parameters_are_refused(arguments):
    with pytest.raises(ValueError, match=f"shear\\({next(iter(arguments))}="):
        shear(**arguments)


@pytest.mark.slow
def test_it_conforms():
    """All that the kit asks of a protocol and of the properties that read its state."""
    check_protocol(shear())
    for measured in PROPERTIES.values():
        check_property(measured)


def lammps_strain_of_the_first_event(seed: int, folder: Path) -> float:
    """Where LAMMPS finds the first drop of the stress: it deforms the box of our file a little, minimises, and so on.

    Steps are small near our event only; a drop before it would be found as well.
    """
    packing = prepared(seed)
    expected = float(packing.memory.path.events.strain[0])
    near = expected + 8e-5 * np.arange(-3.5, 4.0)
    strains = np.concatenate([np.arange(0.0, near[0], 2e-3), near])
    (folder / "packing.data").write_text(lammps_data(describe_packing(POTENTIAL, packing.configuration, ("A", "B"))))
    style, *coefficients = polynomial_commands(3)
    engine = lammps_engine()
    try:
        for command in (
            "units lj",
            "dimension 2",
            "boundary p p p",
            "atom_style atomic",
            "atom_modify map yes",
            "box tilt large",
            style,
            f"read_data {folder / 'packing.data'}",
            "change_box all triclinic",
            *coefficients,
            "compute virial all pressure NULL virial",
            "thermo_style custom step pe pxx pyy pxy",
            "thermo_modify norm no press virial",
            "timestep 1.0",
            "min_style cg",
        ):
            engine.command(command)
        stresses = []
        for step in np.diff(strains, prepend=0.0):
            if step:
                engine.command(f"fix shear all deform 1 xy erate {step:.17g} remap x units box")
                engine.command("run 1")
                engine.command("unfix shear")
            engine.command("minimize 0.0 1e-8 3000 30000")
            stresses.append(-engine.get_thermo("pxy"))
    finally:
        engine.close()
    falls = -np.diff(stresses)
    k = int(np.argmax(falls))
    # The event is the only drop that large.
    assert falls[k] > 5.0 * np.sort(falls)[-2]
    return float(0.5 * (strains[k] + strains[k + 1]))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_lammps_finds_the_first_event_at_the_same_strain(seed, tmp_path):
    theirs = lammps_strain_of_the_first_event(seed, tmp_path)
    assert abs(theirs - float(prepared(seed).memory.path.events.strain[0])) < 1e-4
