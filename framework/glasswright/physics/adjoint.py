"""Linear response and adjoint without a Hessian matrix, for many-body potentials and large systems.

The only file that imports jaxopt, which is no longer maintained but whose solvers work.
"""

import warnings

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
    """The Hessian at a minimum as products with vectors, inverted by conjugate gradients.

    **Arguments:**

    - `tolerance`: relative residual at which the iteration stops. Its error enters values and derivatives alike.
    - `max_iterations`: most iterations of one solution; what has not converged by then is NaN, never a wrong number.
    """

    potential: AbstractPotential
    configuration: Configuration
    neighbors: PairList
    tolerance: float = 1e-12
    max_iterations: int = 20_000

    def solve(self, force: Float[Array, "*batch n d"]) -> Float[Array, "*batch n d"]:
        potential, configuration = constant((self.potential, self.configuration))

        def product(x):
            # Uniform translations are pinned by the projector on them, as in the dense form.
            return potential.hessian_product(configuration, self.neighbors, x) + jnp.mean(x, axis=0)

        def solve_one(right):
            solution = solve_cg(product, right, tol=self.tolerance, maxiter=self.max_iterations)
            residual = jnp.linalg.norm(product(solution) - right)
            # The recurrence's residual drifts from the true one by rounding: hence the factor.
            converged = residual <= 100.0 * self.tolerance * jnp.linalg.norm(right)
            return jnp.where(jax.lax.stop_gradient(converged), solution, jnp.nan)

        return jax.lax.map(solve_one, force.reshape(-1, *force.shape[-2:])).reshape(force.shape)
