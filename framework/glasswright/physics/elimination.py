"""The order in which a sparse Hessian is eliminated: nested dissection by the positions of the particles.

The packing is cut into halves again and again. The particles of one half that touch the other are the separator of the
cut, and are eliminated after both halves, which then do not know of each other. The separators form a tree. Eliminating
a node of it is a dense factorisation: that of its own particles and of its boundary, the later particles that they and
all particles below them touch (the multifrontal method: Duff and Reid, ACM Trans. Math. Softw. 9, 302 (1983)).
"""

import dataclasses

import numpy as np
from jaxtyping import Float, Int

# Parts of this many particles or fewer are not cut any further. Smaller parts mean fewer operations, and more of them
# outside of the linear algebra.
LARGEST_LEAF = 100


@dataclasses.dataclass(frozen=True)
class Node:
    """A node of the elimination: particles `start` to `end` in the order of elimination, and what they leave behind.

    - `boundary`: the later particles that are joined by the elimination, as places in the order.
    - `children`: indices of the nodes that are to be eliminated before.
    - `pairs`, `rows`, `columns`: the bonds whose earlier particle belongs to this node, and where in its front they
      stand; a front holds first the own particles, then the boundary.
    """

    start: int
    end: int
    boundary: Int[np.ndarray, " b"]
    children: tuple[int, ...]
    pairs: Int[np.ndarray, " k"]
    rows: Int[np.ndarray, " k"]
    columns: Int[np.ndarray, " k"]

    @property
    def size(self) -> int:
        """Number of particles that are eliminated here."""
        return self.end - self.start

    def places(self, particles: Int[np.ndarray, " k"]) -> Int[np.ndarray, " k"]:
        """Where particles, given by their places in the order, stand in the front of this node."""
        late = self.size + np.searchsorted(self.boundary, particles)
        return np.where(particles < self.end, particles - self.start, late)


@dataclasses.dataclass(frozen=True)
class Elimination:
    """The order of elimination for a set of bonds, and the tree of its nodes.

    - `i`, `j`: the bonds that it was made for.
    - `order`: particles in the order of elimination.
    - `nodes`: children before their parents; parents right after the last of their children.
    """

    i: Int[np.ndarray, " p"]
    j: Int[np.ndarray, " p"]
    order: Int[np.ndarray, " n"]
    nodes: tuple[Node, ...]

    def serves(self, i: Int[np.ndarray, " p"], j: Int[np.ndarray, " p"]) -> bool:
        """Whether these are the bonds that it was made for."""
        return np.array_equal(i, self.i) and np.array_equal(j, self.j)


def eliminate_by_dissection(
    position: Float[np.ndarray, "n d"],
    i: Int[np.ndarray, " p"],
    j: Int[np.ndarray, " p"],
) -> Elimination:
    """An order of elimination for particles at these positions with these bonds.

    The bonds may be any: positions only decide where to cut.

    **Arguments:**

    - `position`: where to cut. In a box of any shape, the fractional coordinates times the widths of the box.
    - `i`, `j`: the particles of each bond, in any order; no bond twice.
    """
    parts, of_particle = np.unique(_dissect(position, i, j), return_inverse=True)
    numbers = _postorder(parts)
    rank = {number: k for k, number in enumerate(numbers)}
    # Places in the order: by node, then by particle.
    node_of = np.array([rank[number] for number in parts])[of_particle]
    order = np.argsort(node_of, kind="stable")
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    ends = np.cumsum(np.bincount(node_of, minlength=len(numbers)))
    children: list[list[int]] = [[] for _ in numbers]
    for k, number in enumerate(numbers):
        parent = number // 2
        while parent and parent not in rank:
            parent //= 2
        if parent:
            children[rank[parent]].append(k)
    early, late = np.minimum(place[i], place[j]), np.maximum(place[i], place[j])
    node_of_early = node_of[order][early]
    by_node = np.argsort(node_of_early, kind="stable")
    first = np.searchsorted(node_of_early[by_node], np.arange(len(numbers) + 1))
    nodes: list[Node] = []
    for k in range(len(numbers)):
        start, end = int(ends[k - 1]) if k else 0, int(ends[k])
        pairs = by_node[first[k] : first[k + 1]]
        # A part that touches nothing else leaves nothing behind.
        joined = [child for child in children[k] if len(nodes[child].boundary)]
        reached = np.concatenate([late[pairs], *(nodes[child].boundary for child in joined)])
        boundary = np.unique(reached[reached >= end])
        node = Node(start, end, boundary, tuple(joined), pairs, pairs, pairs)
        rows, columns = node.places(late[pairs]), early[pairs] - start
        nodes.append(dataclasses.replace(node, rows=rows, columns=columns))
    return Elimination(i, j, order, tuple(nodes))


def _dissect(
    position: Float[np.ndarray, "n d"], i: Int[np.ndarray, " p"], j: Int[np.ndarray, " p"]
) -> Int[np.ndarray, " n"]:
    """The part of each particle: part `k` is a separator between what its halves, `2 k` and `2 k + 1`, became."""
    n = len(position)
    part, active = np.ones(n, dtype=np.int64), np.ones(n, dtype=bool)
    while True:
        _, index, count = np.unique(part, return_inverse=True, return_counts=True)
        active &= count[index] > LARGEST_LEAF
        particles = np.flatnonzero(active)
        if not len(particles):
            return part
        side = np.zeros(n, dtype=np.int64)
        side[particles] = _halves(position[particles], part[particles])
        # A bond that ends in another part is of no concern from now on: it is in a separator or leads to one.
        within = active[i] & active[j] & (part[i] == part[j])
        i, j = i[within], j[within]
        cut = side[i] != side[j]
        touches = np.zeros(n, dtype=bool)
        touches[i[cut]] = touches[j[cut]] = True
        # The half with fewer of them gives the separator.
        _, index = np.unique(part[particles], return_inverse=True)
        there = touches[particles]
        ends = [np.bincount(index[there & (side[particles] == s)], minlength=index.max() + 1) for s in (0, 1)]
        thinner = (ends[1] < ends[0]).astype(np.int64)
        separates = there & (side[particles] == thinner[index])
        active[particles[separates]] = False
        halves = particles[~separates]
        part[halves] = 2 * part[halves] + side[halves]


def _halves(position: Float[np.ndarray, "m d"], part: Int[np.ndarray, " m"]) -> Int[np.ndarray, " m"]:
    """Which half of its part each particle belongs to, 0 or 1; parts are cut across their longest extent."""
    _, index = np.unique(part, return_inverse=True)
    by_part = np.argsort(index, kind="stable")
    starts = np.searchsorted(index[by_part], np.arange(index.max() + 1))
    sorted_position = position[by_part]
    extent = np.maximum.reduceat(sorted_position, starts) - np.minimum.reduceat(sorted_position, starts)
    along = np.take_along_axis(position, np.argmax(extent, axis=1)[index][:, None], axis=1)[:, 0]
    order = np.lexsort((along, index))
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order)) - starts[index[order]]
    return (2 * rank >= np.bincount(index)[index]).astype(np.int64)


def _postorder(numbers: Int[np.ndarray, " k"]) -> list[int]:
    """The parts, children before parents, and each right after its descendants."""
    depth = max(int(number).bit_length() for number in numbers)
    # Descendants of part k begin with its digits: filled with ones, and longer numbers first, they come before it.
    shifts = [depth - int(number).bit_length() for number in numbers]
    keys = [((int(number) + 1 << shift) - 1, shift) for number, shift in zip(numbers, shifts, strict=True)]
    return [int(numbers[k]) for k in sorted(range(len(numbers)), key=lambda k: keys[k])]
