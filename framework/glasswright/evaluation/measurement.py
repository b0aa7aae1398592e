import dataclasses
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .._jax import fast_jit
from ..components.objective import Term
from ..components.protocol import Outcome, Prepared
from .design import Design
from .diagnosis import blame, warn_of_values


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
