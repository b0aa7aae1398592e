"""How potentials come to an end at their cutoff: multiplied by a switching function, or with a polynomial added."""

import math
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

# XPLOR multiplies the energy; the others add a polynomial that makes so many derivatives continuous.
Smoothing = Literal["xplor", "polynomial_1", "polynomial_2", "polynomial_3"]
# How many derivatives are continuous at the cutoff with a polynomial.
CONTINUOUS = {"polynomial_1": 1, "polynomial_2": 2, "polynomial_3": 3}


def xplor(r: Float[Array, "*p"], onset: Float[ArrayLike, "..."], cutoff: Float[ArrayLike, "..."]) -> Float[Array, "*p"]:
    """The XPLOR smoothing `S(r)`: 1 up to `onset`, 0 from `cutoff` on, with a continuous first derivative.

    `S = (r_c² - r²)² (r_c² + 2r² - 3r_o²) / (r_c² - r_o²)³` between the onset `r_o` and the cutoff `r_c`.
    """
    left = jnp.clip((cutoff**2 - r**2) / (cutoff**2 - onset**2), 0.0, 1.0)
    return left**2 * (3.0 - 2.0 * left)


def cutoff_polynomial(
    energy: Callable[[Float[Array, "*p"]], Float[Array, "*p"]], cutoff: Float[Array, "*p"], smoothing: Smoothing
) -> Float[Array, "*p q"]:
    """Coefficients of the even polynomial `P(r) = sum_k c_k (r² - r_c²)^k` that brings an energy to zero smoothly.

    `V + P` and its first `q` derivatives are zero at the cutoff `r_c`. As functions of `r²` these are the first terms
    of the Taylor series of `-V`, so `P` is the only even polynomial of degree `2 q` that does this.

    **Arguments:**

    - `energy`: `V(r)`, for many distances at once, and smooth at the cutoff.
    - `cutoff`: `r_c` of each pair.
    - `smoothing`: `polynomial_q`, where `q` derivatives become continuous.

    **Returns:** `c_0` to `c_q` of each pair.
    """
    terms: list[Callable[[Array], Array]] = [lambda squared: -energy(jnp.sqrt(squared))]
    for _ in range(CONTINUOUS[smoothing]):
        terms.append(_derivative(terms[-1]))
    return jnp.stack([term(cutoff**2) / math.factorial(k) for k, term in enumerate(terms)], axis=-1)


def _derivative(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """The derivative of a function that acts on each number of an array alone."""

    def derivative(x: Array) -> Array:
        result: Array = jax.jvp(function, (x,), (jnp.ones_like(x),))[1]
        return result

    return derivative


def evaluate_polynomial(
    coefficients: Float[Array, " q"], r: Float[Array, ""], cutoff: Float[Array, ""]
) -> Float[Array, ""]:
    """`P(r)` of a pair, from the coefficients that `cutoff_polynomial` gives."""
    x = r**2 - cutoff**2
    value = coefficients[-1]
    for k in range(coefficients.shape[0] - 2, -1, -1):
        value = value * x + coefficients[k]
    return value
