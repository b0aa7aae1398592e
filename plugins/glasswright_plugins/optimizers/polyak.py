"""An optimiser that never steps over a target."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike, Float, PyTree


class PolyakState(NamedTuple):
    """State of `polyak`: that of the wrapped optimiser, and the rate of the last step."""

    inner: optax.OptState
    learning_rate: Float[Array, ""]


def polyak(
    optimizer: optax.GradientTransformation,
    learning_rate: float = 3e-3,
    floor: float = 0.01,
) -> optax.GradientTransformationExtraArgs:
    """Take long steps with any optimiser while the target is far, and never step over a target that is near.

    With `u` the direction of the wrapped optimiser at rate one, the step is `theta' = theta - s u` with
    `s = min(learning_rate, 2 L / (grad L . u))`. For a squared distance `L = (f - f*)²` the second is the step that
    reaches the target if `f` is linear: Gauss and Newton's step along `u`, and twice Polyak's. Far from the target a
    large rate is safe and carries the design over the ripples that packings have at the scale of single contacts; near
    a rearrangement, where gradients grow without bound, the step shrinks with them.

    The loss must be zero at its best, and known: use it where the packings are followed, not on samples of an ensemble.

    Source: Polyak, Introduction to Optimization (1987), section 5.3.

    **Arguments:**

    - `optimizer`: the optimiser to wrap, with its own learning rate 1.
    - `learning_rate`: the largest rate.
    - `floor`: the smallest rate as a fraction of the largest. Where a contact forms or breaks, a property can have a
      cusp that ever smaller steps would close in on.
    """
    if not 0.0 < learning_rate < float("inf"):
        raise ValueError(f"polyak(learning_rate={learning_rate}): must be positive and finite.")
    if not 0.0 <= floor <= 1.0:
        raise ValueError(f"polyak(floor={floor}): must lie between 0 and 1.")

    def init(parameters: PyTree) -> PolyakState:
        return PolyakState(optimizer.init(parameters), jnp.asarray(learning_rate, dtype=float))

    def update(
        gradient: PyTree,
        state: PolyakState,
        parameters: PyTree = None,
        *,
        value: Float[ArrayLike, ""],
        **others: object,
    ) -> tuple[PyTree, PolyakState]:
        minus_direction, inner = optimizer.update(gradient, state.inner, parameters)
        slope = -optax.tree.vdot(gradient, minus_direction)
        # Uphill directions, which momentum can lead to, predict no target and take the largest rate.
        reach = jnp.where(slope > 0.0, 2.0 * value / jnp.where(slope > 0.0, slope, 1.0), jnp.inf)
        rate = jnp.clip(reach, floor * learning_rate, learning_rate)
        return jax.tree.map(lambda d: rate * d, minus_direction), PolyakState(inner, rate)

    # Read before a run: without a least loss the step has no meaning.
    vars(update)["needs_least_loss"] = True
    return optax.GradientTransformationExtraArgs(init, update)
