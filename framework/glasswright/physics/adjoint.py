"""Linear response and adjoint without a Hessian matrix, for many-body potentials and large systems.

This is the only file that imports jaxopt, which is no longer maintained.
"""

import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._jax import constant
from .configuration import Configuration
from .hessian import AbstractHessian
from .pair_list import PairList
from .potential import AbstractPotential

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from jaxopt.linear_solve import solve_cg


class MatrixFreeHessian(AbstractHessian):
    """The Hessian of a minimum without a matrix: solutions by conjugate gradients, from products with vectors.

    **Arguments:**

    - `potential`, `configuration`, `neighbors`: the minimum.
    - `tolerance`: relative residual at which the iteration stops. Its error enters values and derivatives.
    - `max_iterations`: largest number of iterations; a solution that has not converged by then is NaN.
    - `stiffness`: the unit of stiffness (`natural_units`), with which translations are pinned.
    """

    potential: AbstractPotential
    configuration: Configuration
    neighbors: PairList
    tolerance: float = 1e-12
    max_iterations: int = 20_000
    stiffness: float = eqx.field(static=True, default=1.0)

    def solve(self, force: Float[Array, "*batch n d"]) -> Float[Array, "*batch n d"]:
        """`H^-1` times forces, for one set of forces after the other."""
        potential, configuration = constant((self.potential, self.configuration))

        def product(x: Float[Array, "n d"]) -> Float[Array, "n d"]:
            # Translations are pinned by the projector on them, as in the dense matrix.
            hessian_times_x: Array = potential.hessian_product(configuration, self.neighbors, x)
            return hessian_times_x + self.stiffness * jnp.mean(x, axis=0)[None]

        def solution(right: Float[Array, "n d"]) -> Float[Array, "n d"]:
            x: Array = solve_cg(product, right, tol=self.tolerance, maxiter=self.max_iterations)
            residual = jnp.linalg.norm(product(x) - right)
            # The residual of the recurrence drifts from the true one by rounding, hence the factor.
            converged = residual <= 100.0 * self.tolerance * jnp.linalg.norm(right)
            return jnp.where(jax.lax.stop_gradient(converged), x, jnp.nan)

        displacement: Array = jax.lax.map(solution, force.reshape(-1, *force.shape[-2:]))
        return displacement.reshape(force.shape)
