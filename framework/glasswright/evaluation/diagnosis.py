"""Naming the component that failed: the property or objective, the configuration, and the line, without a traceback."""

import inspect
import logging
import traceback
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .._errors import LONGEST, RunError, named, one_line
from ..components.objective import Term
from ..components.property import AbstractProperty
from ..components.sampler import AbstractSampler
from .design import DesignValues
from .property_value import UnusableValue

logger = logging.getLogger(__name__)
# Why there is no ratio of moduli.
NOT_RIGID = "the packing is not rigid: its bulk and shear modulus are zero, and it has no ratio of them"
_warned: set[tuple[str, str]] = set()


def failure_of_property(
    terms: Mapping[str, Term],
    values: DesignValues,
    measurement: Callable[[str], Callable[[DesignValues], dict[str, Array]]],
    where: str,
    *,
    gradients: bool = True,
) -> RunError | None:
    """The error that names the property which an exception came from; None if it came from no property.

    `measurement(name)` is a function of `values` that measures one term; each is traced by itself, with its derivative
    where `gradients` were wanted.
    """

    def traced(name: str, values: DesignValues) -> Mapping[str, Array]:
        return jax.vjp(measurement(name), values)[0] if gradients else measurement(name)(values)

    for name, term in terms.items():
        try:
            jax.eval_shape(lambda v, n=name: traced(n, v), values)
        except Exception as error:
            return RunError(f"terms.{name}.property: {describe_failure(error, term.property)} on {where}")
    return None


def describe_failure(error: BaseException, measured: AbstractProperty) -> str:
    """`PoissonRatio.measure raised ValueError: … (poisson_ratio.py, line 12)`."""
    if isinstance(error, UnusableValue):
        return str(error)
    advice = ""
    if isinstance(error, (jax.errors.JAXTypeError, jax.errors.JAXIndexError)):
        advice = "; measure must be made of operations that JAX can trace: no float(), no `if` on values, no NumPy"
    return f"{type(measured).__name__}.measure raised {named(error, LONGEST)}{_line(error, measured)}{advice}"


def _line(error: BaseException, measured: AbstractProperty) -> str:
    """The line in the file of the property's class where the error was raised."""
    try:
        file = inspect.getfile(type(measured))
    except (OSError, TypeError):
        return ""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f" ({file}, line {lines[-1]})" if lines else ""


def check_shapes(values: Sequence[Mapping[str, np.ndarray]], indices: Sequence[int]) -> None:
    """Raise `RunError` unless each property has the same shape in all configurations: else there is no mean."""
    for name, first in values[0].items():
        for index, of_sample in zip(indices, values, strict=True):
            if np.shape(of_sample[name]) != np.shape(first):
                raise RunError(
                    f"terms.{name}.property: returned shape {np.shape(of_sample[name])} on configuration {index}, and "
                    f"{np.shape(first)} on configuration {indices[0]}; all must have one shape"
                )


def failure_of_objective(
    terms: Mapping[str, Term], values: Mapping[str, np.ndarray], accepted: np.ndarray, sampler: AbstractSampler
) -> RunError | None:
    """The error that names the objective which an exception came from; None if it came from no objective."""
    for name, term in terms.items():
        try:
            loss = jax.eval_shape(lambda v, t=term: t.objective.loss(v, jnp.asarray(accepted), sampler), values[name])
        except Exception as error:
            text = one_line(error, LONGEST)
        else:
            if loss.shape == ():
                continue
            text = f"its loss has shape {loss.shape}, not ()"
        shape = np.shape(values[name])[1:]
        return RunError(f"terms.{name}.objective: cannot take values of shape {shape}: {text}")
    return None


def forget_warnings() -> None:
    """Log warnings again that this process has logged already."""
    _warned.clear()


def warn_of_values(
    index: int,
    values: Mapping[str, Array | np.ndarray],
    gradients: Mapping[str, Mapping[str, Array | np.ndarray]],
    *,
    is_rigid: bool = True,
) -> None:
    """Log a warning for the first value of each property that cannot be trained, and why."""
    for name, value in values.items():
        gradient = [np.asarray(part) for part in gradients.get(name, {}).values()]
        if not is_rigid:
            if np.all(np.isfinite(value)):
                continue
            what = f"is not finite, because {NOT_RIGID}; configurations like this are counted as not_rigid and left out"
        elif not np.all(np.isfinite(value)):
            what = "is not finite; configurations like this are counted as nonfinite and left out"
        elif not all(np.all(np.isfinite(part)) for part in gradient):
            what = "is finite but its gradient is not; configurations like this are counted as nonfinite and left out"
        elif gradient and not any(np.any(part) for part in gradient):
            what = "does not change with the design: its gradient is exactly zero, so it cannot be trained"
        else:
            continue
        if (name, what) not in _warned:
            _warned.add((name, what))
            logger.warning("property %s: the value on configuration %d %s", name, index, what)
