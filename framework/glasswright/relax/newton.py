"""Newton's method that keeps a factor of the Hessian for as long as it serves, and guards every step.

A kept factor is improved by the secants of the steps taken with it (L-BFGS with the factor as its initial Hessian:
Nocedal & Wright, Numerical Optimization, algorithm 7.4), which makes it converge superlinearly.
"""

import dataclasses
import enum
from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from ..physics.configuration import Configuration
from ..physics.hessian import AbstractHessian
from ..physics.pair_list import PairList
from ..physics.potential import AbstractPotential
from .enthalpy import covers

# A factor that would need more than this many further steps at its present pace is renewed. A factorisation costs as
# much as seven steps, but the pace quickens with the secants: 9, 14, 20 and 30 gave 29.0, 29.7, 27.2 and 27.1 ms for a
# step of a training (N = 368, learning rate 1e-3, one core).
PATIENCE = 20.0
SECANTS = 5
# Longest move of a particle in one step, in units of length.
MOVE_CAP = 0.1
TINY = float(np.finfo(float).tiny)
# A trial of the line search: scale of the step, where it leads, energy and gradient there, and whether it is accepted.
Trial: TypeAlias = tuple[Array, Array, Array, Array, Array]


class NewtonEnd(enum.IntEnum):
    """Why the steps with one factor ended."""

    running = 0
    converged = 1
    factor_wanted = 2
    stalled = 3
    uncovered = 4


class Secants(eqx.Module):
    """The last steps and the changes of the gradient over them, newest last; unused places have `weight` zero."""

    steps: Float[Array, "m n d"]
    changes: Float[Array, "m n d"]
    weight: Float[Array, " m"]

    @staticmethod
    def none(shape: tuple[int, ...]) -> "Secants":
        return Secants(jnp.zeros((SECANTS, *shape)), jnp.zeros((SECANTS, *shape)), jnp.zeros(SECANTS))

    def add(self, step: Float[Array, "n d"], change: Float[Array, "n d"]) -> "Secants":
        """The secants without the oldest and with a new one."""
        curvature = jnp.vdot(step, change)
        # Only positive curvature keeps the direction downhill.
        weight = jnp.where(curvature > 0.0, 1.0 / jnp.where(curvature > 0.0, curvature, 1.0), 0.0)
        newest = Secants(step[None], change[None], weight[None])
        secants: Secants = jax.tree.map(lambda old, new: jnp.concatenate([old[1:], new]), self, newest)
        return secants

    def solve(self, factor: AbstractHessian, gradient: Float[Array, "n d"]) -> Float[Array, "n d"]:
        """The factor's solution, corrected by the secants."""
        shares = []
        for k in reversed(range(SECANTS)):
            share = self.weight[k] * jnp.vdot(self.steps[k], gradient)
            gradient = gradient - share * self.changes[k]
            shares.append(share)
        solution: Float[Array, "n d"] = factor.solve(gradient)
        for k, share in enumerate(reversed(shares)):
            correction = self.weight[k] * jnp.vdot(self.changes[k], solution)
            solution = solution + (share - correction) * self.steps[k]
        return solution


class NewtonState(eqx.Module):
    """The state of the iteration with one factor.

    - `fractional`, `gradient`, `energy`: where it stands.
    - `age`: steps since the factor was that of the present point.
    - `iterations`: steps taken; `end`: a `NewtonEnd`.
    """

    fractional: Float[Array, "n d"]
    gradient: Float[Array, "n d"]
    energy: Float[Array, ""]
    secants: Secants
    age: Int[Array, ""]
    iterations: Int[Array, ""]
    end: Int[Array, ""]


@eqx.filter_jit
def newton_steps(
    potential: AbstractPotential,
    configuration: Configuration,
    neighbors: PairList,
    force_tolerance: Float[ArrayLike, ""],
    factor: AbstractHessian,
    age: Int[ArrayLike, ""],
    move_cap: float = MOVE_CAP,
) -> NewtonState:
    """Step towards the minimum near `configuration` with one factor, for as long as it serves.

    `factor` is the factored Hessian of the start (`age` 0) or of a point near it (`age` 1 and more). With that of the
    minimum of a slightly different potential, the first step is that minimum's predictor: to first order
    `dR/dtheta dtheta = -H^-1 d(dU/dR)`, which is what `-H^-1 dU/dR(theta + dtheta, R*)` is.

    The caller reads `end`, renews the factor or the pair list, and calls again: a matrix carried through the loop would
    be copied.
    """
    inverse_box = jnp.linalg.inv(configuration.box).T

    def at(fractional: Float[Array, "n d"]) -> Configuration:
        return dataclasses.replace(configuration, fractional=fractional)

    def evaluate(fractional: Float[Array, "n d"]) -> tuple[Float[Array, ""], Float[Array, "n d"]]:
        return potential.energy_and_gradient(at(fractional), neighbors)

    def largest(gradient: Float[Array, "n d"]) -> Float[Array, ""]:
        return jnp.max(jnp.abs(gradient))

    def step(s: NewtonState) -> NewtonState:
        move = -s.secants.solve(factor, s.gradient)
        longest = jnp.sqrt(jnp.max(jnp.sum(move**2, axis=1)))
        move = move * jnp.minimum(1.0, move_cap / jnp.maximum(longest, TINY))
        before = largest(s.gradient)

        def rejected(carry: Trial) -> Bool[Array, ""]:
            scale, *_, accepted = carry
            # An old factor is not worth a line search: it is renewed instead.
            return ~accepted & ((scale > 1.0) | ((s.age == 0) & (scale > 1e-3)))

        def halve(carry: Trial) -> Trial:
            scale = 0.5 * carry[0]
            fractional = s.fractional + (scale * move) @ inverse_box
            energy, gradient = evaluate(fractional)
            # Near the minimum the energy is flat to rounding, and only the force shows progress.
            lower = (energy <= s.energy) | (largest(gradient) < 0.5 * before)
            return scale, fractional, energy, gradient, lower & jnp.isfinite(largest(gradient))

        start = (jnp.asarray(2.0), s.fractional, s.energy, s.gradient, jnp.asarray(False))
        scale, fractional, energy, gradient, accepted = jax.lax.while_loop(rejected, halve, start)
        remaining = jnp.log(largest(gradient) / force_tolerance) / jnp.log(before / largest(gradient))
        serves = accepted & (largest(gradient) < before) & (remaining < PATIENCE)
        end = jnp.where(serves, int(NewtonEnd.running), int(NewtonEnd.factor_wanted))
        end = jnp.where(~accepted & (s.age == 0), int(NewtonEnd.stalled), end)
        end = jnp.where(accepted & (largest(gradient) < force_tolerance), int(NewtonEnd.converged), end)
        # Last: a force that may lack pairs proves nothing, not even that there is none.
        end = jnp.where(covers(potential, at(fractional), neighbors), end, int(NewtonEnd.uncovered))
        return NewtonState(
            fractional=jnp.where(accepted, fractional, s.fractional),
            gradient=jnp.where(accepted, gradient, s.gradient),
            energy=jnp.where(accepted, energy, s.energy),
            secants=s.secants.add(scale * move, gradient - s.gradient),
            age=s.age + 1,
            iterations=s.iterations + 1,
            end=end,
        )

    energy, gradient = evaluate(configuration.fractional)
    end = jnp.where(largest(gradient) < force_tolerance, int(NewtonEnd.converged), int(NewtonEnd.running))
    end = jnp.where(covers(potential, configuration, neighbors), end, int(NewtonEnd.uncovered))
    none = Secants.none(configuration.fractional.shape)
    start = NewtonState(configuration.fractional, gradient, energy, none, jnp.asarray(age), jnp.asarray(0), end)
    state: NewtonState = jax.lax.while_loop(lambda s: s.end == int(NewtonEnd.running), step, start)
    return state
