"""Newton's method with a factor that is kept as long as it serves, guarded against everything that can go wrong.

A kept factor is improved by the secants of the steps taken with it (L-BFGS with the factor as its initial Hessian:
Nocedal & Wright, Numerical Optimization, algorithm 7.4), which makes it converge superlinearly.
"""

import enum

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from ..physics.configuration import Configuration
from ..physics.hessian import DenseHessian
from ..physics.pair_list import PairList
from ..physics.potential import AbstractPotential

# A factor that would need more than this many further steps at its present pace is renewed. A factorisation costs as
# much as seven steps, but the pace quickens with the secants: 9, 14, 20 and 30 gave 29.0, 29.7, 27.2 and 27.1 ms for a
# step of a training (N = 368, learning rate 1e-3, one core).
PATIENCE = 20.0
SECANTS = 5
MOVE_CAP = 0.1


class NewtonEnd(enum.IntEnum):
    """Why the steps with one factor ended."""

    running = 0
    converged = 1
    factor_wanted = 2
    stalled = 3
    uncovered = 4


class Secants(eqx.Module):
    """The last steps and the changes of the gradient over them, newest last; empty places have `weight` zero."""

    steps: Float[Array, "m n d"]
    changes: Float[Array, "m n d"]
    weight: Float[Array, " m"]

    @staticmethod
    def none(shape: tuple[int, ...]) -> "Secants":
        return Secants(jnp.zeros((SECANTS, *shape)), jnp.zeros((SECANTS, *shape)), jnp.zeros(SECANTS))

    def add(self, step, change) -> "Secants":
        curvature = jnp.vdot(step, change)
        # Only positive curvature keeps the direction downhill.
        weight = jnp.where(curvature > 0.0, 1.0 / jnp.where(curvature > 0.0, curvature, 1.0), 0.0)
        return jax.tree.map(lambda old, new: jnp.concatenate([old[1:], new[None]]), self, Secants(step, change, weight))

    def solve(self, hessian: DenseHessian, gradient):
        """The factor's solution, corrected by the secants."""
        shares = []
        for k in reversed(range(SECANTS)):
            share = self.weight[k] * jnp.vdot(self.steps[k], gradient)
            gradient = gradient - share * self.changes[k]
            shares.append(share)
        solution = hessian.solve(gradient)
        for k, share in enumerate(reversed(shares)):
            correction = self.weight[k] * jnp.vdot(self.changes[k], solution)
            solution = solution + (share - correction) * self.steps[k]
        return solution


class NewtonState(eqx.Module):
    """Where the steps with one factor have led."""

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
    hessian: DenseHessian,
    age: Int[ArrayLike, ""],
) -> NewtonState:
    """Steps towards the minimum near `configuration` with one factor, for as long as it serves.

    `hessian` is that of the start (`age` 0), or one of somewhere near it (`age` 1 and more). With that of the minimum
    of a slightly different potential, the first step is that minimum's predictor: to first order
    `dR/dtheta dtheta = -H^-1 d(dU/dR)`, which is what `-H^-1 dU/dR(theta + dtheta, R*)` is.

    The caller looks at `end`, renews the factor or the pair list, and goes on: no matrix is carried through a loop,
    which would copy it.
    """
    inverse_box = jnp.linalg.inv(configuration.box).T
    cutoff = potential.reach(configuration)

    def at(fractional) -> Configuration:
        return eqx.tree_at(lambda c: c.fractional, configuration, fractional)

    def evaluate(fractional):
        return potential.energy_and_gradient(at(fractional), neighbors)

    def largest(gradient):
        return jnp.max(jnp.abs(gradient))

    def step(s: NewtonState) -> NewtonState:
        move = -s.secants.solve(hessian, s.gradient)
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
        scale, fractional, energy, gradient, accepted = jax.lax.while_loop(rejected, halve, start)
        remaining = jnp.log(largest(gradient) / force_tolerance) / jnp.log(before / largest(gradient))
        serves = accepted & (largest(gradient) < before) & (remaining < PATIENCE)
        end = jnp.where(serves, int(NewtonEnd.running), int(NewtonEnd.factor_wanted))
        end = jnp.where(~accepted & (s.age == 0), int(NewtonEnd.stalled), end)
        end = jnp.where(accepted & (largest(gradient) < force_tolerance), int(NewtonEnd.converged), end)
        # Last: a force that may lack pairs proves nothing, not even that there is none.
        end = jnp.where(neighbors.covers(at(fractional), cutoff), end, int(NewtonEnd.uncovered))
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
    end = jnp.where(neighbors.covers(configuration, cutoff), end, int(NewtonEnd.uncovered))
    none = Secants.none(configuration.fractional.shape)
    start = NewtonState(configuration.fractional, gradient, energy, none, jnp.asarray(age), jnp.asarray(0), end)
    return jax.lax.while_loop(lambda s: s.end == int(NewtonEnd.running), step, start)
