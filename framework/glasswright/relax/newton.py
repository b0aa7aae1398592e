"""Newton's method with a factor that is kept as long as it serves, guarded against everything that can go wrong."""

import enum

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .._configuration import Configuration
from .._hessian import DenseHessian, factor_hessian
from .._potential import AbstractPotential
from ..neighbors import PairList


class NewtonEnd(enum.IntEnum):
    """Why Newton's method stopped."""

    running = 0
    converged = 1
    unstable = 2
    stalled = 3
    uncovered = 4


class NewtonState(eqx.Module):
    """Where Newton's method stands; `hessian` is the factor at `fractional` once `end` is `converged`."""

    fractional: Float[Array, "n d"]
    gradient: Float[Array, "n d"]
    energy: Float[Array, ""]
    hessian: DenseHessian
    age: Int[Array, ""]
    iterations: Int[Array, ""]
    factorisations: Int[Array, ""]
    end: Int[Array, ""]


# A kept factor must shrink the force at least this much at each step, or else a new one is worth its cost: a
# factorisation costs about eight such steps, and four of them gain what one Newton step near the minimum gains.
KEEP = 0.2
MOVE_CAP = 0.1
MAX_ITERATIONS = 60


@eqx.filter_jit
def newton(
    potential: AbstractPotential,
    configuration: Configuration,
    neighbors: PairList,
    force_tolerance: Float[Array, ""],
    hessian: DenseHessian,
    age: Int[Array, ""],
) -> NewtonState:
    """Converge to the minimum near `configuration`, and factor the Hessian there.

    `hessian` is that of the start (`age` 0), or one of somewhere near it (`age` 1 and more). With that of the minimum
    of a slightly different potential, the first step is that minimum's predictor: to first order `dR/dtheta dtheta = -H^-1 d(dU/dR)`, which is what `-H^-1 dU/dR(theta + dtheta, R*)` is.
    """
    inverse_box = jnp.linalg.inv(configuration.box).T
    cutoff = potential.cutoff

    def at(fractional) -> Configuration:
        return eqx.tree_at(lambda c: c.fractional, configuration, fractional)

    def evaluate(fractional):
        here = at(fractional)
        return potential.energy(here, neighbors), potential.gradient(here, neighbors)

    def largest(gradient):
        return jnp.max(jnp.abs(gradient))

    def factored(s: NewtonState) -> NewtonState:
        hessian = factor_hessian(potential, at(s.fractional), neighbors)
        end = jnp.where(hessian.is_stable, s.end, NewtonEnd.unstable)
        return NewtonState(
            s.fractional, s.gradient, s.energy, hessian, jnp.asarray(0), s.iterations, s.factorisations + 1, end
        )

    def step(s: NewtonState) -> NewtonState:
        move = -s.hessian.solve(s.gradient)
        longest = jnp.sqrt(jnp.max(jnp.sum(move**2, axis=1)))
        move = move * jnp.minimum(1.0, MOVE_CAP / jnp.maximum(longest, jnp.finfo(longest.dtype).tiny))
        before = largest(s.gradient)

        def rejected(carry):
            scale, *_, accepted = carry
            # An old factor is not worth a line search: it is renewed instead.
            return ~accepted & ((scale > 1.0) | ((s.age == 0) & (scale > 1e-3)))

        def halve(carry):
            scale = 0.5 * carry[0]
            fractional = s.fractional + (scale * move) @ inverse_box
            energy, gradient = evaluate(fractional)
            # At the end of the way the energy is flat to rounding, and the force alone tells progress.
            lower = (energy <= s.energy) | (largest(gradient) < 0.5 * before)
            return scale, fractional, energy, gradient, lower & jnp.isfinite(largest(gradient))

        start = (jnp.asarray(2.0), s.fractional, s.energy, s.gradient, jnp.asarray(False))
        _, fractional, energy, gradient, accepted = jax.lax.while_loop(rejected, halve, start)
        good = accepted & (largest(gradient) < KEEP * before)
        covered = neighbors.covers(at(fractional), cutoff)
        stalled = ~accepted & (s.age == 0)
        end = jnp.where(stalled, NewtonEnd.stalled, jnp.where(covered, s.end, NewtonEnd.uncovered))
        moved = NewtonState(
            jnp.where(accepted, fractional, s.fractional),
            jnp.where(accepted, gradient, s.gradient),
            jnp.where(accepted, energy, s.energy),
            s.hessian,
            s.age + 1,
            s.iterations + 1,
            s.factorisations,
            end,
        )
        finished = largest(moved.gradient) < force_tolerance
        renew = (~good | finished) & (end == NewtonEnd.running)
        moved = jax.lax.cond(renew, factored, lambda x: x, moved)
        done = finished & (moved.end == NewtonEnd.running)
        return eqx.tree_at(lambda x: x.end, moved, jnp.where(done, NewtonEnd.converged, moved.end))

    energy, gradient = evaluate(configuration.fractional)
    zero = jnp.asarray(0)
    fresh = jnp.asarray(age) == 0
    finished = fresh & (largest(gradient) < force_tolerance)
    end = jnp.where(finished, int(NewtonEnd.converged), int(NewtonEnd.running))
    end = jnp.where(neighbors.covers(configuration, cutoff), end, int(NewtonEnd.uncovered))
    end = jnp.where(fresh & ~hessian.is_stable, int(NewtonEnd.unstable), end)
    state = NewtonState(configuration.fractional, gradient, energy, hessian, jnp.asarray(age), zero, zero, end)

    def unfinished(s: NewtonState):
        return (s.end == NewtonEnd.running) & (s.iterations < MAX_ITERATIONS)

    state = jax.lax.while_loop(unfinished, step, state)
    ran_out = state.end == NewtonEnd.running
    return eqx.tree_at(lambda x: x.end, state, jnp.where(ran_out, NewtonEnd.stalled, state.end))
