"""The loss of a step and its gradient, in two phases.

The loss of an ensemble is not a sum over configurations. Phase one measures each configuration and keeps its linearised
preparation; phase two pulls one cotangent per accepted configuration back through it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ._design import Design
from ._objective import Term
from ._protocol import Outcome, Prepared
from ._sampler import AbstractSampler


class Measured(eqx.Module):
    """Phase one of one configuration: its values by term, and the map from their cotangents to the design's."""

    values: dict[str, Array]
    pull: Callable


class Evaluation(eqx.Module):
    """What a step finds out.

    **Attributes:**

    - `loss`: weighted sum of the terms' losses; None if no configuration was accepted.
    - `values`, `losses`: mean over accepted configurations, and unweighted loss, of each term.
    - `gradients`: gradient of the weighted loss of each term in the design variables.
    - `outcomes`: how each requested configuration ended.
    """

    loss: float | None
    values: dict[str, np.ndarray]
    losses: dict[str, float]
    gradients: dict[str, dict[str, Array]]
    outcomes: list[Outcome]

    @property
    def gradient(self) -> dict[str, Array]:
        """Gradient of the total loss."""
        return jax.tree.map(lambda *terms: sum(terms), *self.gradients.values())


@eqx.filter_jit
def linearize(
    design: Design, values: Mapping[str, Array], world: Mapping[str, Any], terms: Mapping[str, Term], prepared: Prepared
) -> Measured:
    """Measure every term of one prepared configuration and linearise the measurement in the design variables."""

    def measure(values):
        here = design.insert(world, values)
        state = here["protocol"].attach(here["potential"], prepared)
        return {name: jnp.asarray(term.property.measure(state), dtype=float) for name, term in terms.items()}

    measured, pull = jax.vjp(measure, dict(values))
    return Measured(measured, pull)


@eqx.filter_jit
def _pull(measured: Measured, cotangents: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    """Design gradient of each term separately."""

    def pull_term(name):
        zero = jax.tree.map(jnp.zeros_like, measured.values)
        return measured.pull({**zero, name: cotangents[name]})[0]

    return {name: pull_term(name) for name in measured.values}


@eqx.filter_jit
def _losses(terms: Mapping[str, Term], values: Mapping[str, Array], accepted: Array, sampler: AbstractSampler):
    """Loss of each term, and the cotangent of its values under its weight."""

    def one(name):
        term = terms[name]

        def loss(x):
            return term.objective.loss(x, accepted, sampler)

        value, cotangent = jax.value_and_grad(loss)(values[name])
        return value, term.weight * cotangent

    return {name: one(name) for name in terms}


def evaluate(
    design: Design,
    values: Mapping[str, Array],
    world: Mapping[str, Any],
    terms: Mapping[str, Term],
    sampler: AbstractSampler,
    batch: Sequence[Prepared],
) -> Evaluation:
    """Loss, values and gradients over a batch of prepared configurations. Rejected ones are counted, never averaged in."""
    terms = dict(terms)
    outcomes = [Outcome(int(prepared.outcome)) for prepared in batch]
    measured = []
    for k, prepared in enumerate(batch):
        one = None
        if outcomes[k] == Outcome.converged:
            one = linearize(design, values, world, terms, prepared)
            if not all(np.all(np.isfinite(value)) for value in one.values.values()):
                outcomes[k], one = Outcome.nonfinite, None
        measured.append(one)
    rows = [one for one in measured if one is not None]
    if not rows:
        return Evaluation(None, {}, {}, {}, outcomes)
    accepted = jnp.asarray([one is not None for one in measured])
    gathered = {
        name: jnp.stack([jnp.zeros_like(rows[0].values[name]) if one is None else one.values[name] for one in measured])
        for name in terms
    }
    losses = _losses(terms, gathered, accepted, sampler)
    gradients = None
    for k, one in enumerate(measured):
        if one is not None:
            part = _pull(one, {name: cotangent[k] for name, (_, cotangent) in losses.items()})
            gradients = part if gradients is None else jax.tree.map(jnp.add, gradients, part)
    mean = {name: np.sum(np.asarray(value), axis=0) / len(rows) for name, value in gathered.items()}
    by_term = {name: float(loss) for name, (loss, _) in losses.items()}
    total = sum(terms[name].weight * loss for name, loss in by_term.items())
    return Evaluation(total, mean, by_term, gradients, outcomes)
