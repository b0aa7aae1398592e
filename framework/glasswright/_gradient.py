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
from ._objective import Term
from ._protocol import Outcome, Prepared
from ._sampler import AbstractSampler


class Measured(eqx.Module):
    """Phase one of one configuration: the values of all terms, and the design's gradient of the scalar ones."""

    values: dict[str, Array]
    gradients: dict[str, dict[str, Array]]


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
    gradients: dict[str, dict[str, np.ndarray]]
    outcomes: list[Outcome]

    @property
    def gradient(self) -> dict[str, np.ndarray]:
        """Gradient of the total loss."""
        return jax.tree.map(lambda *terms: sum(terms), *self.gradients.values())


def _measurement(design: Design, world: Mapping[str, Any], terms: Mapping[str, Term], prepared: Prepared):
    """All terms' values as a function of the design variables."""

    def measure(values):
        here = design.insert(world, values)
        state = here["protocol"].attach(here["potential"], prepared)
        return {name: jnp.asarray(term.property.measure(state), dtype=float) for name, term in terms.items()}

    return measure


@eqx.filter_jit
def measure(
    design: Design, values: Mapping[str, Array], world: Mapping[str, Any], terms: Mapping[str, Term], prepared: Prepared
) -> Measured:
    """Phase one: every term of one prepared configuration."""
    measured, pull = jax.vjp(_measurement(design, world, terms, prepared), dict(values))
    nothing = jax.tree.map(jnp.zeros_like, measured)
    scalars = [name for name, value in measured.items() if value.ndim == 0]
    return Measured(measured, {name: pull({**nothing, name: jnp.ones(())})[0] for name in scalars})


@eqx.filter_jit
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


@eqx.filter_jit
def _losses(terms: Mapping[str, Term], values: Mapping[str, Any], accepted: Any, sampler: AbstractSampler):
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
    """Loss, values and gradients over a batch; rejected configurations are counted, never averaged in."""
    terms = dict(terms)
    outcomes = [Outcome(int(prepared.outcome)) for prepared in batch]
    measured = []
    for k, prepared in enumerate(batch):
        one = None
        if outcomes[k] == Outcome.converged:
            # Without the numbers about the search: they would only cost their way to the device.
            one = measure(design, values, world, terms, dataclasses.replace(prepared, statistics={}))
            if not all(np.all(np.isfinite(number)) for number in jax.tree.leaves(one)):
                outcomes[k], one = Outcome.nonfinite, None
        measured.append(one)
    rows = [one for one in measured if one is not None]
    if not rows:
        return Evaluation(None, {}, {}, {}, outcomes)
    # Gathered on the host: these are few numbers, and every operation on the device has a price.
    accepted = np.asarray([one is not None for one in measured])
    empty = {name: np.zeros_like(value) for name, value in rows[0].values.items()}
    gathered = {
        name: np.stack([np.asarray((empty if one is None else one.values)[name]) for one in measured]) for name in terms
    }
    losses = jax.tree.map(np.asarray, _losses(terms, gathered, accepted, sampler))
    gradients: dict[str, dict[str, np.ndarray]] = {}
    for k, one in enumerate(measured):
        if one is None:
            continue
        cotangents = {name: cotangent[k] for name, (_, cotangent) in losses.items()}
        part = {
            name: {key: cotangents[name] * np.asarray(g) for key, g in gradient.items()}
            for name, gradient in one.gradients.items()
        }
        arrays = {name: cotangent for name, cotangent in cotangents.items() if name not in part}
        if arrays:
            here = {name: terms[name] for name in arrays}
            bare = dataclasses.replace(batch[k], statistics={})
            part |= jax.tree.map(np.asarray, pull_back(design, values, world, here, bare, arrays))
        gradients = jax.tree.map(np.add, gradients, part) if gradients else part
    mean = {name: np.sum(value, axis=0) / len(rows) for name, value in gathered.items()}
    by_term = {name: float(loss) for name, (loss, _) in losses.items()}
    total = sum(terms[name].weight * loss for name, loss in by_term.items())
    return Evaluation(total, mean, by_term, gradients, outcomes)
