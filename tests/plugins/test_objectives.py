"""Curves and ratios: what their losses are, without bias, and differentiable through the preparation."""

import itertools

import glasswright as gw
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from glasswright.evaluation.combining import combine_terms
from glasswright.evaluation.design import resolve_design
from glasswright.evaluation.loss import evaluate
from glasswright.evaluation.measurement import measure_sample
from glasswright.evaluation.value_shape import value_shape
from glasswright.execution.executor import Executor
from glasswright.jobs.metrics import reached
from helpers import branches, component

Curve, Ratio, Target = (component("objective", name) for name in ("curve", "ratio", "target"))
Fresh, Tracked = component("sampler", "fresh"), component("sampler", "tracked")
WeightedSum = component("combination", "weighted_sum")


VALUES = jnp.asarray(np.random.default_rng(0).normal(size=(6, 5)) + np.arange(5.0))
TARGET = np.array([0.1, 0.7, 2.5, 2.9, 4.4])
WEIGHTS = np.array([1.0, 0.5, 0.0, 2.0, 1.0])
ALL = jnp.ones(6, dtype=bool)


def test_a_curve_is_the_mean_of_weighted_squares():
    plain = Curve(TARGET, WEIGHTS).loss(VALUES, ALL, Tracked(6))
    expected = float(np.mean(WEIGHTS * (VALUES.mean(axis=0) - TARGET) ** 2))
    assert float(plain) == pytest.approx(expected, rel=1e-13)
    # A row that was not accepted does not count, whatever is in it.
    accepted = jnp.array([True, True, False, True, True, True])
    loss = Curve(TARGET, WEIGHTS).loss(jnp.where(accepted[:, None], VALUES, 0.0), accepted, Tracked(6))
    assert float(loss) == pytest.approx(
        float(np.mean(WEIGHTS * (VALUES[accepted].mean(axis=0) - TARGET) ** 2)), rel=1e-13
    )


def test_a_curve_without_weights_is_the_target_over_the_number_of_points():
    for sampler in (Tracked(6), Fresh(6)):
        curve, target = (objective(TARGET).loss(VALUES, ALL, sampler) for objective in (Curve, Target))
        assert float(curve) == pytest.approx(float(target) / 5, rel=1e-13)
    floors = [objective(TARGET).floor(VALUES, ALL, Fresh(6)) for objective in (Curve, Target)]
    assert float(floors[0]) == pytest.approx(float(floors[1]) / 5, rel=1e-13)


def test_a_curve_is_estimated_without_bias():
    """Over all samples of two out of a population drawn with replacement: the loss of the population's own mean."""
    both = jnp.array([True, True])
    loss = jax.jit(jax.vmap(lambda pair: Curve(TARGET, WEIGHTS).loss(pair, both, Fresh(2))))
    plain = jax.jit(jax.vmap(lambda pair: Curve(TARGET, WEIGHTS, "plain").loss(pair, both, Fresh(2))))
    pairs = jnp.stack([VALUES[jnp.array([i, j])] for i, j in itertools.product(range(6), repeat=2)])
    expected = float(np.mean(WEIGHTS * (VALUES.mean(axis=0) - TARGET) ** 2))
    assert float(jnp.mean(loss(pairs))) == pytest.approx(expected, rel=1e-12)
    bias = float(np.mean(WEIGHTS * VALUES.var(axis=0))) / 2
    assert float(jnp.mean(plain(pairs))) == pytest.approx(expected + bias, rel=1e-12)


def test_a_curve_that_comes_with_a_grid():
    measured = component("property", "pair_correlation")(n_bins=5, maximum=2.5)
    curve = Curve(np.stack([measured.grid, TARGET], axis=1), WEIGHTS)
    curve.check_property(measured, (5,))
    assert float(curve.loss(VALUES, ALL, Tracked(6))) == float(Curve(TARGET, WEIGHTS).loss(VALUES, ALL, Tracked(6)))
    shifted = Curve(np.stack([measured.grid + 0.1, TARGET], axis=1))
    with pytest.raises(ValueError, match=r"its point 0 is at 0\.35, and PairCorrelation has 0\.25 there"):
        shifted.check_property(measured, (5,))


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.5,), "must be a list"),
        ((TARGET, -WEIGHTS), "must be finite and not negative"),
        ((TARGET, 0 * WEIGHTS), "all are zero"),
    ],
)
def test_curves_that_ask_for_nothing_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Curve(*arguments)


def test_a_ratio_of_means_is_not_the_mean_of_ratios():
    pairs = jnp.abs(VALUES[:, 1:3]) + 1.0
    wanted = float(pairs[:, 0].mean() / pairs[:, 1].mean())
    assert abs(np.mean(pairs[:, 0] / pairs[:, 1]) - wanted) > 1e-3
    loss = Ratio(0.3).loss(pairs, ALL, Tracked(6))
    assert float(loss) == pytest.approx((wanted - 0.3) ** 2, rel=1e-12)
    assert float(Ratio(wanted).loss(pairs, ALL, Tracked(6))) < 1e-30
    assert np.isnan(float(Ratio(0.3).loss(pairs * jnp.array([[1.0, 0.0]]), ALL, Tracked(6))))


def test_a_ratio_on_target_is_estimated_without_bias():
    """Where the population is on target the numerator of the estimate vanishes on average over all samples of two."""
    pairs = jnp.abs(VALUES[:, 1:3]) + 1.0
    wanted = float(pairs[:, 0].mean() / pairs[:, 1].mean())
    both = jnp.array([True, True])
    samples = jnp.stack([pairs[jnp.array([i, j])] for i, j in itertools.product(range(6), repeat=2)])
    losses = jax.vmap(lambda pair: Ratio(wanted).loss(pair, both, Fresh(2)))(samples)
    numerators = losses * samples[:, :, 1].mean(axis=1) ** 2
    assert abs(float(jnp.mean(numerators))) < 1e-12 * float(jnp.max(jnp.abs(numerators)))


@pytest.mark.parametrize("sampler", [Tracked(6), Fresh(6)], ids=["tracked", "fresh"])
@pytest.mark.parametrize(
    ("objective", "values"),
    [(Curve(TARGET, WEIGHTS), VALUES), (Ratio(0.3), jnp.abs(VALUES[:, 1:3]) + 1.0)],
    ids=["curve", "ratio"],
)
def test_derivatives_of_objectives_against_central_differences(objective, values, sampler):
    direction = np.random.default_rng(1).normal(size=values.shape)

    def loss(x):
        return objective.loss(x, ALL, sampler)

    slope = float(np.vdot(jax.grad(loss)(jnp.asarray(values)), direction))
    step = 1e-5
    difference = (float(loss(values + step * direction)) - float(loss(values - step * direction))) / (2 * step)
    assert difference == pytest.approx(slope, rel=1e-8)
    assert float(jax.jit(loss)(values)) == pytest.approx(float(loss(values)), rel=1e-13)


BOUNDS = {"diameter": (0.1, 3.0), "binding_energy": (0.0, 10.0)}


def make(**changes) -> gw.Experiment:
    shear, bulk = component("property", "shear_modulus")(), component("property", "bulk_modulus")()
    curve = component("property", "pair_correlation")(n_bins=6, maximum=2.0, width=0.2)
    terms = {
        "means": gw.Term(component("property", "pair")(shear, bulk), Ratio(0.2), scale=0.5),
        "each": gw.Term(component("property", "ratio")(shear, bulk), Target(0.2), weight=3.0),
        "curve": gw.Term(curve, Curve(np.ones(6), [0.0, 1.0, 1.0, 2.0, 1.0, 0.5]), weight=2.0, scale=0.7),
    }
    parts = {
        "potential": component("potential", "harmonic_morse")(),
        "system": gw.System(n_particles=128),
        "protocol": component("protocol", "quench")(),
        "sampler": Tracked(2),
        "terms": terms,
        "design": BOUNDS,
        "optimizer": optax.adam(1e-3),
        "steps": 4,
        "tolerance": 0.0,
        "checkpoint_interval": 2,
        "devices": 1,
    }
    return gw.Experiment(**(parts | changes))


@pytest.fixture(scope="module")
def evaluated():
    """A curve and both kinds of ratio over two packings, and how to evaluate them elsewhere."""
    experiment = make()
    problem = experiment.problem
    keys = jax.random.split(jax.random.key(4), 2)
    batch = [experiment.protocol.prepare(experiment.potential, experiment.system.start(key)) for key in keys]

    def evaluate_at(values, batch):
        samples = [measure_sample(problem, values, prepared, k) for k, prepared in enumerate(batch)]
        return evaluate(problem, values, experiment.sampler, samples, Executor(1))

    values = problem.initial_values
    return experiment, values, batch, evaluate_at, evaluate_at(values, batch)


def test_gradient_of_curves_and_ratios_against_central_differences(evaluated):
    experiment, values, batch, evaluate_at, evaluation = evaluated
    keys = dict(zip(values, jax.random.split(jax.random.key(5), len(values)), strict=True))
    direction = {name: jax.random.normal(keys[name], value.shape) for name, value in values.items()}

    def ends(step):
        losses, where = [], []
        for sign in (-1, 1):
            moved = {name: values[name] + sign * step * direction[name] for name in values}
            potential = experiment.problem.at(moved).potential
            prepared = [experiment.protocol.follow(potential, packing) for packing in batch]
            where.append(
                [branches(potential, p.configuration, b.memory.neighbors) for p, b in zip(prepared, batch, strict=True)]
            )
            losses.append(evaluate_at(moved, prepared).losses)
        slopes = {name: (losses[1][name] - losses[0][name]) / (2 * step) for name in losses[0]}
        return slopes, np.array_equal(*where)

    for step in (4e-6, 1e-6, 2.5e-7):
        (wide, smooth), (narrow, _) = ends(2 * step), ends(step)
        if smooth:
            break
    else:
        pytest.fail("a pair changes branch however small the step")
    for name, term in experiment.terms.items():
        gradient = evaluation.gradients[name]
        slope = sum(float(np.vdot(gradient[key], direction[key])) for key in values)
        norm = np.sqrt(sum(float(np.sum(part**2)) for part in gradient.values()))
        assert norm > 0.0
        expected = term.weight / term.scale**2 * (4 * narrow[name] - wide[name]) / 3
        assert abs(expected - slope) < 1e-6 * norm, name


def test_both_ratios_are_those_of_the_moduli(evaluated):
    *_, evaluation = evaluated
    a, b = evaluation.values["means"]
    assert evaluation.losses["means"] == pytest.approx((a / b - 0.2) ** 2, rel=1e-12)
    assert evaluation.losses["each"] == pytest.approx((evaluation.values["each"] - 0.2) ** 2, rel=1e-12)
    assert abs(evaluation.values["each"] - a / b) > 1e-6
    total = 2.0 / 0.7**2 * evaluation.losses["curve"] + 3.0 * evaluation.losses["each"]
    total += evaluation.losses["means"] / 0.5**2
    assert evaluation.loss == pytest.approx(total, rel=1e-13)


def test_the_weighted_sum_is_the_sum_to_the_last_digit(evaluated):
    experiment, *_, evaluation = evaluated
    for combination in (None, WeightedSum()):
        combined = combine_terms(combination, experiment.terms, evaluation, ())
        assert combined.value == evaluation.loss
        for name, part in evaluation.gradient.items():
            assert np.array_equal(combined.gradient[name], part)


@pytest.mark.parametrize("name", ["maximize", "minimize", "target"])
def test_a_loss_without_a_least_value_is_no_success(name):
    """The loss of such an objective can be below any tolerance from the first step on."""
    objective = Target(0.0) if name == "target" else component("objective", name)()
    term = gw.Term(component("property", "energy_per_particle")(), objective)
    experiment = make(terms={"energy": term}, tolerance=1.0)
    assert experiment.can_succeed is (name == "target")
    assert reached(experiment, -3.0) is (name == "target")
    assert not make(terms={"energy": term}, tolerance=1.0, sampler=Fresh(2)).can_succeed


def test_shapes_are_those_of_the_values(evaluated):
    """What tracing says before the run is what measuring gives."""
    experiment, *_, evaluation = evaluated
    for name, term in experiment.terms.items():
        shape = value_shape(name, term.property, experiment.potential, experiment.system, gw.Equilibrium)
        assert shape == np.shape(evaluation.values[name])
    assert resolve_design(experiment.model, BOUNDS).names == ("diameter", "binding_energy")
