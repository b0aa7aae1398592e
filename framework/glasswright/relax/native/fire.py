"""FIRE on a half list and tables, as `relax.fire` has it, in a single compiled loop that renews its own lists."""

import numpy as np

from .compiled import compiled
from .forces import forces, stiffness_bound
from .pairs import near_pairs, wrap

TINY = float(np.finfo(float).tiny)
# How a descent ends.
CONVERGED, MAX_STEPS, NONFINITE = 0, 1, 2
# The stiffness bound is computed for this many lists, then for every fourth.
BOUND_OFTEN, BOUND_SELDOM = 8, 4
# A list that serves fewer evaluations than the first number is followed by one with a wider skin, and one that serves
# more than the second by a narrower one: making a list costs as much as two or three evaluations.
FEW, MANY = 10, 40
WIDEN, NARROW = 1.2, 0.85


@compiled
def descend(
    x: np.ndarray,
    species: np.ndarray,
    box: np.ndarray,
    inverse: np.ndarray,
    cutoff: np.ndarray,
    table: np.ndarray,
    inner: np.ndarray,
    per_interval: float,
    settings: np.ndarray,
    skins: np.ndarray,
    tolerance: float,
    max_evaluations: int,
    wraps: np.ndarray,
) -> tuple[int, int, int, float]:
    """Move `x` until max|F| < `tolerance`: how it ended, evaluations, lists, and the largest force component.

    - `cutoff`: of each pair of species; `table`, `inner`, `per_interval`: their interactions (`SplineTable`).
    - `settings`: time steps at the start and at most (0: from the stiffness bound), delay, factors of growth and of
      shrinking, mixing at the start and its decay, and the largest move.
    - `skins`: least, first and widest.
    - `wraps`: the lattice vectors that were taken off each particle are added.
    """
    start_step, largest_step, delay, grow, shrink, mixing_start, mixing_decay, move_cap = settings
    n, d = x.shape
    width = np.empty(d)
    for a in range(d):
        squared = 0.0
        for b in range(d):
            squared += inverse[a, b] ** 2
        width[a] = 1.0 / np.sqrt(squared)
    velocity = np.zeros((n, d))
    reference = np.empty((n, d))
    skin = skins[1]
    time_step, time_step_max, mixing, downhill = 0.0, 0.0, mixing_start, 0
    evaluations, lists, served, pairs = 0, 0, 0, 32 * n
    largest = np.inf
    while True:
        # A list for where the particles are.
        if lists:
            skin = min(skin * WIDEN, skins[2]) if served < FEW else skin
            skin = max(skin * NARROW, skins[0]) if served > MANY else skin
        served = 0
        wrap(x, box, inverse, wraps)
        # No wider than the box, so that the next images are enough.
        reach = np.minimum(cutoff + skin, np.min(width))
        every, owner, row, shift, start, partner = near_pairs(
            x, species, box, inverse, reach, np.max(reach) / width, pairs
        )
        total = len(every)
        pairs = len(partner) + len(partner) // 10
        force = np.empty((total, d))
        reference[:] = x
        slack = np.min(reach - cutoff)
        if largest_step > 0.0:
            time_step_max = largest_step
            time_step = start_step if evaluations == 0 else time_step
        elif lists < BOUND_OFTEN or lists % BOUND_SELDOM == 0:
            bound = stiffness_bound(n, every, owner, row, start, partner, table, inner, per_interval)
            # As in `relax.fire`.
            time_step_max = 0.85 * 2.0 / np.sqrt(max(bound, TINY))
            time_step = 0.1 * time_step_max if evaluations == 0 else min(time_step, time_step_max)
        lists += 1
        while True:
            if evaluations >= max_evaluations:
                return MAX_STEPS, evaluations, lists, largest
            forces(n, every, owner, row, start, partner, table, inner, per_interval, force)
            evaluations += 1
            served += 1
            largest, power, force_squared, velocity_squared = 0.0, 0.0, 0.0, 0.0
            for i in range(n):
                for a in range(d):
                    f, v = force[i, a], velocity[i, a]
                    largest = max(largest, abs(f))
                    power += f * v
                    force_squared += f * f
                    velocity_squared += v * v
            # A force that is not a number is not compared above.
            if not np.isfinite(force_squared):
                return NONFINITE, evaluations, lists, np.nan
            if largest < tolerance:
                return CONVERGED, evaluations, lists, largest
            uphill = power < 0.0
            downhill = downhill + 1 if power > 0.0 else 0
            if downhill > delay:
                time_step = min(time_step * grow, time_step_max)
                mixing *= mixing_decay
            back = 0.0
            if uphill:
                time_step *= shrink
                mixing = mixing_start
                # Half a step back, then from rest.
                back = -0.5 * time_step
                power, velocity_squared = 0.0, 0.0
            # Of the velocity after the kick.
            speed_squared = velocity_squared + 2.0 * time_step * power + time_step**2 * force_squared
            turned = mixing * np.sqrt(max(speed_squared, 0.0)) / max(np.sqrt(force_squared), TINY)
            of_velocity = 0.0 if uphill else 1.0 - mixing
            of_force = (1.0 - mixing) * time_step + turned
            longest = 0.0
            for i in range(n):
                squared = 0.0
                for a in range(d):
                    v = of_velocity * velocity[i, a] + of_force * force[i, a]
                    squared += v * v
                longest = max(longest, squared)
            scale = min(1.0, move_cap / max(time_step * np.sqrt(longest), TINY))
            first, second = 0.0, 0.0
            for i in range(n):
                travelled = 0.0
                for a in range(d):
                    v = scale * (of_velocity * velocity[i, a] + of_force * force[i, a])
                    x[i, a] += back * velocity[i, a] + time_step * v
                    velocity[i, a] = v
                    every[i, a] = x[i, a]
                    travelled += (x[i, a] - reference[i, a]) ** 2
                if travelled > first:
                    first, second = travelled, first
                elif travelled > second:
                    second = travelled
            if not np.sqrt(first) + np.sqrt(second) <= slack:
                break
            for k in range(n, total):
                for a in range(d):
                    every[k, a] = x[owner[k], a] + shift[k - n, a]
        if not np.isfinite(np.sum(x)):
            return NONFINITE, evaluations, lists, np.nan
