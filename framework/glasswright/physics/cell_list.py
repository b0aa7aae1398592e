"""Pairs of near particles from a grid of cells: time and memory proportional to the number of particles."""

import itertools
import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .._jax import fast_jit

# Cells hold few particles more or fewer each time a list is renewed. The capacity of a cell is rounded up to a multiple
# of this, so that programs are compiled once.
CELL_STEP = 4


def grid_shape(box: Float[np.ndarray, "d d"], radius: float) -> tuple[int, ...]:
    """Number of cells along each lattice vector: the cells are at least `radius` wide.

    An axis that has no room for three cells has one, so that no cell is the neighbour of another twice.
    """
    widths = 1.0 / np.linalg.norm(np.linalg.inv(box), axis=1)
    number = np.floor(widths / radius).astype(int)
    return tuple(int(n) if n >= 3 else 1 for n in number)


def pairs_in_cells(
    fractional: Float[np.ndarray, "n d"], box: Float[np.ndarray, "d d"], radius: float
) -> tuple[Int[np.ndarray, " p"], Int[np.ndarray, " p"]]:
    """All pairs `i < j` of particles that are closer than `radius`, ordered by `i`, then by `j`.

    Particles are sorted into cells that are at least `radius` wide in every direction, so that near particles are in
    the same or in adjacent cells. The cells are those of fractional coordinates: boxes may have any shape.
    """
    n = len(fractional)
    shape = grid_shape(box, radius)
    wrapped = fractional - np.floor(fractional)
    # A tiny negative coordinate is wrapped to exactly one.
    place = np.minimum((wrapped * shape).astype(np.int64), np.array(shape) - 1)
    cell = np.ravel_multi_index(tuple(place.T), shape)
    members = np.bincount(cell, minlength=math.prod(shape))
    capacity = CELL_STEP * math.ceil(members.max() / CELL_STEP)
    order = np.argsort(cell, kind="stable")
    slot = np.arange(n) - np.repeat(np.cumsum(members) - members, members)
    table = np.full((len(members), capacity), n, dtype=np.int32)
    table[cell[order], slot] = order
    keys = []
    for offset, near in zip(
        _half_offsets(shape), _near_cells(wrapped, box, np.asarray(radius), table, shape), strict=True
    ):
        # On the host: on a CPU, XLA takes ten times as long.
        index = np.flatnonzero(near)
        first, rest = np.divmod(index, capacity * capacity)
        row, column = np.divmod(rest, capacity)
        a = table[first, row].astype(np.int64)
        b = table[_neighbor_cells(shape, offset)[first], column].astype(np.int64)
        keys.append(np.minimum(a, b) * n + np.maximum(a, b))
    key = np.sort(np.concatenate(keys))
    i, j = np.divmod(key, n)
    return i, j


@fast_jit
def _near_cells(
    fractional: Float[Array, "n d"],
    box: Float[Array, "d d"],
    radius: Float[Array, ""],
    table: Int[Array, "c m"],
    shape: tuple[int, ...],
) -> list[Bool[Array, "c m m"]]:
    """Which particles of each cell are near which of its neighbour, for one half of the neighbours."""
    capacity = table.shape[1]
    # The place that stands for an empty one is never near anything.
    position = jnp.concatenate([fractional, jnp.full((1, fractional.shape[1]), jnp.nan)])[table]
    result = []
    for offset in _half_offsets(shape):
        other = position[_neighbor_cells(shape, offset)]
        by_axis = [other[:, None, :, a] - position[:, :, None, a] for a in range(fractional.shape[1])]
        by_axis = [x - jnp.round(x) for x in by_axis]
        squared = sum(sum(box[a, b] * by_axis[b] for b in range(len(by_axis))) ** 2 for a in range(len(by_axis)))
        near = squared < radius**2
        if not any(offset):
            near = near & (jnp.arange(capacity)[:, None] < jnp.arange(capacity)[None, :])[None]
        result.append(near)
    return result


def _half_offsets(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The cell itself and one of each two opposite neighbours, as offsets along each axis."""
    steps = [(-1, 0, 1) if n >= 3 else (0,) for n in shape]
    return [offset for offset in itertools.product(*steps) if offset >= (0,) * len(shape)]


def _neighbor_cells(shape: tuple[int, ...], offset: tuple[int, ...]) -> Int[np.ndarray, " c"]:
    """The index of the neighbour at `offset` of each cell."""
    index = np.arange(math.prod(shape)).reshape(shape)
    return np.roll(index, [-step for step in offset], axis=tuple(range(len(shape)))).reshape(-1)
