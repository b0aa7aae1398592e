"""Lists of interacting pairs that cannot lose a pair silently."""

import itertools
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from .configuration import Configuration


class PairList(eqx.Module):
    """Every pair within `radius` of each other, once, padded to a fixed capacity.

    **Attributes:**

    - `i`, `j`: particle indices of each pair, shape `(p,)`; padding has `i == j`.
    - `reference`: the configuration the list was made for.
    - `radius`: pairs up to this distance are listed (cutoff and skin), in units of length.
    - `n_pairs`: how many pairs there are; more than the capacity `p` means that the list is incomplete.
    """

    i: Int[Array, " p"]
    j: Int[Array, " p"]
    reference: Configuration
    radius: Float[Array, ""]
    n_pairs: Int[Array, ""]

    @property
    def mask(self) -> Bool[Array, " p"]:
        """Which entries are pairs rather than padding."""
        return self.i != self.j

    @property
    def capacity(self) -> int:
        return self.i.shape[0]

    @property
    def overflowed(self) -> Bool[Array, ""]:
        """Whether pairs were left out because the capacity was too small."""
        return self.n_pairs > self.capacity

    def covers(self, configuration: Configuration, cutoff: Float[Array, ""]) -> Bool[Array, ""]:
        """Whether the list certainly holds every pair within `cutoff` in `configuration` (same box).

        Two particles can approach each other by at most the two largest displacements since the list was made.
        """
        moved, box = configuration.fractional - self.reference.fractional, self.reference.box
        shift = sum(moved[:, b, None] * box[:, b][None] for b in range(moved.shape[1]))
        travelled = jnp.sum(shift**2, axis=1)
        first = jnp.argmax(travelled)
        # A displacement that is not a number is the largest of all, and no radius covers a sum with it.
        second = jnp.max(jnp.where(jnp.arange(travelled.shape[0]) == first, 0.0, travelled))
        nearer = jnp.sqrt(travelled[first]) + jnp.sqrt(second)
        same_box = jnp.all(configuration.box == self.reference.box)
        return same_box & (nearer + cutoff <= self.radius) & ~self.overflowed


def find_pairs(configuration: Configuration, radius: Float[Array, ""], capacity: int) -> PairList:
    """All pairs within `radius`, from all distances; check `overflowed`. For use under `jit` and `vmap`.

    Quadratic in the number of particles, which up to about two thousand costs less than a cell list.
    """
    n = configuration.n_particles
    index = jnp.arange(n)
    near = _near(configuration.fractional, configuration.fractional, configuration.box, radius)
    near = (near & (index[:, None] < index[None, :])).reshape(-1)
    (place,) = jnp.nonzero(near, size=capacity, fill_value=n * n)
    listed = place < n * n
    return PairList(
        i=jnp.where(listed, place // n, 0).astype(jnp.int32),
        j=jnp.where(listed, place % n, 0).astype(jnp.int32),
        reference=configuration,
        radius=jnp.asarray(radius),
        n_pairs=jnp.sum(near),
    )


def _near(rows: Float[Array, "m d"], columns: Float[Array, "n d"], box, radius) -> Bool[Array, "m n"]:
    """Which distances between two sets of particles are below `radius`."""
    d = rows.shape[1]
    by_axis = [columns[None, :, a] - rows[:, None, a] for a in range(d)]
    by_axis = [x - jnp.round(x) for x in by_axis]
    squared = sum(sum(box[a, b] * by_axis[b] for b in range(d)) ** 2 for a in range(d))
    return squared < radius**2


# Of the matrix of all distances, so many blocks of rows are computed, each from its own diagonal on.
BLOCKS = 4


@jax.jit
def _near_blocks(fractional, box, radius):
    n = fractional.shape[0]
    edges = [n * k // BLOCKS for k in range(BLOCKS + 1)]
    result = []
    for start, end in itertools.pairwise(edges):
        near = _near(fractional[start:end], fractional[start:], box, radius)
        result.append(near & (jnp.arange(end - start)[:, None] < jnp.arange(n - start)[None, :]))
    return result


def build_pair_list(
    configuration: Configuration, radius: Float[ArrayLike, ""], capacity: int | None = None
) -> PairList:
    """All pairs within `radius`, with a capacity in which they fit (not for use under `jit`).

    `capacity` is a first try, normally that of the last list: keeping it avoids compiling for another size. A list that
    would leave it half empty gets a smaller one.
    """
    n = configuration.n_particles
    # NumPy's numbers here and in the list: making device arrays of them costs more than handing them over.
    radius = np.asarray(radius, dtype=float)
    first, second = [], []
    for near in _near_blocks(configuration.fractional, configuration.box, radius):
        columns = near.shape[1]
        # Compacted on the host: on a CPU, XLA takes ten times as long for it.
        place = np.flatnonzero(near).astype(np.uint32)
        row = place // np.uint32(columns)
        start = np.uint32(n - columns)
        first.append(row + start)
        second.append(place - row * np.uint32(columns) + start)
    needed = sum(len(part) for part in first)
    if capacity is None or not capacity // 2 <= needed <= capacity:
        capacity = round_capacity(needed)
    i, j = np.zeros((2, capacity), dtype=np.int32)
    _fill_interleaved(i, np.concatenate(first))
    _fill_interleaved(j, np.concatenate(second))
    numbers: Any = {"i": i, "j": j, "radius": radius, "n_pairs": np.asarray(needed)}
    return PairList(reference=configuration, **numbers)


# Pairs that follow each other in a list come from so many distant places of the row by row order.
INTERLEAVED = 8


def _fill_interleaved(result: np.ndarray, pairs: np.ndarray) -> None:
    """Fill in from the front, in another order: sums are slow where one after the other goes to the same particle."""
    even = len(pairs) // INTERLEAVED * INTERLEAVED
    result[:even].reshape(-1, INTERLEAVED)[...] = pairs[:even].reshape(INTERLEAVED, -1).T
    result[even : len(pairs)] = pairs[even:]


def round_capacity(n_pairs: float) -> int:
    """A capacity with some pairs to spare, from a ladder of sizes a quarter apart: few sizes, so few compilations."""
    rung = math.ceil(math.log(max(1.05 * n_pairs, 64) / 64) / math.log(1.25))
    return 64 * math.ceil(1.25**rung)
