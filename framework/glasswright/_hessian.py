import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ._configuration import Configuration
from ._potential import AbstractPotential
from .neighbors import PairList


class AbstractHessian(eqx.Module):
    """The Hessian at a minimum as a linear operator that can be inverted on forces.

    Forces are orthogonal to uniform translations and vanish on rattlers; the solution has the same two properties.
    """

    @abc.abstractmethod
    def solve(self, force: Float[Array, "*batch n d"]) -> Float[Array, "*batch n d"]:
        """`H^-1` times forces. Differentiable in `force`, not in the Hessian."""


class DenseHessian(AbstractHessian):
    """Cholesky factor of the Hessian, its zero modes pinned.

    Translations are pinned by adding the projector on them, rattlers by an identity block: exact, because no right-hand
    side has a component there. The factor of a matrix that is not positive definite is NaN: that is the test of
    stability.
    """

    factor: Float[Array, "nd nd"]
    rattler: Bool[Array, " n"]

    @property
    def is_stable(self) -> Bool[Array, ""]:
        """Whether the Hessian is positive definite apart from translations and rattlers."""
        # The last pivot depends on all others, so a failure anywhere is visible there.
        return jnp.isfinite(self.factor[-1, -1]) & jnp.isfinite(self.factor[0, 0])

    @property
    def n_rattlers(self) -> Int[Array, ""]:
        """How many particles feel no force gradient at all."""
        return jnp.sum(self.rattler)

    def solve(self, force):
        shape = force.shape
        n = self.factor.shape[0]
        right = force.reshape(-1, n).T
        solution = jax.scipy.linalg.cho_solve((jax.lax.stop_gradient(self.factor), True), right)
        return solution.T.reshape(shape)


def factor_hessian(potential: AbstractPotential, configuration: Configuration, neighbors: PairList) -> DenseHessian:
    """Assemble and factor the Hessian of the energy; check `is_stable`."""
    n, d = configuration.fractional.shape
    matrix = potential.hessian(configuration, neighbors)
    blocks = matrix.reshape(n, d, n, d)
    own = jnp.abs(blocks[jnp.arange(n), :, jnp.arange(n), :])
    rattler = jnp.max(own, axis=(1, 2)) == 0.0
    frame = 1.0 - rattler.astype(matrix.dtype)
    weight = frame[:, None] * frame[None, :] / jnp.maximum(jnp.sum(frame), 1.0) + jnp.diag(1.0 - frame)
    pinned = blocks + weight[:, None, :, None] * jnp.eye(d)[None, :, None, :]
    return DenseHessian(jnp.linalg.cholesky(pinned.reshape(n * d, n * d), symmetrize_input=False), rattler)
