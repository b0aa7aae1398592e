"""Linear systems solved on the host from within compiled functions, with all derivatives of a linear solution.

`jax.pure_callback` hands its function JAX arrays, which takes a thread of the pool that the calling program may have to
itself: with a single core, a process comes to a standstill. The functions here are given NumPy's arrays.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir
from jaxtyping import Array, Float

from .._types import Untyped

# A matrix: its name, and the arrays that define it.
Matrix = tuple[Array | np.ndarray, ...]


def solve_on_host(
    solve: Callable[..., object],
    solve_anew: Callable[..., object],
    product: Callable[[Matrix, Array], Array],
    matrix: Matrix,
    right: Float[Array, "k n d"],
) -> Float[Array, "k n d"]:
    """Solve `A x = b` for a symmetric matrix `A` whose factor is on the host.

    **Arguments:**

    - `solve`: NumPy function of the matrix's name and of `b`, which returns `x` and whether the host has the factor.
    - `solve_anew`: NumPy function of all of the matrix and of `b`, which factors the matrix and returns `x`. Called if
      the host has no factor.
    - `product`: JAX function of the matrix and of `x`, which returns `A x`; used by transformations only.
    - `matrix`: its name, and the arrays that define it, which carry no derivative.
    - `right`: right-hand sides `b`, with a leading axis.

    **Returns:** solutions `x`.
    """

    def solution(_: object, b: Float[Array, "k n d"]) -> Float[Array, "k n d"]:
        x, kept = _solve_p.bind(jnp.asarray(matrix[0]), b, function=solve)
        anew: Array = jax.lax.cond(
            kept, lambda: x, lambda: _solve_anew_p.bind(*map(jnp.asarray, matrix), b, function=solve_anew)[0]
        )
        return anew

    result: Array = jax.lax.custom_linear_solve(lambda x: product(matrix, x), right, solution, symmetric=True)
    return result


def _primitive(name: str, with_flag: bool) -> Untyped:
    """A primitive that calls `function` on the host; its last operand has the shape of its first result."""
    primitive: Untyped = Primitive(name)
    primitive.multiple_results = True

    def shapes(*operands: ShapedArray, function: Callable[..., object]) -> list[ShapedArray]:
        solution = ShapedArray(operands[-1].shape, operands[-1].dtype)
        return [solution, ShapedArray((), np.dtype(bool))] if with_flag else [solution]

    def lower(context: Untyped, *operands: Untyped, function: Callable[..., object]) -> Untyped:
        result, _, _ = mlir.emit_python_callback(
            context, function, None, operands, context.avals_in, context.avals_out, has_side_effect=False
        )
        return result

    def batch(
        operands: Sequence[Array], axes: Sequence[Untyped], *, function: Callable[..., object]
    ) -> tuple[list[Array], list[Untyped]]:
        """Further right-hand sides are solved together, different matrices one after the other."""
        *matrix, right = operands

        def bind(*arrays: Array) -> Sequence[Array]:
            results: Sequence[Array] = primitive.bind(*arrays, function=function)
            return results

        if all(axis is batching.not_mapped for axis in axes[:-1]):
            right = jnp.moveaxis(right, axes[-1], 0)
            flat = right.reshape(-1, *right.shape[2:])
            solution, *flag = bind(*matrix, flat)
            return [solution.reshape(right.shape), *flag], [0, *(batching.not_mapped for _ in flag)]
        size = next(x.shape[axis] for x, axis in zip(operands, axes, strict=True) if axis is not batching.not_mapped)
        stacked = [
            jnp.broadcast_to(x, (size, *x.shape)) if axis is batching.not_mapped else jnp.moveaxis(x, axis, 0)
            for x, axis in zip(operands, axes, strict=True)
        ]
        results = jax.lax.map(lambda arrays: tuple(bind(*arrays)), tuple(stacked))
        return list(results), [0] * len(results)

    primitive.def_impl(
        jax.jit(lambda *operands, function: primitive.bind(*operands, function=function), static_argnames="function")
    )
    primitive.def_abstract_eval(shapes)
    mlir.register_lowering(primitive, lower)
    batching.primitive_batchers[primitive] = batch
    return primitive


_solve_p = _primitive("solve_on_host", with_flag=True)
_solve_anew_p = _primitive("solve_on_host_anew", with_flag=False)
