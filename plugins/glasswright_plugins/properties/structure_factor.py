"""The structure factor."""

import glasswright as gw
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int


class StructureFactor(gw.AbstractProperty):
    """Structure factor `S(k) = |sum_i exp(-i k r_i)|² / N`, averaged over the wave vectors of shells of equal `|k|`.

    The wave vectors are those of the box, taken together in shells of the width `2 pi / L`: shell `s` stands for `|k|`
    around `2 pi s / L`. `L` is the edge of a cubic box, the longest edge of an elongated one, and the largest singular
    value of the matrix of lattice vectors of any box. A shell without wave vectors is not a number.

    **Arguments:**

    - `n_shells`: how many shells.
    """

    n_shells: int = 20

    requires = gw.State
    units = "dimensionless"
    symbol = "S(q)"
    source = "Hansen & McDonald, Theory of Simple Liquids, Eq. 4.1.3"

    def __check_init__(self) -> None:
        if self.n_shells < 1:
            raise ValueError(f"structure_factor(n_shells={self.n_shells}): must be at least 1.")

    def measure(self, state: gw.State) -> Float[Array, " shells"]:
        n, d = state.configuration.fractional.shape
        reach = np.arange(-self.n_shells, self.n_shells + 1)
        vectors = np.stack(np.meshgrid(*(d * [reach]), indexing="ij"), axis=-1).reshape(-1, d)
        # Of k and -k, which scatter alike, the one that comes second in order.
        vectors = vectors[len(vectors) // 2 + 1 :]
        # |k| is at least 2 pi / L times the length of these integers: no wave vector of the shells is missing.
        vectors = vectors[np.rint(np.linalg.norm(vectors, axis=1)) <= self.n_shells]
        shell = _shells(jax.lax.stop_gradient(state.configuration.box), vectors)
        phase = 2.0 * np.pi * state.configuration.fractional @ jnp.asarray(vectors.T, dtype=float)
        power = (jnp.sum(jnp.cos(phase), axis=0) ** 2 + jnp.sum(jnp.sin(phase), axis=0) ** 2) / n
        total, number = (
            jnp.zeros(self.n_shells).at[shell - 1].add(each, mode="drop") for each in (power, jnp.ones_like(power))
        )
        # By the reciprocal, as XLA divides by constants: the digits are those of numbers that are known before.
        return total * (1.0 / jnp.where(number > 0.0, number, jnp.nan))


def _shells(box: Float[Array, "d d"], vectors: Int[np.ndarray, "v d"]) -> Int[Array, " v"]:
    """The shell of each wave vector `2 pi B^-T n`, from its length."""
    longest = jnp.sqrt(jnp.linalg.eigvalsh(box.T @ box)[-1])
    # In units of 2 pi / L.
    length = jnp.linalg.norm(jnp.asarray(vectors, dtype=float) @ (longest * jnp.linalg.inv(box)), axis=1)
    return jnp.round(length).astype(int)
