"""The fast inertial relaxation engine, to be run until the pair list has to be renewed.

Sources: Bitzek et al., PRL 97, 170201 (2006); FIRE 2.0: Guénolé et al., Comput. Mater. Sci. 175, 109584 (2020).
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from .._configuration import Configuration
from .._potential import AbstractPotential
from ..neighbors import PairList


class FireSettings(eqx.Module):
    """Constants of FIRE.

    - `time_step_start`, `time_step_max`: None derives them from the stiffness bound of each pair list.
    - `delay`: steps downhill before the time step grows.
    - `grow`, `shrink`: factors of the time step after steps down- and uphill.
    - `mixing_start`, `mixing_decay`: share of the velocity that is turned towards the force, and its decay.
    - `move_cap`: largest move of a particle in one step, in units of length.
    """

    time_step_start: float | None = None
    time_step_max: float | None = None
    delay: int = 20
    grow: float = 1.1
    shrink: float = 0.5
    mixing_start: float = 0.25
    mixing_decay: float = 0.99
    move_cap: float = 0.1


# As the paper runs it; its added constant inside the force norm is left out, which is what lets it reach 1e-12 sooner.
PAPER_SETTINGS = FireSettings(
    time_step_start=0.001, time_step_max=0.1, delay=5, mixing_start=0.1, move_cap=float("inf")
)


class FireState(eqx.Module):
    """Where FIRE stands: carried over renewals of the pair list."""

    fractional: Float[Array, "n d"]
    velocity: Float[Array, "n d"]
    force: Float[Array, "n d"]
    time_step: Float[Array, ""]
    mixing: Float[Array, ""]
    downhill: Int[Array, ""]
    evaluations: Int[Array, ""]
    covered: Bool[Array, ""]


def fire_start(configuration: Configuration) -> FireState:
    """A state at rest."""
    rest = jnp.zeros_like(configuration.fractional)
    return FireState(
        fractional=configuration.fractional,
        velocity=rest,
        force=rest,
        # With the types that `fire` returns, or it would be compiled twice.
        time_step=jnp.zeros((), dtype=rest.dtype),
        mixing=jnp.zeros((), dtype=rest.dtype),
        downhill=jnp.zeros((), dtype=int),
        evaluations=jnp.zeros((), dtype=int),
        covered=jnp.asarray(True),
    )


@eqx.filter_jit
def fire(
    potential: AbstractPotential,
    configuration: Configuration,
    neighbors: PairList,
    state: FireState,
    settings: FireSettings,
    force_tolerance: Float[ArrayLike, ""],
    max_evaluations: Int[ArrayLike, ""],
) -> FireState:
    """Run until max|F| < `force_tolerance`, the evaluations are used up, a NaN appears, or pairs may be missing."""
    inverse_box = jnp.linalg.inv(configuration.box).T
    if settings.time_step_max is None:
        # The integrator is stable up to 2 / sqrt(largest eigenvalue). The bound exceeds that eigenvalue about twofold
        # in packings, so that 0.85 of the limit it gives is 0.6 of the true one.
        limit = 0.85 * 2.0 / jnp.sqrt(potential.stiffness_bound(configuration, neighbors))
        time_step_max, time_step_start = limit, 0.1 * limit
    else:
        time_step_max = jnp.asarray(settings.time_step_max)
        time_step_start = jnp.asarray(settings.time_step_start)
    cutoff = potential.cutoff

    def at(fractional):
        return eqx.tree_at(lambda c: c.fractional, configuration, fractional)

    def force_at(fractional):
        return -potential.gradient(at(fractional), neighbors)

    first = state.evaluations == 0
    state = eqx.tree_at(
        lambda s: (s.force, s.time_step, s.mixing, s.covered),
        state,
        (
            force_at(state.fractional),
            jnp.where(first, time_step_start, jnp.minimum(state.time_step, time_step_max)),
            jnp.where(first, settings.mixing_start, state.mixing),
            neighbors.covers(at(state.fractional), cutoff),
        ),
    )

    def unfinished(s: FireState):
        largest = jnp.max(jnp.abs(s.force))
        return (largest >= force_tolerance) & (s.evaluations < max_evaluations) & s.covered & jnp.isfinite(largest)

    def step(s: FireState):
        power = jnp.vdot(s.force, s.velocity)
        down, up = power > 0.0, power < 0.0
        downhill = jnp.where(down, s.downhill + 1, 0)
        steady = downhill > settings.delay
        time_step = jnp.where(steady, jnp.minimum(s.time_step * settings.grow, time_step_max), s.time_step)
        time_step = jnp.where(up, s.time_step * settings.shrink, time_step)
        mixing = jnp.where(steady, s.mixing * settings.mixing_decay, s.mixing)
        mixing = jnp.where(up, settings.mixing_start, mixing)
        # Uphill: half a step back, then from rest.
        back = jnp.where(up, -0.5 * time_step, 0.0) * s.velocity
        velocity = jnp.where(up, 0.0, s.velocity) + time_step * s.force
        force_norm = jnp.maximum(jnp.linalg.norm(s.force), jnp.finfo(s.force.dtype).tiny)
        velocity = (1.0 - mixing) * velocity + mixing * s.force * jnp.linalg.norm(velocity) / force_norm
        move = time_step * velocity
        longest = jnp.sqrt(jnp.max(jnp.sum(move**2, axis=1)))
        scale = jnp.minimum(1.0, settings.move_cap / jnp.maximum(longest, jnp.finfo(longest.dtype).tiny))
        fractional = s.fractional + (back + scale * move) @ inverse_box
        covered = neighbors.covers(at(fractional), cutoff)
        return FireState(
            fractional=fractional,
            velocity=scale * velocity,
            force=force_at(fractional),
            time_step=time_step,
            mixing=mixing,
            downhill=downhill,
            evaluations=s.evaluations + 1,
            covered=covered,
        )

    # A step that leaves the list's cover has a force that may lack pairs; the caller renews the list and the force.
    return jax.lax.while_loop(unfinished, step, state)
