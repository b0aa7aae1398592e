"""The Cholesky factor of a sparse Hessian, by dense factorisations along the tree of an elimination."""

import dataclasses
import functools

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import blas, lapack

from .elimination import Elimination, Node


@dataclasses.dataclass(frozen=True)
class SparseFactor:
    """The factor `L` of `L L^T = A` for a positive definite matrix of `d x d` blocks.

    - `elimination`: the order of the particles and the tree of nodes.
    - `own`: for each node, the lower triangle of its own block of `L`, shape `(m, m)`.
    - `below`: for each node, the rows of `L` of its boundary, shape `(b, m)`.
    - `smallest_pivot`, `largest_pivot`: of all squares of diagonal elements of `L`.
    """

    elimination: Elimination
    dimension: int
    own: list[Float[np.ndarray, "_ _"]]
    below: list[Float[np.ndarray, "_ _"]]
    smallest_pivot: float
    largest_pivot: float

    def solve(self, right: Float[np.ndarray, "k n d"]) -> Float[np.ndarray, "k n d"]:
        """`A^-1` times vectors."""
        d, nodes, order = self.dimension, self.elimination.nodes, self.elimination.order
        n_right = len(right)
        x = np.ascontiguousarray(right[:, order].reshape(n_right, -1).T)
        for node, own, below, boundary in zip(nodes, self.own, self.below, self._boundaries, strict=True):
            here = slice(node.start * d, node.end * d)
            x[here] = blas.dtrsm(1.0, own, x[here], lower=1)
            x[boundary] -= below @ x[here]
        for node, own, below, boundary in zip(
            reversed(nodes), reversed(self.own), reversed(self.below), reversed(self._boundaries), strict=True
        ):
            here = slice(node.start * d, node.end * d)
            x[here] = blas.dtrsm(1.0, own, x[here] - below.T @ x[boundary], lower=1, trans_a=1)
        result = np.empty(right.shape)
        result[:, order] = x.T.reshape(n_right, -1, d)
        return result

    @functools.cached_property
    def _boundaries(self) -> list[Int[np.ndarray, " _"]]:
        """The coordinates of the boundary of each node."""
        return [_coordinates(node.boundary, self.dimension) for node in self.elimination.nodes]


def factor_blocks(
    elimination: Elimination, diagonal: Float[np.ndarray, "n d d"], off_diagonal: Float[np.ndarray, "p d d"]
) -> SparseFactor | None:
    """The factor of a symmetric matrix of blocks; None if it is not positive definite.

    **Arguments:**

    - `elimination`: made for the bonds of the matrix.
    - `diagonal`: the block of each particle.
    - `off_diagonal`: the symmetric block of each bond.
    """
    d = diagonal.shape[1]
    in_order = diagonal[elimination.order]
    own: list[np.ndarray] = []
    below: list[np.ndarray] = []
    # What is left behind for the parents.
    updates: dict[int, np.ndarray] = {}
    smallest, largest = np.inf, 0.0
    for k, node in enumerate(elimination.nodes):
        front = _assemble(node, d, in_order[node.start : node.end], off_diagonal)
        for child in node.children:
            _extend_add(front, node, elimination.nodes[child], d, updates.pop(child))
        first, second, rest = front
        factor, failed = lapack.dpotrf(first, lower=1, clean=1, overwrite_a=1)
        pivots = np.diagonal(factor) ** 2
        if failed or not np.all(np.isfinite(pivots)):
            return None
        smallest, largest = min(smallest, float(pivots.min())), max(largest, float(pivots.max()))
        if len(node.boundary):
            second = blas.dtrsm(1.0, factor, second, side=1, lower=1, trans_a=1, overwrite_b=1)
            updates[k] = blas.dsyrk(-1.0, second, beta=1.0, c=rest, lower=1, overwrite_c=1)
        own.append(factor)
        below.append(second)
    return SparseFactor(elimination, d, own, below, smallest, largest)


# The lower triangle of a front: own particles, boundary times own particles, boundary. Columns are contiguous, as
# LAPACK wants them.
Front = tuple[np.ndarray, np.ndarray, np.ndarray]


def _assemble(
    node: Node, d: int, diagonal: Float[np.ndarray, "m d d"], off_diagonal: Float[np.ndarray, "p d d"]
) -> Front:
    """The front of a node with the elements of the matrix."""
    m, b = node.size, len(node.boundary)
    # Axes: column, its component, row, its component.
    first, second = np.zeros((m, d, m, d)), np.zeros((m, d, b, d))
    every = np.arange(m)
    first[every, :, every, :] = diagonal
    inner = node.rows < m
    pairs, rows, columns = node.pairs, node.rows, node.columns
    first[columns[inner], :, rows[inner], :] = off_diagonal[pairs[inner]]
    second[columns[~inner], :, rows[~inner] - m, :] = off_diagonal[pairs[~inner]]
    return first.reshape(m * d, m * d).T, second.reshape(m * d, b * d).T, np.zeros((b * d, b * d)).T


def _extend_add(front: Front, node: Node, child: Node, d: int, update: Float[np.ndarray, "b b"]) -> None:
    """Add what the elimination of a child left behind."""
    first, second, rest = front
    places = _coordinates(node.places(child.boundary), d)
    m = node.size * d
    inner = int(np.searchsorted(places, m))
    own, boundary = places[:inner], places[inner:] - m
    # Transposed, because rows are then contiguous.
    first.T[np.ix_(own, own)] += update.T[:inner, :inner]
    second.T[np.ix_(own, boundary)] += update.T[:inner, inner:]
    rest.T[np.ix_(boundary, boundary)] += update.T[inner:, inner:]


def _coordinates(particles: Int[np.ndarray, " k"], d: int) -> Int[np.ndarray, " kd"]:
    """The coordinates of particles, one after the other."""
    return (particles[:, None] * d + np.arange(d)).reshape(-1)
