"""Measuring one prepared packing: the values of all terms, and their gradients in the design variables."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from .._jax import fast_jit
from ..components.property import AbstractProperty
from ..components.protocol import Outcome, Prepared
from ..physics.configuration import Configuration
from ..physics.state import Equilibrium, State
from .design import DesignValues
from .diagnosis import failure_of_property, warn_of_values
from .model import Model
from .problem import Problem
from .property_value import real_value


class Measurement(eqx.Module):
    """The values of all terms in one packing, and the gradients of the scalar ones in the design variables."""

    values: Mapping[str, Array | np.ndarray]
    gradients: Mapping[str, Mapping[str, Array | np.ndarray]]


class Sample(eqx.Module):
    """One requested configuration, prepared and measured.

    **Attributes:**

    - `index`: its number in the run.
    - `outcome`: how it ended.
    - `statistics`: numbers about the search.
    - `measurement`: None if it was rejected.
    - `prepared`: the configuration, in the process that prepared it; its cache only where it will be followed.
    """

    index: int
    outcome: Outcome
    statistics: dict[str, float]
    measurement: Measurement | None
    prepared: Prepared | None


def accepted_packings(samples: Iterable[Sample]) -> dict[int, Configuration]:
    """The packings of accepted samples by index, in the order of the samples."""
    return {
        sample.index: sample.prepared.configuration
        for sample in samples
        if sample.measurement is not None and sample.prepared is not None
    }


def in_box(model: Model, prepared: Prepared) -> Prepared:
    """The prepared configuration in the system's box, which may carry a derivative, at fixed fractional positions.

    Protocols that change the box leave each packing in its own.
    """
    if model.protocol.changes_box:
        return prepared
    moved: Prepared = eqx.tree_at(lambda p: p.configuration, prepared, model.system.in_box(prepared.configuration))
    return moved


def _values(
    problem: Problem, prepared: Prepared, *, trained: bool = False
) -> Callable[[DesignValues], dict[str, Array]]:
    """The values of all terms as a function of the design variables.

    With `trained`, terms of which something is wanted must have a derivative.
    """

    def values_at(design_values: DesignValues) -> dict[str, Array]:
        model = problem.at(design_values)
        state = model.protocol.attach(model.potential, in_box(model, prepared))
        values = {
            name: real_value(term.property, state, trained=trained and term.is_trained)
            for name, term in problem.terms.items()
        }
        return {name: _of_solids(problem.terms[name].property, state, value) for name, value in values.items()}

    return values_at


def _of_solids(measured: AbstractProperty, state: State, value: Array) -> Array:
    """The value of a property; not a number where the property needs a solid and the packing is none."""
    if not (measured.needs_rigidity and isinstance(state, Equilibrium)):
        return value
    return jnp.where(state.is_rigid, value, jnp.nan)


@fast_jit
def measure_with_gradients(problem: Problem, values: DesignValues, prepared: Prepared) -> Measurement:
    """The values of all terms in a prepared packing, and the gradients of the scalar ones.

    **Arguments:**

    - `values`: the design variables at which the packing was prepared.
    - `prepared`: without statistics, which would only cost their way to the device.
    """
    measured, pull = jax.vjp(_values(problem, prepared, trained=True), dict(values))
    zeros = jax.tree.map(jnp.zeros_like, measured)
    scalars = [name for name, value in measured.items() if value.ndim == 0]
    return Measurement(measured, {name: pull({**zeros, name: jnp.ones(())})[0] for name in scalars})


@fast_jit
def measure_values(problem: Problem, values: DesignValues, prepared: Prepared) -> Measurement:
    """The values of all terms in a prepared packing, without gradients."""
    return Measurement(_values(problem, prepared)(dict(values)), {})


@fast_jit
def measure_many_with_gradients(problem: Problem, values: DesignValues, prepared: Prepared) -> Measurement:
    """`measure_with_gradients` of many packings at once; every array has a leading axis over packings."""
    measured: Measurement = jax.vmap(lambda p: measure_with_gradients(problem, values, p))(prepared)
    return measured


@fast_jit
def measure_many_values(problem: Problem, values: DesignValues, prepared: Prepared) -> Measurement:
    """`measure_values` of many packings at once; every array has a leading axis over packings."""
    measured: Measurement = jax.vmap(lambda p: measure_values(problem, values, p))(prepared)
    return measured


@fast_jit
def pull_back(
    problem: Problem, values: DesignValues, prepared: Prepared, cotangents: Mapping[str, Array | np.ndarray]
) -> dict[str, dict[str, Array]]:
    """The gradient of each term that `cotangents` names, contracted with its cotangent."""
    measured, pull = jax.vjp(_values(problem, prepared), dict(values))
    zeros = jax.tree.map(jnp.zeros_like, measured)
    return {name: pull({**zeros, name: cotangent})[0] for name, cotangent in cotangents.items()}


def _in_the_box_of(problem: Problem, prepared: Prepared) -> Problem:
    with_box: Problem = eqx.tree_at(lambda p: p.model.system.cell, problem, prepared.configuration.box)
    return with_box


def measure_on_host(
    problem: Problem, values: DesignValues, prepared: Prepared, where: str, *, gradients: bool = True
) -> Measurement:
    """Measure an accepted packing and copy the result to the host.

    Raises `RunError` with the name of the property and `where` if a property cannot be measured.
    """
    bare = dataclasses.replace(prepared, statistics={})
    measure = measure_with_gradients if gradients else measure_values
    with _failures_named(problem, values, bare, where, gradients=gradients):
        on_host: Measurement = jax.tree.map(np.asarray, measure(problem, dict(values), bare))
        return on_host


def values_of_given(problem: Problem, values: DesignValues, prepared: Prepared, where: str) -> dict[str, np.ndarray]:
    """The values of all terms in a packing that is measured only once, on the host.

    Problem and values are compiled in as constants, but for the box, which is that of the packing. Digits in the last
    place can depend on it. Raises `RunError` like `measure_on_host`.
    """
    bare = dataclasses.replace(prepared, statistics={})
    with _failures_named(problem, values, bare, where, gradients=False):
        measured = eqx.filter_jit(lambda p: measure_values(_in_the_box_of(problem, p), dict(values), p))(bare)
        on_host: dict[str, np.ndarray] = jax.tree.map(np.asarray, dict(measured.values))
        return on_host


def gradients_of_given(
    problem: Problem, values: DesignValues, prepared: Prepared, where: str
) -> dict[str, dict[str, np.ndarray]]:
    """The gradients of the scalar terms in a packing that is measured only once, compiled like `values_of_given`.

    The program gives nothing else: values computed beside the gradients would change their last digits.
    """
    bare = dataclasses.replace(prepared, statistics={})
    with _failures_named(problem, values, bare, where, gradients=True):
        gradients = eqx.filter_jit(
            lambda p: measure_with_gradients(_in_the_box_of(problem, p), dict(values), p).gradients
        )(bare)
        on_host: dict[str, dict[str, np.ndarray]] = jax.tree.map(np.asarray, dict(gradients))
        return on_host


@contextlib.contextmanager
def _failures_named(
    problem: Problem, values: DesignValues, prepared: Prepared, where: str, *, gradients: bool
) -> Iterator[None]:
    """A context in which the failure of a property becomes a `RunError` that names it, and `where` it happened."""
    try:
        yield
    except Exception as error:
        failure = failure_of_property(
            problem.terms,
            dict(values),
            lambda name: _values(problem.only([name]), prepared, trained=gradients),
            where,
            gradients=gradients,
        )
        if failure is None:
            raise
        raise failure from error


def measure_sample(
    problem: Problem, values: DesignValues, prepared: Prepared, index: int = 0, *, gradients: bool = True
) -> Sample:
    """Measure a prepared configuration; a value that is not finite is an outcome, and never averaged in."""
    statistics = {name: np.asarray(number).item() for name, number in prepared.statistics.items()}
    outcome, measurement = Outcome(int(prepared.outcome)), None
    if prepared.accepted:
        measurement = measure_on_host(problem, values, prepared, f"configuration {index}", gradients=gradients)
        outcome = outcome_of_measurement(problem, values, prepared, measurement)
    return classify(index, outcome, statistics, measurement, prepared)


@fast_jit
def _is_rigid(model: Model, prepared: Prepared) -> Bool[Array, ""]:
    state = model.protocol.attach(model.potential, in_box(model, prepared))
    return state.is_rigid if isinstance(state, Equilibrium) else jnp.ones((), dtype=bool)


def is_rigid(problem: Problem, values: DesignValues, prepared: Prepared) -> bool:
    """Whether an accepted packing is a solid, as `Equilibrium.is_rigid` says; True for states that do not say it."""
    return bool(_is_rigid(problem.at(values), dataclasses.replace(prepared, statistics={})))


def outcome_of_measurement(
    problem: Problem, values: DesignValues, prepared: Prepared, measurement: Measurement
) -> Outcome:
    """The outcome of an accepted packing, given what was measured on it: `not_rigid` where that is why a value lacks.

    Whether the packing is rigid is looked at only where a value is not finite: ratios of moduli are not a number if it
    is not. `classify` decides about all other values that are not finite.
    """
    if _is_finite(measurement) or is_rigid(problem, values, prepared):
        return Outcome.converged
    return Outcome.not_rigid


def _is_finite(measurement: Measurement) -> bool:
    return all(np.all(np.isfinite(number)) for number in jax.tree.leaves(measurement))


def classify(
    index: int, outcome: int, statistics: dict[str, float], measurement: Measurement | None, prepared: Prepared | None
) -> Sample:
    """The sample of a configuration, rejected as `nonfinite` if a value or a gradient is not finite."""
    outcome = Outcome(int(outcome))
    if outcome in (Outcome.converged, Outcome.not_rigid) and measurement is not None:
        is_solid = outcome == Outcome.converged
        warn_of_values(index, measurement.values, measurement.gradients, is_rigid=is_solid)
    if outcome != Outcome.converged:
        measurement = None
    elif measurement is not None and not _is_finite(measurement):
        outcome, measurement = Outcome.nonfinite, None
    return Sample(index, outcome, statistics, measurement, prepared)
