"""What went wrong with somebody's property, by its name and the number of the configuration, without a JAX "
"traceback."""

import inspect
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._errors import LONGEST, RunError, named, one_line
from ..components.objective import Term

_warned: set[tuple[str, str]] = set()


def blame(terms: Mapping[str, Term], values: Any, measurement: Callable[[str], Any], where: str) -> RunError | None:
    """The property that an exception came from, as an error that names it; None if it came from none.

    `measurement(name)` is a function of `values` that measures one term; each is traced by itself to find the one.
    """
    for name, term in terms.items():
        try:
            jax.eval_shape(lambda v, n=name: jax.vjp(measurement(n), v)[0], values)
        except Exception as found:
            return RunError(f"terms.{name}.property: {describe(found, term.property)} on {where}")
    return None


def describe(error: BaseException, measured: Any) -> str:
    """`PoissonRatio.measure raised ValueError: … (poisson_ratio.py, line 12)`."""
    advice = ""
    if isinstance(error, (jax.errors.JAXTypeError, jax.errors.JAXIndexError)):
        advice = "; measure must be made of operations that JAX can trace: no float(), no `if` on values, no NumPy"
    return f"{type(measured).__name__}.measure raised {named(error, LONGEST)}{_line(error, measured)}{advice}"


def _line(error: BaseException, measured: Any) -> str:
    """Where in the file of the property's class it happened."""
    try:
        file = inspect.getfile(type(measured))
    except (OSError, TypeError):
        return ""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f" ({file}, line {lines[-1]})" if lines else ""


def check_shapes(values: Sequence[Mapping[str, np.ndarray]], indices: Sequence[int]) -> None:
    """Every configuration must give a value of the same shape, or there is no mean."""
    for name, first in values[0].items():
        for index, row in zip(indices, values, strict=True):
            if np.shape(row[name]) != np.shape(first):
                raise RunError(
                    f"terms.{name}.property: returned shape {np.shape(row[name])} on configuration {index}, and "
                    f"{np.shape(first)} on configuration {indices[0]}; all must have one shape"
                )


def blame_objective(
    terms: Mapping[str, Term], values: Mapping[str, Any], accepted: Any, sampler: Any
) -> RunError | None:
    """The objective that an exception came from, as an error that names it; None if it came from none."""
    for name, term in terms.items():
        try:
            loss = jax.eval_shape(lambda v, t=term: t.objective.loss(v, jnp.asarray(accepted), sampler), values[name])
        except Exception as found:
            text = one_line(found, LONGEST)
        else:
            if loss.shape == ():
                continue
            text = f"its loss has shape {loss.shape}, not ()"
        shape = np.shape(values[name])[1:]
        return RunError(f"terms.{name}.objective: cannot judge values of shape {shape}: {text}")
    return None


def warn_of_values(index: int, values: Mapping[str, Any], gradients: Mapping[str, Mapping[str, Any]]) -> None:
    """One line on standard error for the first value of each property that cannot be trained, and why."""
    for name, value in values.items():
        gradient = [np.asarray(part) for part in gradients.get(name, {}).values()]
        if not np.all(np.isfinite(value)):
            what = "is not finite; configurations like this are counted as nonfinite and left out"
        elif not all(np.all(np.isfinite(part)) for part in gradient):
            what = "is finite but its gradient is not; configurations like this are counted as nonfinite and left out"
        elif gradient and not any(np.any(part) for part in gradient):
            what = "does not change with the design: its gradient is exactly zero, so it cannot be trained"
        else:
            continue
        if (name, what) not in _warned:
            _warned.add((name, what))
            print(f"glasswright: warning: property {name}: the value on configuration {index} {what}", file=sys.stderr)
