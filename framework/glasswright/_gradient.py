"""The loss of a step and its gradient, in two phases.

The loss of an ensemble is not a sum over configurations. Phase one measures every configuration; then the objectives
see all values; phase two pulls one cotangent per accepted configuration back. The gradient of a scalar needs no
cotangent to be known up to a factor, so it is taken in phase one already, where it shares all work with the value.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ._design import Design
from ._diagnosis import blame, blame_objective, check_shapes, warn_of_values
from ._jit import fast_jit
from ._objective import Term
from ._protocol import Outcome, Prepared
from ._sampler import AbstractSampler
from ._team import Found, Team
from ._worker import Work


class Measured(eqx.Module):
    """Phase one of one configuration: the values of all terms, and the design's gradient of the scalar ones."""

    values: dict[str, Array]
    gradients: dict[str, dict[str, Array]]


class Sample(eqx.Module):
    """One requested configuration, prepared and measured.

    **Attributes:**

    - `index`: its number in the run.
    - `outcome`: how it ended.
    - `statistics`: numbers about the search.
    - `measured`: what was measured; None if it was rejected.
    - `prepared`: the configuration, in the process that prepared it; its memory only where it will be followed.
    """

    index: int
    outcome: Outcome
    statistics: dict[str, Any]
    measured: Measured | None
    prepared: Prepared | None


class Evaluation(eqx.Module):
    """What a step finds out.

    **Attributes:**

    - `loss`: weighted sum of the terms' losses; None if too few configurations were accepted to know it.
    - `values`, `losses`: mean over accepted configurations, and unweighted loss, of each term.
    - `standard_errors`: of the means: what they vary by from one such sample to another.
    - `floors`: what each loss would come to on average if the ensemble were on target.
    - `gradients`: gradient of the weighted loss of each term in the design variables.
    - `lengths`: of the gradient of each scalar term's value, the median over configurations.
    - `outcomes`: how each requested configuration ended.
    """

    loss: float | None
    values: dict[str, np.ndarray]
    losses: dict[str, float | None]
    standard_errors: dict[str, np.ndarray | None]
    floors: dict[str, float | None]
    gradients: dict[str, dict[str, np.ndarray]]
    lengths: dict[str, float]
    outcomes: list[Outcome]

    @property
    def gradient(self) -> dict[str, np.ndarray]:
        """Gradient of the total loss."""
        return jax.tree.map(lambda *terms: sum(terms), *self.gradients.values())


def in_box(system: Any, prepared: Prepared) -> Prepared:
    """The prepared configuration in the system's box, which may carry a derivative, at fixed fractional positions."""
    return eqx.tree_at(lambda one: one.configuration.box, prepared, system.box)


def _measurement(design: Design, world: Mapping[str, Any], terms: Mapping[str, Term], prepared: Prepared):
    """All terms' values as a function of the design variables."""

    def measure(values):
        here = design.insert(world, values)
        state = here["protocol"].attach(here["potential"], in_box(here["system"], prepared))
        return {name: jnp.asarray(term.property.measure(state), dtype=float) for name, term in terms.items()}

    return measure


@fast_jit
def measure(
    design: Design, values: Mapping[str, Array], world: Mapping[str, Any], terms: Mapping[str, Term], prepared: Prepared
) -> Measured:
    """Phase one: every term of one prepared configuration."""
    measured, pull = jax.vjp(_measurement(design, world, terms, prepared), dict(values))
    nothing = jax.tree.map(jnp.zeros_like, measured)
    scalars = [name for name, value in measured.items() if value.ndim == 0]
    return Measured(measured, {name: pull({**nothing, name: jnp.ones(())})[0] for name in scalars})


@fast_jit
def pull_back(
    design: Design,
    values: Mapping[str, Array],
    world: Mapping[str, Any],
    terms: Mapping[str, Term],
    prepared: Prepared,
    cotangents: Mapping[str, Array],
) -> dict[str, dict[str, Array]]:
    """Phase two for terms that are not scalars: the design's gradient of each along its cotangent."""
    measured, pull = jax.vjp(_measurement(design, world, terms, prepared), dict(values))
    nothing = jax.tree.map(jnp.zeros_like, measured)
    return {name: pull({**nothing, name: cotangent})[0] for name, cotangent in cotangents.items()}


@fast_jit
def measure_values(
    design: Design, values: Mapping[str, Array], world: Mapping[str, Any], terms: Mapping[str, Term], prepared: Prepared
) -> Measured:
    """Every term of one prepared configuration, without gradients."""
    return Measured(_measurement(design, world, terms, prepared)(dict(values)), {})


def sample(
    design: Design,
    values: Mapping[str, Array],
    world: Mapping[str, Any],
    terms: Mapping[str, Term],
    prepared: Prepared,
    index: int = 0,
    *,
    gradients: bool = True,
) -> Sample:
    """Measure a prepared configuration; what is not a number is an outcome, and never averaged in."""
    statistics = {name: np.asarray(number).item() for name, number in prepared.statistics.items()}
    if not prepared.accepted:
        return judge(index, prepared.outcome, statistics, None, prepared)
    # Without the numbers about the search: they would only cost their way to the device.
    bare = dataclasses.replace(prepared, statistics={})
    try:
        found = (measure if gradients else measure_values)(design, dict(values), dict(world), dict(terms), bare)
    except Exception as error:

        def measurement(name):
            return _measurement(design, world, {name: terms[name]}, bare)

        failure = blame(terms, dict(values), measurement, f"configuration {index}")
        if failure is None:
            raise
        raise failure from error
    return judge(index, prepared.outcome, statistics, jax.tree.map(np.asarray, found), prepared)


def judge(index: int, outcome: Any, statistics: dict[str, Any], found: Measured | None, prepared: Prepared) -> Sample:
    """What a configuration that ended so, and was measured so, counts as."""
    outcome = Outcome(int(outcome))
    if outcome == Outcome.converged and found is not None:
        warn_of_values(index, found.values, found.gradients)
    if outcome != Outcome.converged:
        found = None
    elif not all(np.all(np.isfinite(number)) for number in jax.tree.leaves(found)):
        outcome, found = Outcome.nonfinite, None
    return Sample(index, outcome, statistics, found, prepared)


@fast_jit
def measure_many(design: Design, values, world, terms, prepared: Prepared) -> Measured:
    """`measure` of many configurations, stacked, side by side."""
    return jax.vmap(lambda one: measure(design, values, world, terms, one))(prepared)


@fast_jit
def measure_many_values(design: Design, values, world, terms, prepared: Prepared) -> Measured:
    """`measure_values` of many configurations, stacked, side by side."""
    return jax.vmap(lambda one: measure_values(design, values, world, terms, one))(prepared)


@fast_jit
def _losses(terms: Mapping[str, Term], values: Mapping[str, Any], accepted: Any, sampler: AbstractSampler):
    """Loss, floor and cotangent (under its weight) of each term."""

    def one(term, values):
        loss, cotangent = jax.value_and_grad(lambda x: term.objective.loss(x, accepted, sampler))(values)
        return loss, term.objective.floor(values, accepted, sampler), term.share * cotangent

    return {name: one(term, values[name]) for name, term in terms.items()}


def combine(
    terms: Mapping[str, Term],
    sampler: AbstractSampler,
    samples: Sequence[Sample],
    limits: Mapping[str, float] | None = None,
):
    """Evaluation of a step but for the gradient of array terms, and the cotangents those need, sample by sample."""
    outcomes = [one.outcome for one in samples]
    rows = [one.measured for one in samples if one.measured is not None]
    nothing: list[dict[str, Array]] = [{} for _ in samples]
    if not rows:
        return Evaluation(None, {}, {}, {}, {}, {}, {}, outcomes), nothing
    # Gathered on the host: these are few numbers, and every operation on the device has a price.
    accepted = np.asarray([one.measured is not None for one in samples])
    check_shapes(
        [{name: np.asarray(value) for name, value in row.values.items()} for row in rows],
        [one.index for one in samples if one.measured is not None],
    )
    empty = {name: np.zeros_like(value) for name, value in rows[0].values.items()}
    gathered = {
        name: np.stack([(empty if one.measured is None else one.measured.values)[name] for one in samples])
        for name in terms
    }
    try:
        found = jax.tree.map(np.asarray, _losses(dict(terms), gathered, accepted, sampler))
    except Exception as error:
        failure = blame_objective(terms, gathered, accepted, sampler)
        if failure is None:
            raise
        raise failure from error
    cotangents = {name: cotangent for name, (_, _, cotangent) in found.items()}
    n = len(rows)
    mean = {name: np.sum(value, axis=0) / n for name, value in gathered.items()}
    errors = {name: standard_error(value[accepted]) for name, value in gathered.items()}
    losses = {name: float(loss) if np.isfinite(loss) else None for name, (loss, _, _) in found.items()}
    floors = {
        name: None if floor is None or not np.isfinite(floor) else float(floor) for name, (_, floor, _) in found.items()
    }
    total: float | None = 0.0
    for name, loss in losses.items():
        total = None if loss is None or total is None else total + float(terms[name].share) * loss
    if total is None:
        # An objective that needs more configurations than were accepted has no value, and no gradient.
        return Evaluation(None, mean, losses, errors, floors, {}, {}, outcomes), nothing
    gradients: dict[str, dict[str, np.ndarray]] = {}
    arrays = [name for name in terms if name not in rows[0].gradients]
    lengths = lengths_of(rows)
    factors = clipping(lengths, limits or {})
    row = -1
    for k, one in enumerate(samples):
        if one.measured is None:
            continue
        row += 1
        part = {
            name: {key: cotangents[name][k] * factors[name][row] * g for key, g in gradient.items()}
            for name, gradient in one.measured.gradients.items()
        }
        gradients = jax.tree.map(np.add, gradients, part) if gradients else part
        nothing[k] = {name: cotangents[name][k] for name in arrays}
    medians = {name: float(np.median(some)) for name, some in lengths.items()}
    return Evaluation(total, mean, losses, errors, floors, gradients, medians, outcomes), nothing


def lengths_of(rows: Sequence[Measured]) -> dict[str, np.ndarray]:
    """Length of the gradient of each scalar term in each configuration."""
    return {
        name: np.array([np.sqrt(sum(np.sum(g**2) for g in row.gradients[name].values())) for row in rows])
        for name in rows[0].gradients
    }


def clipping(lengths: Mapping[str, np.ndarray], limits: Mapping[str, float]) -> dict[str, np.ndarray]:
    """By which factor the gradient of each term is shortened in each configuration, so that none exceeds its limit.

    Next to an instability the gradient of a single packing grows without bound (its distribution has no variance), and
    a few packings would drown all others. With the unbiased estimator the loss's gradient remains zero on average where
    the mean is on target, because each packing's gradient is multiplied by distances of the *others*; but only if
    the limit does not depend on these others either. So it has to come from earlier steps.
    """
    factors = {}
    for name, some in lengths.items():
        limit = limits.get(name, np.inf)
        limit = np.inf if np.isnan(limit) else limit
        long = some > limit
        factors[name] = np.where(long, limit / np.where(long, some, 1.0), 1.0)
    return factors


def standard_error(values: np.ndarray) -> np.ndarray | None:
    """Standard error of the mean of independent values along the first axis; None for fewer than two."""
    n = values.shape[0]
    return np.std(values, axis=0, ddof=1) / np.sqrt(n) if n > 1 else None


@dataclasses.dataclass(frozen=True)
class PullBack(Work[tuple[dict[str, Any], Prepared | None, dict[str, Array]], Found[None]]):
    """Phase two of one configuration: design variables, what was prepared, and the cotangents of terms."""

    design: Design
    world: dict[str, Any]
    terms: dict[str, Term]

    def __call__(self, item):
        """The design's gradient of each of these terms."""
        values, prepared, along = item
        if not along or prepared is None:
            return Found(None)
        prepared = dataclasses.replace(prepared, statistics={})
        if prepared.memory is None:
            here = self.design.insert(self.world, values)
            memory = here["protocol"].remember(here["potential"], prepared.configuration)
            prepared = dataclasses.replace(prepared, memory=memory)
        some = {name: self.terms[name] for name in along}
        return Found(jax.tree.map(np.asarray, pull_back(self.design, values, self.world, some, prepared, along)))


def evaluate(
    design: Design,
    values: Mapping[str, Array],
    world: Mapping[str, Any],
    terms: Mapping[str, Term],
    sampler: AbstractSampler,
    samples: Sequence[Sample],
    team: Team,
    limits: Mapping[str, float] | None = None,
) -> Evaluation:
    """Loss, values and gradients over a batch; rejected configurations are counted, never averaged in.

    `limits` are the longest gradients of scalar terms that a single configuration may contribute (see `clipping`).
    """
    evaluation, cotangents = combine(terms, sampler, samples, limits)
    if not any(cotangents):
        return evaluation

    work = PullBack(design, dict(world), dict(terms))
    items = [(dict(values), one.prepared, along) for one, along in zip(samples, cotangents, strict=True)]
    has_memory = any(one.prepared is not None and one.prepared.memory is not None for one in samples)
    parts = team.map(work, items, here=has_memory)
    gradients = dict(evaluation.gradients)
    for found in parts:
        for name, part in (found.shared or {}).items():
            gradients[name] = jax.tree.map(np.add, gradients[name], part) if name in gradients else part
    return dataclasses.replace(evaluation, gradients={name: gradients[name] for name in terms})
