from collections.abc import Callable
from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PyTree

from .._types import Built
from ..registry.component import Component
from ._failures import fail, raised, run_all
from ._static import check_documentation

Values: TypeAlias = dict[str, Array]
START = {"binding_energy": np.array([0.1, 0.2, 0.3]), "diameter": np.array([0.8, 1.0])}
STEPS = 200


def check_optimizer(instance: optax.GradientTransformation, *, name: str = "optimizer") -> None:
    """Check everything that an optimizer has to do; raises one `ConformanceError` that lists what it does not."""
    __tracebackhide__ = True
    run_all(f"optimizer {name}", optimizer_checks(None, instance))


def optimizer_checks(component: Component | None, instance: Built) -> dict[str, Callable[[], None]]:
    """The checks of one optimizer, by name."""
    documented = {} if component is None else {"documentation": lambda: check_documentation(component)}
    return {**documented, "updates": lambda: check_updates(instance), "descent": lambda: check_descent(instance)}


def _loss(values: Values) -> Float[Array, ""]:
    return 0.5 * sum((jnp.sum((value - 0.5) ** 2) for value in values.values()), jnp.zeros(()))


def _step(optimizer: optax.GradientTransformation, values: Values, state: PyTree) -> tuple[Values, PyTree]:
    loss, gradient = jax.value_and_grad(_loss)(values)
    updates, state = optax.with_extra_args_support(optimizer).update(gradient, state, values, value=loss)
    return updates, state


def _start() -> Values:
    return {name: jnp.asarray(value) for name, value in START.items()}


def check_updates(optimizer: object) -> None:
    """Updates have the shapes of the design, are finite, and depend on the state alone; the state is made of arrays."""
    if not isinstance(optimizer, (optax.GradientTransformation, optax.GradientTransformationExtraArgs)):
        fail(f"returned a {type(optimizer).__name__}, not an optax.GradientTransformation")
    values = _start()
    try:
        state = optimizer.init(values)
        updates, after = _step(optimizer, values, state)
        jitted, _ = eqx.filter_jit(_step)(optimizer, values, state)
    except Exception as error:
        fail(f"raised {raised(error)}; `update` is called with gradients, state, parameters and value=loss, under jit")
    strange = [type(leaf).__name__ for leaf in jax.tree.leaves(state) if not eqx.is_array(leaf)]
    if strange:
        fail(f"its state holds {', '.join(sorted(set(strange)))}; keep arrays only, or checkpoints could not hold it")
    # JAX's annotations do not know that structures can be compared.
    first: object = jax.tree.structure(state)
    if first != jax.tree.structure(after):
        fail("its state changes structure in a step, so that every step would be compiled anew")
    for name, value in values.items():
        update = np.asarray(updates[name])
        if update.shape != value.shape or update.dtype != np.float64 or not np.isfinite(update).all():
            fail(f"the update of {name} is {update!r}; it must be finite, float64, of shape {value.shape}")
        if not np.allclose(update, np.asarray(jitted[name]), rtol=1e-10, atol=1e-14):
            fail(f"the update of {name} is {np.asarray(jitted[name])} compiled and {update} not")


def check_descent(optimizer: optax.GradientTransformation) -> None:
    """It makes a square smaller."""

    @eqx.filter_jit
    def descend(values: Values) -> Values:
        def descend_once(carry: tuple[Values, PyTree], _: None) -> tuple[tuple[Values, PyTree], None]:
            values, state = carry
            updates, state = _step(optimizer, values, state)
            return (optax.apply_updates(values, updates), state), None

        state = jax.tree.map(lambda x: jnp.asarray(x, dtype=x.dtype), optimizer.init(values))
        return jax.lax.scan(descend_once, (values, state), None, length=STEPS)[0][0]

    before = float(_loss(_start()))
    after = float(_loss(descend(_start())))
    if not after < before:
        fail(f"after {STEPS} steps the sum of squares is {after:.6g}, no less than the {before:.6g} it started from")


__all__ = ["check_optimizer", "optimizer_checks"]
