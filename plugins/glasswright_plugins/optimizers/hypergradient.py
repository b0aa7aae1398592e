"""An optimiser that learns its own rate."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree


class HypergradientState(NamedTuple):
    """State of `hypergradient`: that of the wrapped optimiser and of the rate's own."""

    inner: optax.OptState
    logit: Float[Array, ""]
    meta: optax.OptState
    direction: PyTree
    parameters: PyTree
    learning_rate: Float[Array, ""]


def hypergradient(
    optimizer: optax.GradientTransformation,
    learning_rate: float = 1e-3,
    meta_learning_rate: float = 3e-3,
) -> optax.GradientTransformation:
    """Let any optimiser learn its own rate, as the paper does, but at no extra gradient evaluation.

    The step is `theta' = theta - s(eta) u`, with `u` the direction of the wrapped optimiser at rate one and `s` the
    sigmoid; `eta` follows Adam on the loss after the step. Since `theta'` depends on `eta` through the step's length
    alone, `dL(theta')/d eta = -grad L(theta') . u s'(eta)`, and `grad L(theta')` is what the next step computes anyway:
    so `eta` is updated at the beginning of the next step instead of at the end of this one, which is the same number.
    Components that a bound stopped did not move with the rate and are left out of the product.

    Sources: Baydin et al., ICLR 2018 (hypergradient descent); Zu & Goodrich (2024), Methods.

    **Arguments:**

    - `optimizer`: the optimiser to wrap, with its own learning rate 1.
    - `learning_rate`: rate at the start.
    - `meta_learning_rate`: Adam's rate for `eta`.
    """
    if not 0.0 < learning_rate < 1.0:
        raise ValueError(f"hypergradient(learning_rate={learning_rate}): must lie between 0 and 1.")
    if not 0.0 <= meta_learning_rate < float("inf"):
        raise ValueError(f"hypergradient(meta_learning_rate={meta_learning_rate}): must be finite and not negative.")
    meta = optax.adam(meta_learning_rate)

    def init(parameters: PyTree) -> HypergradientState:
        logit = jnp.log(jnp.asarray(learning_rate, dtype=float)) - jnp.log1p(-jnp.asarray(learning_rate, dtype=float))
        rest = jax.tree.map(jnp.zeros_like, parameters)
        return HypergradientState(
            optimizer.init(parameters), logit, meta.init(logit), rest, parameters, jax.nn.sigmoid(logit)
        )

    def update(
        gradient: PyTree, state: HypergradientState, parameters: PyTree = None
    ) -> tuple[PyTree, HypergradientState]:
        rate = jax.nn.sigmoid(state.logit)

        def contribution(g: Array, u: Array, before: Array, now: Array) -> Array:
            change = now - before
            free = jnp.abs(change + rate * u) <= 1e-9 * jnp.abs(rate * u) + 1e-15 * jnp.abs(now)
            return jnp.sum(jnp.where(free, g * u, 0.0))

        products = jax.tree.map(contribution, gradient, state.direction, state.parameters, parameters)
        slope = -sum(jax.tree.leaves(products)) * rate * (1.0 - rate)
        change, meta_state = meta.update(slope, state.meta)
        # The first step has no predecessor to learn from.
        started = optax.tree.norm(state.direction) > 0.0
        logit = jnp.where(started, state.logit + change, state.logit)
        meta_state = jax.tree.map(lambda new, old: jnp.where(started, new, old), meta_state, state.meta)
        minus_direction, inner = optimizer.update(gradient, state.inner, parameters)
        direction = jax.tree.map(jnp.negative, minus_direction)
        new_rate = jax.nn.sigmoid(logit)
        updates = jax.tree.map(lambda u: -new_rate * u, direction)
        return updates, HypergradientState(inner, logit, meta_state, direction, parameters, new_rate)

    return optax.GradientTransformation(init, update)
