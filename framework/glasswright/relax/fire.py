"""FIRE, the fast inertial relaxation engine, in runs that end where the pair list has to be renewed.

Sources: Bitzek et al., PRL 97, 170201 (2006); FIRE 2.0: Guénolé et al., Comput. Mater. Sci. 175, 109584 (2020).
"""

import dataclasses
from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from .._jax import fast_jit
from ..physics.configuration import Configuration
from ..physics.pair_list import PairList
from ..physics.potential import AbstractPotential
from ..physics.units import Units
from .enthalpy import covers

# The start of a search consists of NumPy's arrays (`fire_start`).
AnyArray: TypeAlias = Array | np.ndarray
TINY = float(np.finfo(float).tiny)


class FireSettings(eqx.Module):
    """Constants of FIRE.

    - `time_step_start`, `time_step_max`: None derives them from the stiffness bound of each pair list.
    - `delay`: steps downhill before the time step grows.
    - `grow`, `shrink`: factors of the time step after steps down- and uphill.
    - `mixing_start`, `mixing_decay`: share of the velocity that is turned towards the force, and its decay.
    - `move_cap`: largest move of a particle in one step, in units of length.

    Time steps are those of particles of mass one.
    """

    time_step_start: float | None = None
    time_step_max: float | None = None
    delay: int = 5
    grow: float = 1.1
    shrink: float = 0.7
    mixing_start: float = 0.25
    mixing_decay: float = 0.98
    move_cap: float = 0.1

    def scaled(self, units: Units) -> "FireSettings":
        """The constants in the user's units, from those in the `units` of the potential and the packing."""
        return dataclasses.replace(
            self,
            time_step_start=None if self.time_step_start is None else self.time_step_start * units.time,
            time_step_max=None if self.time_step_max is None else self.time_step_max * units.time,
            move_cap=self.move_cap * units.length,
        )


# As the paper runs it; its added constant inside the force norm is left out, which is what lets it reach 1e-12 sooner.
PAPER_SETTINGS = FireSettings(
    time_step_start=0.001,
    time_step_max=0.1,
    delay=5,
    shrink=0.5,
    mixing_start=0.1,
    mixing_decay=0.99,
    move_cap=float("inf"),
)


class FireState(eqx.Module):
    """The state of a descent, carried over renewals of the pair list.

    - `fractional`: where the particles are.
    - `force`: the force of the last evaluation: at `fractional` if `converged`, else one step before.
    - `inverse_box`: inverse of the box, rows as reciprocal vectors: from lengths to fractions.
    - `converged`: whether max|F| is below the tolerance at `fractional`.
    - `covered`: whether the pair list certainly holds every pair at `fractional`.
    """

    fractional: Float[AnyArray, "n d"]
    velocity: Float[AnyArray, "n d"]
    force: Float[AnyArray, "n d"]
    time_step: Float[AnyArray, ""]
    time_step_max: Float[AnyArray, ""]
    mixing: Float[AnyArray, ""]
    downhill: Int[AnyArray, ""]
    evaluations: Int[AnyArray, ""]
    lists: Int[AnyArray, ""]
    inverse_box: Float[AnyArray, "d d"]
    converged: Bool[AnyArray, ""]
    covered: Bool[AnyArray, ""]


def fire_start(configuration: Configuration) -> FireState:
    """A state at rest."""
    # NumPy's numbers: making device arrays of them would cost more than a force evaluation.
    rest = np.zeros(configuration.fractional.shape)
    number = np.zeros(())
    count = np.zeros((), dtype=int)
    box = np.zeros(configuration.box.shape)
    no = np.zeros((), dtype=bool)
    yes = np.ones((), dtype=bool)
    return FireState(
        fractional=configuration.fractional,
        velocity=rest,
        force=rest,
        time_step=number,
        time_step_max=number,
        mixing=number,
        downhill=count,
        evaluations=count,
        lists=count,
        inverse_box=box,
        converged=no,
        covered=yes,
    )


# The bound of the stiffness is computed for this many lists, then for every fourth: it changes fast only at first, and
# costs as much as two force evaluations.
BOUND_OFTEN, BOUND_SELDOM = 8, 4


def begin(
    potential: AbstractPotential,
    configuration: Configuration,
    neighbors: PairList,
    state: FireState,
    settings: FireSettings,
) -> FireState:
    """The state with all that depends on the pair list, to be called once for each new list."""
    first = state.evaluations == 0
    if settings.time_step_max is None:

        def limit() -> Float[Array, ""]:
            # The integrator is stable up to 2 / sqrt(largest eigenvalue). The bound exceeds that eigenvalue about
            # twofold in packings, so that 0.85 of the limit it gives is 0.6 of the true one.
            return 0.85 * 2.0 / jnp.sqrt(potential.stiffness_bound(configuration, neighbors))

        due = (state.lists < BOUND_OFTEN) | (state.lists % BOUND_SELDOM == 0)
        time_step_max = jax.lax.cond(due, limit, lambda: state.time_step_max)
        time_step_start = 0.1 * time_step_max
    else:
        time_step_max = jnp.asarray(settings.time_step_max)
        time_step_start = jnp.asarray(settings.time_step_start)
    begun: FireState = eqx.tree_at(
        lambda s: (s.time_step, s.time_step_max, s.mixing, s.lists, s.inverse_box, s.converged, s.covered),
        state,
        (
            jnp.where(first, time_step_start, jnp.minimum(state.time_step, time_step_max)),
            time_step_max,
            jnp.where(first, settings.mixing_start, state.mixing),
            state.lists + 1,
            jnp.linalg.inv(configuration.box),
            jnp.zeros_like(state.converged),
            covers(potential, configuration, neighbors),
        ),
    )
    return begun


def step(
    potential: AbstractPotential,
    configuration: Configuration,
    neighbors: PairList,
    s: FireState,
    settings: FireSettings,
    force_tolerance: Float[ArrayLike, ""],
) -> FireState:
    """One force evaluation, and the move that follows from it unless the force is below the tolerance."""

    def at(fractional: Float[AnyArray, "n d"]) -> Configuration:
        moved: Configuration = eqx.tree_at(lambda c: c.fractional, configuration, fractional)
        return moved

    force = -potential.gradient(at(s.fractional), neighbors)
    converged = jnp.max(jnp.abs(force)) < force_tolerance
    power = jnp.vdot(force, s.velocity)
    down, up = power > 0.0, power < 0.0
    downhill = jnp.where(down, s.downhill + 1, 0)
    steady = downhill > settings.delay
    time_step = jnp.where(steady, jnp.minimum(s.time_step * settings.grow, s.time_step_max), s.time_step)
    time_step = jnp.where(up, s.time_step * settings.shrink, time_step)
    mixing = jnp.where(steady, s.mixing * settings.mixing_decay, s.mixing)
    mixing = jnp.where(up, settings.mixing_start, mixing)
    # Uphill: half a step back, then from rest.
    back = jnp.where(up, -0.5 * time_step, 0.0) * s.velocity
    velocity = jnp.where(up, 0.0, s.velocity) + time_step * force
    force_norm = jnp.maximum(jnp.linalg.norm(force), TINY)
    velocity = (1.0 - mixing) * velocity + mixing * force * jnp.linalg.norm(velocity) / force_norm
    move = time_step * velocity
    longest = jnp.sqrt(jnp.max(jnp.sum(move**2, axis=1)))
    scale = jnp.minimum(1.0, settings.move_cap / jnp.maximum(longest, TINY))
    move = jnp.where(converged, 0.0, back + scale * move)
    # Written out: a product of matrices so thin costs more than its arithmetic.
    fractional = s.fractional + sum(move[:, b, None] * s.inverse_box[:, b][None] for b in range(move.shape[1]))
    return FireState(
        fractional=fractional,
        velocity=scale * velocity,
        force=force,
        time_step=time_step,
        time_step_max=s.time_step_max,
        mixing=mixing,
        downhill=downhill,
        evaluations=s.evaluations + 1,
        lists=s.lists,
        inverse_box=s.inverse_box,
        converged=converged,
        covered=covers(potential, at(fractional), neighbors),
    )


def unfinished(s: FireState, max_evaluations: Int[ArrayLike, ""]) -> Bool[AnyArray, ""]:
    """Whether another step can be taken with this pair list."""
    # A force that is not a number shows in the position, which no list covers then.
    return ~s.converged & s.covered & (s.evaluations < max_evaluations)


@fast_jit
def fire(
    potential: AbstractPotential,
    configuration: Configuration,
    neighbors: PairList,
    state: FireState,
    settings: FireSettings,
    force_tolerance: Float[ArrayLike, ""],
    max_evaluations: Int[ArrayLike, ""],
) -> FireState:
    """Run until max|F| < `force_tolerance`, the evaluations are used up, a NaN appears, or pairs may be missing.

    `neighbors` must be the list of where `state` stands. No force is evaluated where pairs may be missing: the caller
    renews the list and goes on.
    """
    state = begin(potential, configuration, neighbors, state, settings)
    return jax.lax.while_loop(
        lambda s: unfinished(s, max_evaluations),
        lambda s: step(potential, configuration, neighbors, s, settings, force_tolerance),
        state,
    )
