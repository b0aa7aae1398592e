"""Forces and stiffnesses of all particles from a half list and from tables of the pairs' interactions.

A table has the force over the distance, `g(u) = -V'(r) / r`, as a cubic in each interval of the squared distance `u`.
"""

import numpy as np

from .compiled import compiled

# Squared distances are no less than this where they are divided by.
TINY = 1e-300
# Unsigned indices, which need no care for negative ones, make the loops over pairs twice as fast.
ZERO, ONE, TWO, THREE = (np.uint64(k) for k in range(4))


@compiled
def add_forces_2d(
    n: int,
    x: np.ndarray,
    row: np.ndarray,
    start: np.ndarray,
    partner: np.ndarray,
    table: np.ndarray,
    inner: np.ndarray,
    per_interval: float,
    force: np.ndarray,
) -> None:
    """Add the forces of all listed pairs in two dimensions to `force`, of ghosts as well."""
    n_species, n_intervals = np.uint64(inner.shape[0]), np.uint64(table.shape[2])
    last = np.uint64(table.shape[2] - 1)
    cubics, begins = table.reshape(-1, 4), inner.reshape(-1)
    for i in range(np.uint64(n)):
        x0, x1 = x[i, ZERO], x[i, ONE]
        f0, f1 = 0.0, 0.0
        species = np.uint64(row[i]) * n_species
        for k in range(np.uint64(start[i]), np.uint64(start[i + ONE])):
            j = np.uint64(partner[k])
            pair = species + np.uint64(row[j])
            d0, d1 = x0 - x[j, ZERO], x1 - x[j, ONE]
            u = d0 * d0 + d1 * d1
            place = (u - begins[pair]) * per_interval
            if place < 0.0:
                g = cubics[pair * n_intervals, ZERO] * np.sqrt(begins[pair] / max(u, TINY))
            else:
                interval = min(np.uint64(np.int64(place)), last)
                y = place - np.float64(np.int64(interval))
                c = pair * n_intervals + interval
                g = cubics[c, ZERO] + y * (cubics[c, ONE] + y * (cubics[c, TWO] + y * cubics[c, THREE]))
            g0, g1 = g * d0, g * d1
            f0 += g0
            f1 += g1
            force[j, ZERO] -= g0
            force[j, ONE] -= g1
        force[i, ZERO] += f0
        force[i, ONE] += f1


@compiled
def add_forces_3d(
    n: int,
    x: np.ndarray,
    row: np.ndarray,
    start: np.ndarray,
    partner: np.ndarray,
    table: np.ndarray,
    inner: np.ndarray,
    per_interval: float,
    force: np.ndarray,
) -> None:
    """The same in three dimensions. A loop over the components would take half as long again.

    So would a function for `g` that both loops call, inlined or not.
    """
    n_species, n_intervals = np.uint64(inner.shape[0]), np.uint64(table.shape[2])
    last = np.uint64(table.shape[2] - 1)
    cubics, begins = table.reshape(-1, 4), inner.reshape(-1)
    for i in range(np.uint64(n)):
        x0, x1, x2 = x[i, ZERO], x[i, ONE], x[i, TWO]
        f0, f1, f2 = 0.0, 0.0, 0.0
        species = np.uint64(row[i]) * n_species
        for k in range(np.uint64(start[i]), np.uint64(start[i + ONE])):
            j = np.uint64(partner[k])
            pair = species + np.uint64(row[j])
            d0, d1, d2 = x0 - x[j, ZERO], x1 - x[j, ONE], x2 - x[j, TWO]
            u = d0 * d0 + d1 * d1 + d2 * d2
            place = (u - begins[pair]) * per_interval
            if place < 0.0:
                g = cubics[pair * n_intervals, ZERO] * np.sqrt(begins[pair] / max(u, TINY))
            else:
                interval = min(np.uint64(np.int64(place)), last)
                y = place - np.float64(np.int64(interval))
                c = pair * n_intervals + interval
                g = cubics[c, ZERO] + y * (cubics[c, ONE] + y * (cubics[c, TWO] + y * cubics[c, THREE]))
            g0, g1, g2 = g * d0, g * d1, g * d2
            f0 += g0
            f1 += g1
            f2 += g2
            force[j, ZERO] -= g0
            force[j, ONE] -= g1
            force[j, TWO] -= g2
        force[i, ZERO] += f0
        force[i, ONE] += f1
        force[i, TWO] += f2


@compiled
def forces(
    n: int,
    x: np.ndarray,
    owner: np.ndarray,
    row: np.ndarray,
    start: np.ndarray,
    partner: np.ndarray,
    table: np.ndarray,
    inner: np.ndarray,
    per_interval: float,
    force: np.ndarray,
) -> None:
    """The forces on `n` particles, in the first entries of `force`; the others are those of ghosts on the way."""
    force[:] = 0.0
    if x.shape[1] == 2:
        add_forces_2d(n, x, row, start, partner, table, inner, per_interval, force)
    else:
        add_forces_3d(n, x, row, start, partner, table, inner, per_interval, force)
    for k in range(n, len(x)):
        for a in range(x.shape[1]):
            force[owner[k], a] += force[k, a]


@compiled
def stiffness_bound(
    n: int,
    x: np.ndarray,
    owner: np.ndarray,
    row: np.ndarray,
    start: np.ndarray,
    partner: np.ndarray,
    table: np.ndarray,
    inner: np.ndarray,
    per_interval: float,
) -> float:
    """Twice the largest sum over a particle's bonds of max(|V''|, |V'/r|): above the Hessian's largest eigenvalue."""
    d = x.shape[1]
    last = table.shape[2] - 1
    total = np.zeros(n)
    for i in range(n):
        s = row[i]
        for k in range(start[i], start[i + 1]):
            j = partner[k]
            t = row[j]
            u = 0.0
            for a in range(d):
                difference = x[i, a] - x[j, a]
                u += difference * difference
            place = (u - inner[s, t]) * per_interval
            if place < 0.0:
                # The force is constant here.
                stiffness = abs(table[s, t, 0, 0]) * np.sqrt(inner[s, t] / max(u, TINY))
            else:
                interval = min(int(place), last)
                y = place - interval
                c = table[s, t, interval]
                g = c[0] + y * (c[1] + y * (c[2] + y * c[3]))
                slope = (c[1] + y * (2.0 * c[2] + y * 3.0 * c[3])) * per_interval
                # V' = -g r and u = r², hence V'' = -(g + 2 u dg/du).
                stiffness = max(abs(g), abs(g + 2.0 * u * slope))
            total[i] += stiffness
            total[owner[j]] += stiffness
    return 2.0 * np.max(total)
