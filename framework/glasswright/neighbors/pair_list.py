"""Lists of interacting pairs that cannot lose a pair silently."""

import math

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._configuration import Configuration


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

        Two particles can approach each other by at most twice the largest displacement since the list was made.
        """
        shift = (configuration.fractional - self.reference.fractional) @ self.reference.box.T
        travelled = jnp.sqrt(jnp.max(jnp.sum(shift**2, axis=1)))
        same_box = jnp.all(configuration.box == self.reference.box)
        return same_box & (2.0 * travelled + cutoff <= self.radius) & ~self.overflowed


def find_pairs(configuration: Configuration, radius: Float[Array, ""], capacity: int) -> PairList:
    """All pairs within `radius`, from all distances; check `overflowed`.

    Quadratic in the number of particles, which up to about two thousand costs less than a cell list.
    """
    n, d = configuration.fractional.shape
    # Row i, column k stands for the pair of i and i + k + 1 (modulo n): every pair once, in half a matrix. Compacting a
    # mask costs far more than filling it.
    offset = jnp.arange(1, n // 2 + 1)
    i = jnp.arange(n)[:, None]
    j = (i + offset) % n
    by_axis = [configuration.fractional[:, a][j] - configuration.fractional[:, a][:, None] for a in range(d)]
    by_axis = [x - jnp.round(x) for x in by_axis]
    squared = sum(sum(configuration.box[a, b] * by_axis[b] for b in range(d)) ** 2 for a in range(d))
    # With an even number of particles the last column would list its pairs twice.
    near = (squared < radius**2) & ((2 * offset < n) | (i < j))
    (place,) = jnp.nonzero(near.reshape(-1), size=capacity, fill_value=n * (n // 2))
    listed = place < n * (n // 2)
    first = jnp.where(listed, place // (n // 2), 0)
    second = jnp.where(listed, (first + place % (n // 2) + 1) % n, 0)
    return PairList(i=first, j=second, reference=configuration, radius=jnp.asarray(radius), n_pairs=jnp.sum(near))


_find_pairs = eqx.filter_jit(find_pairs)


def build_pair_list(configuration: Configuration, radius: Float[Array, ""], capacity: int | None = None) -> PairList:
    """All pairs within `radius`, growing the capacity until they fit (not for use under `jit`).

    `capacity` is a first try, normally that of the last list: keeping it avoids compiling for another size. Left out,
    it is guessed from the density. A list that would leave it half empty gets a smaller one.
    """
    n, d = configuration.n_particles, configuration.dimension
    every = n * (n - 1) // 2
    if capacity is None:
        sphere = math.pi ** (d / 2) / math.gamma(d / 2 + 1) * float(radius) ** d
        capacity = round_capacity(min(0.5 * n * sphere * n / float(configuration.volume), every))
    while True:
        pairs = _find_pairs(configuration, jnp.asarray(radius), capacity)
        needed = int(pairs.n_pairs)
        if capacity // 2 <= needed <= capacity or capacity == round_capacity(needed):
            return pairs
        capacity = round_capacity(needed)


def round_capacity(n_pairs: float) -> int:
    """A capacity with some pairs to spare, from a ladder of sizes a quarter apart: few sizes, so few compilations."""
    rung = math.ceil(math.log(max(1.05 * n_pairs, 64) / 64) / math.log(1.25))
    return 64 * math.ceil(1.25**rung)
