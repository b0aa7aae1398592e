import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .._jax import fast_jit
from ..components.protocol import Outcome, Prepared
from .diagnosis import blame, warn_of_values
from .problem import Problem


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


def _measurement(problem: Problem, prepared: Prepared) -> Callable[[Mapping[str, Array]], dict[str, Array]]:
    """The values of all terms as a function of the design variables."""

    def measure(values: Mapping[str, Array]) -> dict[str, Array]:
        model = problem.at(values)
        state = model.protocol.attach(model.potential, in_box(model.system, prepared))
        return {name: jnp.asarray(term.property.measure(state), dtype=float) for name, term in problem.terms.items()}

    return measure


@fast_jit
def measure(problem: Problem, values: Mapping[str, Array], prepared: Prepared) -> Measured:
    """Phase one: every term of one prepared configuration."""
    measured, pull = jax.vjp(_measurement(problem, prepared), dict(values))
    nothing = jax.tree.map(jnp.zeros_like, measured)
    scalars = [name for name, value in measured.items() if value.ndim == 0]
    return Measured(measured, {name: pull({**nothing, name: jnp.ones(())})[0] for name in scalars})


@fast_jit
def pull_back(
    problem: Problem, values: Mapping[str, Array], prepared: Prepared, cotangents: Mapping[str, Array]
) -> dict[str, dict[str, Array]]:
    """Phase two for terms that are not scalars: the design's gradient of each along its cotangent."""
    measured, pull = jax.vjp(_measurement(problem, prepared), dict(values))
    nothing = jax.tree.map(jnp.zeros_like, measured)
    return {name: pull({**nothing, name: cotangent})[0] for name, cotangent in cotangents.items()}


@fast_jit
def measure_values(problem: Problem, values: Mapping[str, Array], prepared: Prepared) -> Measured:
    """Every term of one prepared configuration, without gradients."""
    return Measured(_measurement(problem, prepared)(dict(values)), {})


def sample(
    problem: Problem, values: Mapping[str, Array], prepared: Prepared, index: int = 0, *, gradients: bool = True
) -> Sample:
    """Measure a prepared configuration; what is not a number is an outcome, and never averaged in."""
    statistics = {name: np.asarray(number).item() for name, number in prepared.statistics.items()}
    if not prepared.accepted:
        return judge(index, prepared.outcome, statistics, None, prepared)
    # Without the numbers about the search: they would only cost their way to the device.
    bare = dataclasses.replace(prepared, statistics={})
    try:
        found = (measure if gradients else measure_values)(problem, dict(values), bare)
    except Exception as error:

        def measurement(name: str) -> Callable[[Mapping[str, Array]], dict[str, Array]]:
            return _measurement(problem.only([name]), bare)

        failure = blame(problem.terms, dict(values), measurement, f"configuration {index}")
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
def measure_many(problem: Problem, values: Mapping[str, Array], prepared: Prepared) -> Measured:
    """`measure` of many configurations, stacked, side by side."""
    return jax.vmap(lambda one: measure(problem, values, one))(prepared)


@fast_jit
def measure_many_values(problem: Problem, values: Mapping[str, Array], prepared: Prepared) -> Measured:
    """`measure_values` of many configurations, stacked, side by side."""
    return jax.vmap(lambda one: measure_values(problem, values, one))(prepared)
