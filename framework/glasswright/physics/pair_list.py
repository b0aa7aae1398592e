"""Lists of the pairs of particles that are near each other. A list that may be incomplete says so."""

import itertools
import math
from types import ModuleType
from typing import TYPE_CHECKING, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from .cell_list import pairs_in_cells
from .configuration import Configuration

# JAX's arrays in lists that were made under `jit`, NumPy's in lists that were made on the host. They serve alike, and
# type checkers know of the first only.
if TYPE_CHECKING:
    PairIndex = Int[Array, " p"]
    PairMask = Bool[Array, " p"]
    AnyFloat = Float[Array, ""]
    AnyInt = Int[Array, ""]
    AnyBool = Bool[Array, ""]
else:
    PairIndex = Int[Array | np.ndarray, " p"]
    PairMask = Bool[Array | np.ndarray, " p"]
    AnyFloat = Float[Array | np.ndarray, ""]
    AnyInt = Int[Array | np.ndarray, ""]
    AnyBool = Bool[Array | np.ndarray | np.bool_, ""]


class PairList(eqx.Module):
    """Every pair within `radius` of each other, once, padded to a fixed capacity.

    **Attributes:**

    - `i`, `j`: particle indices of each pair, shape `(p,)`; padding has `i == j`.
    - `reference`: the configuration that the list was made for.
    - `radius`: pairs up to this distance are listed (cutoff and skin), in units of length. In a skewed box it is at
      most half the width (see `complete_radius`), even if the list was made for more.
    - `n_pairs`: number of pairs within `radius`; if it exceeds the capacity `p`, the list is incomplete.
    """

    i: PairIndex
    j: PairIndex
    reference: Configuration
    radius: AnyFloat
    n_pairs: AnyInt

    @property
    def mask(self) -> PairMask:
        """Which entries are pairs rather than padding."""
        return self.i != self.j

    @property
    def capacity(self) -> int:
        """Number `p` of entries, padding included."""
        return self.i.shape[0]

    @property
    def overflowed(self) -> AnyBool:
        """Whether the capacity was too small for all pairs."""
        return self.n_pairs > self.capacity

    def covers(self, configuration: Configuration, cutoff: Float[ArrayLike, ""]) -> Bool[Array, ""]:
        """Whether the list certainly holds every pair of `configuration` within `cutoff`.

        Two particles approach each other by at most the sum of the two largest displacements since the list was made.
        A list never covers a configuration in another box.
        """
        moved, box = configuration.fractional - self.reference.fractional, self.reference.box
        shift = sum(moved[:, b, None] * box[:, b][None] for b in range(moved.shape[1]))
        travelled = jnp.sum(shift**2, axis=1)
        first = jnp.argmax(travelled)
        # argmax finds a NaN first; the sum is then NaN, and the comparison with the radius is false.
        second = jnp.max(jnp.where(jnp.arange(travelled.shape[0]) == first, 0.0, travelled))
        nearer = jnp.sqrt(travelled[first]) + jnp.sqrt(second)
        same_box = jnp.all(configuration.box == self.reference.box)
        return same_box & (nearer + cutoff <= self.radius) & ~self.overflowed


# Cutoffs that only rounding makes larger than half the width are covered all the same.
_ROUNDING = 2e-9


def complete_radius(box: Float[Array | np.ndarray, "d d"], radius: Float[ArrayLike, ""]) -> AnyFloat:
    """The distance up to which a list of the pairs within `radius` holds all of them, in units of length.

    A pair is listed by the distance of its nearest image in fractional coordinates. Between lattice vectors along the
    axes, that is its nearest image in space. In a skewed box it is so for certain up to half the width of the box
    (`box_width`), beyond which a list may lack pairs.
    """
    # NumPy for boxes on the host, where a device array would cost more than the whole computation.
    xp: ModuleType = np if isinstance(box, np.ndarray) else jnp
    widest = 0.5 * (1.0 + _ROUNDING) / xp.max(xp.linalg.norm(xp.linalg.inv(box), axis=1))
    is_skewed = xp.any(box * (1.0 - np.eye(box.shape[0])) != 0.0)
    complete: AnyFloat = xp.where(is_skewed, xp.minimum(radius, widest), radius)
    return complete


def find_pairs(configuration: Configuration, radius: Float[ArrayLike, ""], capacity: int) -> PairList:
    """Find all pairs within `radius` under `jit` and `vmap`; check `overflowed` afterwards.

    Computes all distances, which for up to about two thousand particles costs less than a cell list. For more,
    `build_pair_list` uses cells.

    **Arguments:**

    - `configuration`: the particles, `n` of them.
    - `radius`: largest distance of a listed pair, in units of length.
    - `capacity`: number `p` of entries of the list.

    **Returns:** a list of `capacity` entries, ordered by `i`, then by `j`.
    """
    n = configuration.n_particles
    if n > MOST_ALL_PAIRS:
        i, j, n_pairs = _find_by_rows(configuration, radius, capacity)
    else:
        index = jnp.arange(n)
        near = _near(configuration.fractional, configuration.fractional, configuration.box, radius)
        near = (near & (index[:, None] < index[None, :])).reshape(-1)
        (place,) = jnp.nonzero(near, size=capacity, fill_value=n * n)
        listed = place < n * n
        i, j = (jnp.where(listed, k, 0).astype(jnp.int32) for k in (place // n, place % n))
        n_pairs = jnp.sum(near)
    return PairList(
        i=i, j=j, reference=configuration, radius=complete_radius(configuration.box, radius), n_pairs=n_pairs
    )


# Above this number of particles, no array holds all of their pairs: `find_pairs` computes distances row by row, and
# `build_pair_list` uses cells. All ways find the same pairs in the same order.
MOST_ALL_PAIRS = 2000


def _find_by_rows(
    configuration: Configuration, radius: Float[ArrayLike, ""], capacity: int
) -> tuple[Int[Array, " p"], Int[Array, " p"], Int[Array, ""]]:
    """All pairs `i < j` within `radius`, padded to the capacity, and their number; a row of distances at a time."""
    fractional, n = configuration.fractional, configuration.n_particles
    nothing = jnp.zeros(capacity, dtype=jnp.int32)

    def add(carry: tuple[Array, Array, Array], row: Int[Array, ""]) -> tuple[tuple[Array, Array, Array], None]:
        i, j, number = carry
        near = _near(fractional[row][None], fractional, configuration.box, radius)[0] & (jnp.arange(n) > row)
        # Places beyond the capacity are dropped.
        place = jnp.where(near, number + jnp.cumsum(near) - 1, capacity)
        i = i.at[place].set(row.astype(jnp.int32), mode="drop")
        j = j.at[place].set(jnp.arange(n, dtype=jnp.int32), mode="drop")
        return (i, j, number + jnp.sum(near)), None

    (i, j, number), _ = jax.lax.scan(add, (nothing, nothing, jnp.asarray(0)), jnp.arange(n))
    return i, j, number


def _near(
    rows: Float[Array, "m d"], columns: Float[Array, "n d"], box: Float[Array, "d d"], radius: Float[ArrayLike, ""]
) -> Bool[Array, "m n"]:
    """Which distances between two sets of fractional positions are below `radius`."""
    d = rows.shape[1]
    by_axis = [columns[None, :, a] - rows[:, None, a] for a in range(d)]
    by_axis = [x - jnp.round(x) for x in by_axis]
    squared: Array = jnp.asarray(sum(sum(box[a, b] * by_axis[b] for b in range(d)) ** 2 for a in range(d)))
    return squared < radius**2


# Only half of the symmetric matrix of distances is needed: it is computed in this many blocks of rows, each from its
# diagonal on.
BLOCKS = 4


@jax.jit
def _near_blocks(
    fractional: Float[Array, "n d"], box: Float[Array, "d d"], radius: Float[ArrayLike, ""]
) -> list[Bool[Array, "_ _"]]:
    """Which pairs `i < j` are closer than `radius`, in blocks of rows; columns end with the last particle."""
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
    """Find all pairs within `radius`, in a list that holds them all (not for use under `jit`).

    **Arguments:**

    - `configuration`: the particles.
    - `radius`: largest distance of a listed pair, in units of length.
    - `capacity`: preferred number of entries, normally that of the previous list: functions of a list are compiled
      anew for every capacity. It is not kept if the pairs do not fit, or if they fill less than half of it.

    **Returns:** a list whose `overflowed` is False.
    """
    n = configuration.n_particles
    # NumPy's arrays here and in the list: converting them to device arrays costs more than passing them to `jit`.
    radius = np.asarray(radius, dtype=float)
    first, second = _all_pairs(configuration, radius) if n <= MOST_ALL_PAIRS else _cell_pairs(configuration, radius)
    needed = len(first)
    if capacity is None or not capacity // 2 <= needed <= capacity:
        capacity = round_capacity(needed)
    i, j = np.zeros((2, capacity), dtype=np.int32)
    _fill_interleaved(i, first)
    _fill_interleaved(j, second)
    # NumPy's, unknown to type checkers (see above).
    complete = np.asarray(complete_radius(np.asarray(configuration.box), radius))
    arrays = cast(dict[str, Array], {"i": i, "j": j, "radius": complete, "n_pairs": np.asarray(needed)})
    return PairList(reference=configuration, **arrays)


def _all_pairs(configuration: Configuration, radius: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All pairs `i < j` within `radius`, from all distances."""
    n = configuration.n_particles
    first, second = [], []
    for near in _near_blocks(configuration.fractional, configuration.box, radius):
        columns = near.shape[1]
        # On the host: on a CPU, XLA takes ten times as long.
        place = np.flatnonzero(near).astype(np.uint32)
        row = place // np.uint32(columns)
        start = np.uint32(n - columns)
        first.append(row + start)
        second.append(place - row * np.uint32(columns) + start)
    return np.concatenate(first), np.concatenate(second)


def _cell_pairs(configuration: Configuration, radius: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All pairs `i < j` within `radius`, from a grid of cells."""
    return pairs_in_cells(np.asarray(configuration.fractional), np.asarray(configuration.box), float(radius))


# Consecutive pairs of a list come from this many distant parts of the order by rows.
INTERLEAVED = 8


def _fill_interleaved(result: np.ndarray, pairs: np.ndarray) -> None:
    """Fill `result` from the front with the interleaved pairs: consecutive sums on the same particle are slow."""
    even = len(pairs) // INTERLEAVED * INTERLEAVED
    result[:even].reshape(-1, INTERLEAVED)[...] = pairs[:even].reshape(INTERLEAVED, -1).T
    result[even : len(pairs)] = pairs[even:]


def round_capacity(n_pairs: float) -> int:
    """Round up to a capacity with room for a few more pairs: one of few, each a quarter larger than the last."""
    rung = math.ceil(math.log(max(1.05 * n_pairs, 64) / 64) / math.log(1.25))
    return 64 * math.ceil(1.25**rung)
