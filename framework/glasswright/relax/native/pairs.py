"""Half lists of near pairs with images: ghosts stand for the particles of neighbouring boxes."""

import numpy as np

from .compiled import compiled


@compiled
def wrap(x: np.ndarray, box: np.ndarray, inverse: np.ndarray, wraps: np.ndarray) -> None:
    """Bring all particles into the box; `wraps` counts the lattice vectors that were taken off."""
    n, d = x.shape
    for i in range(n):
        for a in range(d):
            fraction = 0.0
            for b in range(d):
                fraction += inverse[a, b] * x[i, b]
            whole = np.floor(fraction)
            if whole != 0.0:
                wraps[i, a] += int(whole)
                for b in range(d):
                    x[i, b] -= box[b, a] * whole


@compiled
def ghosts(x: np.ndarray, box: np.ndarray, inverse: np.ndarray, margin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The owner and the displacement of each image within `margin` (fractions of the box) of a box of particles."""
    n, d = x.shape
    total = 3**d
    fraction = np.empty(d)
    step = np.empty(d)
    capacity = n + 64
    owner = np.empty(capacity, np.int32)
    shift = np.empty((capacity, d))
    number = 0
    for i in range(n):
        inner = True
        for a in range(d):
            fraction[a] = 0.0
            for b in range(d):
                fraction[a] += inverse[a, b] * x[i, b]
            inner = inner and margin[a] <= fraction[a] < 1.0 - margin[a]
        if inner:
            continue
        for code in range(total):
            rest = code
            near, moved = True, False
            for a in range(d):
                step[a] = rest % 3 - 1
                rest //= 3
                moved = moved or step[a] != 0.0
                near = near and -margin[a] <= fraction[a] + step[a] < 1.0 + margin[a]
            if not (near and moved):
                continue
            if number == capacity:
                capacity *= 2
                wider = np.empty(capacity, np.int32)
                wider[:number] = owner
                owner = wider
                longer = np.empty((capacity, d))
                longer[:number] = shift
                shift = longer
            owner[number] = i
            for b in range(d):
                shift[number, b] = 0.0
                for a in range(d):
                    shift[number, b] += box[b, a] * step[a]
            number += 1
    return owner[:number].copy(), shift[:number].copy()


@compiled
def half_list(
    n: int,
    x: np.ndarray,
    owner: np.ndarray,
    species: np.ndarray,
    inverse: np.ndarray,
    margin: np.ndarray,
    squared_reach: np.ndarray,
    capacity: int,
) -> tuple[np.ndarray, np.ndarray]:
    """`(start, partner)`: the partners `partner[start[i]:start[i + 1]]` of each particle, each pair once.

    `x`, `owner` and `species` are those of `n` particles and then of their ghosts. A pair is listed closer than the
    squared reach of its species.
    """
    total, d = x.shape
    # Cells of a margin or wider, in a box that is a margin wider on each side.
    count = np.empty(d, np.int64)
    for a in range(d):
        count[a] = max(int((1.0 + 2.0 * margin[a]) / margin[a]), 1)
    n_cells = 1
    for a in range(d):
        n_cells *= count[a]
    cell = np.empty((total, d), np.int32)
    place = np.empty(total, np.int64)
    first = np.zeros(n_cells + 1, np.int64)
    for k in range(total):
        index = 0
        for a in range(d):
            fraction = 0.0
            for b in range(d):
                fraction += inverse[a, b] * x[k, b]
            c = int((fraction + margin[a]) / (1.0 + 2.0 * margin[a]) * count[a])
            c = min(max(c, 0), count[a] - 1)
            cell[k, a] = c
            index = index * count[a] + c
        place[k] = index
        first[index + 1] += 1
    for c in range(n_cells):
        first[c + 1] += first[c]
    filled = first[:-1].copy()
    order = np.empty(total, np.int32)
    for k in range(total):
        order[filled[place[k]]] = k
        filled[place[k]] += 1
    # In the order of cells, in which memory is read; a third component in any case.
    along = np.zeros((3, total))
    for k in range(total):
        for a in range(d):
            along[a, k] = x[order[k], a]
    first_axis, second_axis, third_axis = along[0], along[1], along[2]
    sorted_owner = owner[order].astype(np.uint32)
    sorted_species = species[order].astype(np.uint32)
    place_in_order = np.empty(n, np.int64)
    for k in range(total):
        if order[k] < n:
            place_in_order[order[k]] = k
    start = np.empty(n + 1, np.int64)
    partner = np.empty(capacity, np.int32)
    number = 0
    rows = 3 ** (d - 1)
    for i in range(n):
        start[i] = number
        reach = squared_reach[species[i]]
        own, owner_of_i = place_in_order[i], np.uint32(i)
        x0, x1, x2 = first_axis[own], second_axis[own], third_axis[own]
        low = max(cell[i, d - 1] - 1, 0)
        high = min(cell[i, d - 1] + 1, count[d - 1] - 1)
        for code in range(rows):
            rest, index, inside = code, 0, True
            for a in range(d - 1):
                c = cell[i, a] + rest % 3 - 1
                rest //= 3
                inside = inside and 0 <= c < count[a]
                index = index * count[a] + c
            if not inside:
                continue
            begin, end = first[index * count[d - 1] + low], first[index * count[d - 1] + high + 1]
            if number + end - begin > capacity:
                capacity = 2 * capacity + end - begin
                longer = np.empty(capacity, np.int32)
                longer[:number] = partner[:number]
                partner = longer
            filled_to = np.uint64(number)
            for k in range(np.uint64(begin), np.uint64(end)):
                d0, d1, d2 = x0 - first_axis[k], x1 - second_axis[k], x2 - third_axis[k]
                near = d0 * d0 + d1 * d1 + d2 * d2 < reach[sorted_species[k]]
                partner[filled_to] = order[k]
                filled_to += np.uint64(near & (sorted_owner[k] > owner_of_i))
            number = int(filled_to)
    start[n] = number
    return start, partner[:number].copy()


@compiled
def near_pairs(
    x: np.ndarray,
    species: np.ndarray,
    box: np.ndarray,
    inverse: np.ndarray,
    reach: np.ndarray,
    margin: np.ndarray,
    capacity: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """All pairs of particles in the box, and of those with images, closer than the `reach` of their species.

    **Returns:** of particles and then of their ghosts, position, owner and species; the displacements of ghosts from
    their owners; and `start` and `partner` of `half_list`.
    """
    n, d = x.shape
    of_ghost, shift = ghosts(x, box, inverse, margin)
    total = n + len(of_ghost)
    every = np.empty((total, d))
    owner = np.empty(total, np.int32)
    row = np.empty(total, np.int32)
    for k in range(total):
        owner[k] = of_ghost[k - n] if k >= n else k
        row[k] = species[owner[k]]
        for a in range(d):
            every[k, a] = x[owner[k], a] + (shift[k - n, a] if k >= n else 0.0)
    start, partner = half_list(n, every, owner, row, inverse, margin, reach**2, capacity)
    return every, owner, row, shift, start, partner
