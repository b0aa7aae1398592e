"""The structure factor."""

import glasswright as gw
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


class StructureFactor(gw.AbstractProperty):
    """Structure factor `S(k) = |sum_i exp(-i k r_i)|² / N`, averaged over the wave vectors of shells of equal `|k|`.

    The wave vectors are those of the box up to `n_shells` times its smallest, taken together in shells of that width;
    shell `s` stands for `|k|` around `2 pi s / L` with `L` the width of a cubic box.

    **Arguments:**

    - `n_shells`: how many shells.
    """

    n_shells: int = 20

    requires = gw.State
    units = "dimensionless"
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
        shell = np.rint(np.linalg.norm(vectors, axis=1)).astype(int)
        vectors, shell = vectors[shell <= self.n_shells], shell[shell <= self.n_shells]
        phase = 2.0 * np.pi * state.configuration.fractional @ jnp.asarray(vectors.T, dtype=float)
        power = (jnp.sum(jnp.cos(phase), axis=0) ** 2 + jnp.sum(jnp.sin(phase), axis=0) ** 2) / n
        counts = np.bincount(shell, minlength=self.n_shells + 1)[1:]
        return jnp.zeros(self.n_shells).at[shell - 1].add(power) / counts
