import contextlib
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..components.objective import AbstractObjective
from ..components.property import AbstractProperty
from ..components.sampler import AbstractSampler
from ..physics.state import State
from ..registry.component import Component
from ..registry.registry import registry
from ._failures import fail, raised, run_all
from ._packings import default_instance
from ._static import as_component, static_checks

# The number of packings that have values, and which of them were accepted.
BATCH = 6
ACCEPTED = np.array([True, False, True, True, False, True])


class Anything(AbstractProperty):
    """Stands for any property, for objectives that ask for the shape of its values."""

    def measure(self, state: State) -> Float[Array, "*shape"]:
        """Raise: it is never measured."""
        raise NotImplementedError


def check_objective(instance: AbstractObjective, *, shape: tuple[int, ...] | None = None) -> None:
    """Check everything that an objective has to do; raises one `ConformanceError` that lists what it does not.

    **Arguments:**

    - `instance`: the objective.
    - `shape`: of the property's values; left out, the first that the objective does not refuse.
    """
    __tracebackhide__ = True
    component = as_component(instance)
    run_all(f"objective {component.name}", objective_checks(component, instance, shape))


def accepted_shape(instance: AbstractObjective) -> tuple[int, ...]:
    """The first of several usual shapes of values that the objective does not refuse."""
    for shape in ((), (2,), (3,), (2, 2), (3, 3)):
        with contextlib.suppress(ValueError):
            instance.check_property(Anything(), shape)
            return shape
    return ()


def objective_checks(
    component: Component, instance: AbstractObjective, shape: tuple[int, ...] | None = None
) -> dict[str, Callable[[], None]]:
    """The checks of one objective, by name."""
    shape = accepted_shape(instance) if shape is None else shape
    values = np.asarray(0.4 + 0.1 * jax.random.normal(jax.random.key(0), (BATCH, *shape)))
    rows = ACCEPTED.reshape((-1,) + (1,) * len(shape))
    values = np.where(rows, values, 0.0)
    return {
        **static_checks(instance, component),
        "loss": lambda: check_loss(instance, values),
        "rejected packings": lambda: check_rejected(instance, values, rows),
        "gradient": lambda: check_loss_gradient(instance, values),
    }


@functools.cache
def _all_samplers() -> list[AbstractSampler]:
    samplers = []
    for component in registry().components("sampler").values():
        try:
            samplers.append(default_instance(component, {"size": BATCH}))
        except Exception:  # a sampler with further required parameters
            continue
    return samplers


def samplers_for(objective: AbstractObjective) -> list[AbstractSampler]:
    """The registered samplers, with six packings, that the objective does not refuse."""
    fitting = []
    for sampler in _all_samplers():
        try:
            objective.check(sampler)
        except ValueError:
            continue
        fitting.append(sampler)
    if not fitting:
        fail(f"`check` refuses every registered sampler with size={BATCH}; say which one can serve it")
    return fitting


def check_loss(objective: AbstractObjective, values: np.ndarray) -> None:
    """A finite number of 64 bits, compiled and not; the floor too, or None."""
    for sampler in samplers_for(objective):
        with_sampler = f"with the sampler {type(sampler).__name__}"
        try:
            loss = objective.loss(jnp.asarray(values), jnp.asarray(ACCEPTED), sampler)
            jitted = jax.jit(lambda v, a, s=sampler: objective.loss(v, a, s))(values, ACCEPTED)
            floor = objective.floor(jnp.asarray(values), jnp.asarray(ACCEPTED), sampler)
        except Exception as error:
            fail(f"{with_sampler} raised {raised(error)} on values of shape {values.shape}; `loss` is traced by JAX")
        array = np.asarray(loss)
        if array.shape != () or array.dtype != np.float64 or not np.isfinite(array):
            fail(f"{with_sampler} the loss is {array!r}; it must be a finite float64 of shape ()")
        if not np.isclose(float(jitted), float(array), rtol=1e-12, atol=1e-14):
            fail(f"{with_sampler} the loss is {float(jitted):.15g} compiled and {float(array):.15g} not")
        again = float(objective.loss(jnp.asarray(values), jnp.asarray(ACCEPTED), sampler))
        if again != float(array):
            fail(f"{with_sampler} the loss of the same values is {float(array):.15g} and then {again:.15g}")
        if floor is not None and (np.shape(floor) != () or not np.isfinite(float(floor))):
            fail(f"{with_sampler} the floor is {floor!r}; it must be a finite number of shape (), or None")


def check_rejected(objective: AbstractObjective, values: np.ndarray, rows: np.ndarray) -> None:
    """Rejected packings do not count, and it does not matter in which order packings come."""
    order = np.array([3, 1, 5, 0, 4, 2])
    for sampler in samplers_for(objective):
        loss, slope = jax.value_and_grad(lambda v, s=sampler: objective.loss(v, jnp.asarray(ACCEPTED), s))(values)
        if np.any(np.asarray(slope)[~ACCEPTED] != 0.0):
            fail(
                "rejected packings have a gradient; use `jnp.where(accepted, values, 0)` and divide by `sum(accepted)`"
            )
        other = float(objective.loss(jnp.where(rows, values, 7.0), jnp.asarray(ACCEPTED), sampler))
        if not np.isclose(other, float(loss), rtol=1e-12, atol=1e-14):
            fail(
                f"the loss goes from {float(loss):.12g} to {other:.12g} with the values of rejected packings, which "
                "are no values; use `jnp.where(accepted, values, 0)` and divide by `sum(accepted)`"
            )
        moved = float(objective.loss(jnp.asarray(values[order]), jnp.asarray(ACCEPTED[order]), sampler))
        if not np.isclose(moved, float(loss), rtol=1e-11, atol=1e-13):
            fail(f"the loss goes from {float(loss):.12g} to {moved:.12g} when packings change places")


def check_loss_gradient(objective: AbstractObjective, values: np.ndarray) -> None:
    """Its derivative in the values is that of central differences."""
    direction = np.asarray(jax.random.normal(jax.random.key(1), values.shape))
    accepted = ACCEPTED.reshape((-1,) + (1,) * (values.ndim - 1))
    direction = np.where(accepted, direction, 0.0)
    for sampler in samplers_for(objective):

        def loss(v: Array, sampler: AbstractSampler = sampler) -> Float[Array, ""]:
            return objective.loss(v, jnp.asarray(ACCEPTED), sampler)

        gradient = np.asarray(jax.grad(loss)(jnp.asarray(values)))
        norm = float(np.linalg.norm(gradient))
        errors = []
        for step in (1e-4, 1e-5, 1e-6):
            ends = [float(loss(jnp.asarray(values + sign * step * direction))) for sign in (-1.0, 1.0)]
            difference = (ends[1] - ends[0]) / (2 * step)
            errors.append((abs(difference - float(np.vdot(gradient, direction))), difference))
        error, difference = min(errors)
        if not error <= 1e-6 * max(norm, 1e-3):
            fail(
                f"along a random direction the derivative of the loss is {float(np.vdot(gradient, direction)):.9g}, "
                f"central differences give {difference:.9g}; some dependence on the values is cut"
            )


__all__ = ["check_objective", "objective_checks"]
