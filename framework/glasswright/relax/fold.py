"""Folds: where a minimum that is followed under a growing strain of its box ends.

At a fold the minimum meets a saddle, and the lowest eigenvalue of the Hessian closes as the square root of the strain
that is left. Newton's method at fixed strain fails there. The curve of force-free points is smooth, though: it turns
around. So it is followed by its own length (pseudo-arclength continuation), and the fold is where the strain along it
is largest. A strain of one counts as the unit of length there, so that lengths are the same whatever units the user
has. Source: Keller, in Applications of Bifurcation Theory (1977); Maloney & Lemaître, Phys. Rev. E 74, 016118
(2006), for amorphous solids.
"""

import dataclasses
import enum
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._jax import fast_jit
from ..physics.configuration import Configuration
from ..physics.hessian import mirrored, pinned_hessian
from ..physics.pair_list import PairList, build_pair_list
from ..physics.potential import AbstractPotential
from ..physics.units import Units

# Longest step along the curve, in units of length; the least is this share of it.
LONGEST_STEP, LEAST_SHARE = 0.3, 1e-9
MOST_STEPS = 400
# Newton's corrections of a step, after so few of which the next one may be longer.
MOST_CORRECTIONS, FEW_CORRECTIONS = 8, 3
GROWTH = 1.6
# The least cosine of the angle by which the curve may turn in one step.
LEAST_COSINE = 0.8


class _LostError(Exception):
    """No force-free point was found on the curve."""


class CurveEnd(enum.IntEnum):
    """Why following a curve of force-free points ended.

    - `reached`: the strain that was asked for.
    - `fold`: the strain along the curve is largest here.
    - `unstable`: the Hessian has an unstable mode, without a fold: its entries jumped, as where the second derivative
      of a pair's energy jumps.
    - `lost`: no force-free point was found nearby.
    """

    reached = 0
    fold = 1
    unstable = 2
    lost = 3


@dataclasses.dataclass(frozen=True)
class CurvePoint:
    """Where following a curve ended.

    **Attributes:**

    - `end`: why.
    - `fractional`, `strain`: the point.
    - `mode`: unit vector along which the curve goes on, in fractional coordinates of unit length in the box without
      strain; at a fold, the soft mode.
    """

    end: CurveEnd
    fractional: Float[np.ndarray, "n d"]
    strain: float
    mode: Float[np.ndarray, "n d"]


@fast_jit
def _equations(
    potential: AbstractPotential,
    configuration: Configuration,
    neighbors: PairList,
    direction: Float[Array, "d d"],
    strain: Float[Array, ""],
    stiffness: float,
) -> tuple[Float[Array, "n d"], Float[Array, "nd nd"], Float[Array, "n d"]]:
    """Gradient, Hessian and strain derivative of the gradient in coordinates of the box without strain."""
    n, d = configuration.fractional.shape
    deformation = jnp.eye(d) + strain * direction
    strained = configuration.strained(strain * direction)
    rate = direction @ jnp.linalg.inv(deformation)
    gradient = potential.gradient(strained, neighbors)
    slope = potential.strain_gradient(strained, neighbors, rate[None])[0] + gradient @ rate
    matrix, _ = pinned_hessian(potential, strained, neighbors, stiffness)
    full = mirrored(matrix).reshape(n, d, n, d)
    hessian = jnp.einsum("ca,icjd,db->iajb", deformation, full, deformation).reshape(n * d, n * d)
    return gradient @ deformation, hessian, slope @ deformation


class Curve:
    """The force-free points of a packing under a growing strain `gamma e` of its box.

    **Arguments:**

    - `potential`, `configuration`: the interactions, and the packing in the box without strain.
    - `direction`: the strain `e` that grows.
    - `units`, `force_tolerance`: the units of lengths, and the largest force component, in the user's units.
    - `capacity`: preferred number of entries of pair lists.
    """

    def __init__(
        self,
        potential: AbstractPotential,
        configuration: Configuration,
        direction: Float[np.ndarray, "d d"],
        units: Units,
        force_tolerance: float,
        capacity: int | None = None,
    ):
        self.potential, self.configuration, self.direction = potential, configuration, direction
        self.units, self.force_tolerance, self.capacity = units, force_tolerance, capacity
        self.evaluations = 0
        self._box = np.asarray(configuration.box)
        self._inverse = np.linalg.inv(self._box)
        self._reach = float(potential.reach(configuration))

    def follow(
        self, fractional: Float[np.ndarray, "n d"], strain: float, velocity: Float[np.ndarray, "n d"], limit: float
    ) -> CurvePoint:
        """Follow the curve from a minimum to its fold, or to the strain `limit` if there is none before.

        **Arguments:**

        - `fractional`, `strain`: the minimum.
        - `velocity`: change of its fractional coordinates per unit of strain.
        """
        point, tangent = self._coordinates(fractional, strain), self._coordinates(velocity, 1.0)
        tangent /= np.linalg.norm(tangent)
        longest = LONGEST_STEP * self.units.length
        step = min(longest, 0.5 * self.units.length * (limit - strain) / tangent[-1])
        for _ in range(MOST_STEPS):
            corrected = self._corrected(point, tangent, step)
            turned = None if corrected is None else self._tangent(corrected[1], tangent)
            if corrected is None or turned is None or turned @ tangent < LEAST_COSINE:
                step *= 0.5
                if step < LEAST_SHARE * longest:
                    return self._ended(CurveEnd.lost, point, tangent)
                continue
            there, jacobian, corrections = corrected
            if turned[-1] <= 0.0:
                return self._fold(point, tangent, step, limit)
            if not _is_positive(jacobian[:-1, :-1]):
                return self._ended(CurveEnd.unstable, there, turned)
            if there[-1] >= self.units.length * limit:
                return self._at_strain(point, tangent, step, limit)
            point, tangent = there, turned
            if corrections <= FEW_CORRECTIONS:
                step = min(GROWTH * step, longest)
        return self._ended(CurveEnd.lost, point, tangent)

    def _fold(self, point: np.ndarray, tangent: np.ndarray, step: float, limit: float) -> CurvePoint:
        """The point of largest strain between a point and another one a step further, unless the limit comes first."""
        end = self._root(point, tangent, step, lambda _, turned: float(turned[-1]), CurveEnd.fold)
        if end.end == CurveEnd.fold and end.strain >= limit:
            return self._at_strain(point, tangent, self._length(point, tangent, end), limit)
        return end

    def _at_strain(self, point: np.ndarray, tangent: np.ndarray, step: float, limit: float) -> CurvePoint:
        """The point at the strain `limit` between a point and another one a step further."""

        def beyond(there: np.ndarray, _: np.ndarray) -> float:
            return float(there[-1]) / self.units.length - limit

        return self._root(point, tangent, step, beyond, CurveEnd.reached)

    def _root(
        self,
        point: np.ndarray,
        tangent: np.ndarray,
        step: float,
        function: Callable[[np.ndarray, np.ndarray], float],
        end: CurveEnd,
    ) -> CurvePoint:
        """The point within a step where a function of point and tangent is zero."""
        # Here, for it is slow to import.
        from scipy.optimize import brentq

        last = point, tangent

        def at(length: float) -> float:
            nonlocal last
            corrected = self._corrected(point, tangent, length)
            turned = None if corrected is None else self._tangent(corrected[1], tangent)
            if corrected is None or turned is None:
                raise _LostError
            last = corrected[0], turned
            return function(*last)

        try:
            at(brentq(at, 0.0, step, xtol=1e-11 * self.units.length, rtol=1e-14))
        except _LostError:
            return self._ended(CurveEnd.lost, point, tangent)
        return self._ended(end, *last)

    def _length(self, point: np.ndarray, tangent: np.ndarray, end: CurvePoint) -> float:
        """The length along the tangent at which a point of the curve was found."""
        return float(tangent @ (self._coordinates(end.fractional, end.strain) - point))

    def _coordinates(self, fractional: Float[np.ndarray, "n d"], strain: float) -> np.ndarray:
        """A point of the curve, or a direction: positions in the box without strain, and the strain as a length."""
        return np.append((fractional @ self._box.T).ravel(), self.units.length * strain)

    def _fractional(self, positions: np.ndarray) -> Float[np.ndarray, "n d"]:
        """The positions of all particles in fractional coordinates."""
        fractional: np.ndarray = positions.reshape(self.configuration.fractional.shape) @ self._inverse.T
        return fractional

    def _corrected(
        self, point: np.ndarray, tangent: np.ndarray, step: float
    ) -> tuple[np.ndarray, np.ndarray, int] | None:
        """The point of the curve at this length along the tangent, its Jacobian and the corrections it took."""
        there = point + step * tangent
        for corrections in range(MOST_CORRECTIONS + 1):
            gradient, jacobian = self._linearised(there, tangent)
            largest = np.max(np.abs(gradient))
            if not np.isfinite(largest):
                return None
            if largest < self.force_tolerance:
                return there, jacobian, corrections
            residual = np.append(gradient, self.units.stiffness * (tangent @ (there - point) - step))
            change = _solve(jacobian, residual)
            if change is None or np.max(np.abs(change[:-1])) > LONGEST_STEP * self.units.length:
                return None
            there = there - change
        return None

    def _linearised(self, point: np.ndarray, tangent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The gradient at a point, and its Jacobian with a row for the length along the tangent.

        That row is multiplied by the unit of stiffness: pivots are chosen by comparing it with the others.
        """
        self.evaluations += 1
        here = dataclasses.replace(self.configuration, fractional=jnp.asarray(self._fractional(point[:-1])))
        strain, units = point[-1] / self.units.length, self.units
        neighbors = build_pair_list(here.strained(jnp.asarray(strain * self.direction)), self._reach, self.capacity)
        self.capacity = neighbors.capacity
        gradient, hessian, slope = _equations(
            self.potential, here, neighbors, jnp.asarray(self.direction), jnp.asarray(strain), units.stiffness
        )
        top = np.concatenate([np.asarray(hessian), np.asarray(slope).reshape(-1, 1) / units.length], axis=1)
        return np.asarray(gradient).ravel(), np.concatenate([top, units.stiffness * tangent[None]])

    def _tangent(self, jacobian: np.ndarray, previous: np.ndarray) -> np.ndarray | None:
        """The unit tangent of the curve, in the direction of the previous one."""
        right = np.zeros(len(previous))
        right[-1] = 1.0
        tangent = _solve(jacobian, right)
        return None if tangent is None else tangent / np.linalg.norm(tangent)

    def _ended(self, end: CurveEnd, point: np.ndarray, tangent: np.ndarray) -> CurvePoint:
        mode = tangent[:-1] / np.linalg.norm(tangent[:-1])
        strain = float(point[-1]) / self.units.length
        return CurvePoint(end, self._fractional(point[:-1]), strain, self._fractional(mode))


def _solve(matrix: np.ndarray, right: np.ndarray) -> np.ndarray | None:
    """The solution of a linear system; None if there is none."""
    try:
        solution: np.ndarray = np.linalg.solve(matrix, right)
    except np.linalg.LinAlgError:
        return None
    return solution if np.all(np.isfinite(solution)) else None


def _is_positive(matrix: np.ndarray) -> bool:
    """Whether a symmetric matrix is positive definite."""
    try:
        np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        return False
    return True
