"""Small computations whose results are known without a compiler: they catch a jax that compiles wrongly.

jax 0.10.2 is such a release: on CPUs it fuses a batched product with a small matrix and the reduction
after it so that results are wrong from some 16,000 rows on (jax-ml/jax issue 39103). Strain energies of many
pairs look like that, so the pattern itself is tried, at sizes on both sides of the limit.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

Probe = Callable[[], str]
RELATIVE = 1e-10


def probes() -> dict[str, Probe]:
    """All probes by name; each returns a complaint, or nothing when the results agree."""
    return {
        "batched products and reductions": batched_reduction,
        "pair forces": pair_forces,
        "scattered sums": scattered_sum,
        "loops": loop,
        "linear solves": linear_solve,
    }


def batched_reduction() -> str:
    """`sum |M x|²` for many rows, the pattern of jax-ml/jax issue 39103."""

    def norm(x: jax.Array, matrix: jax.Array) -> jax.Array:
        return jax.vmap(lambda row: jnp.sum((matrix @ row) ** 2))(x)

    for dimension in (2, 3):
        for rows in (4_097, 16_385, 32_769):
            x = np.zeros((rows, dimension))
            x[:, 0] = np.arange(rows)
            computed = jax.jit(norm)(jnp.asarray(x), jnp.eye(dimension))
            complaint = _compare(computed, np.sum(x**2, axis=1), RELATIVE)
            if complaint:
                return f"{rows} rows of {dimension}: {complaint}"
    return ""


def pair_forces() -> str:
    """Distances, clipped exponentials, branches and their derivative, against the formula in numpy."""
    random = np.random.default_rng(0)
    position = random.uniform(0.0, 8.0, (20_001, 2))
    partner = np.roll(position, 1, axis=0)

    def energy(x: jax.Array, y: jax.Array) -> jax.Array:
        r = jnp.sqrt(jnp.sum((x - y) ** 2, axis=-1))
        decay = jnp.exp(-5.0 * (jnp.clip(r, 1.0, 3.0) - 1.0))
        return jnp.sum(
            jnp.where(r < 1.0, 2.5 * (r - 1.0) ** 2 - 0.1, jnp.where(r < 3.0, 0.1 * decay * (decay - 2.0), 0.0))
        )

    computed = jax.jit(jax.grad(energy))(jnp.asarray(position), jnp.asarray(partner))
    difference = position - partner
    r = np.sqrt(np.sum(difference**2, axis=-1))
    decay = np.exp(-5.0 * (np.clip(r, 1.0, 3.0) - 1.0))
    slope = np.where(r < 1.0, 5.0 * (r - 1.0), np.where(r < 3.0, -decay * (decay - 1.0), 0.0))
    return _compare(computed, (slope / r)[:, None] * difference, RELATIVE)


def scattered_sum() -> str:
    """Forces added up on particles that appear in many pairs."""
    random = np.random.default_rng(1)
    i = random.integers(0, 257, 20_001)
    values = random.normal(size=(20_001, 3))
    expected = np.zeros((257, 3))
    np.add.at(expected, i, values)
    computed = jax.jit(lambda i, v: jnp.zeros((257, 3)).at[i].add(2.0 * v) / 2.0)(jnp.asarray(i), jnp.asarray(values))
    return _compare(computed, expected, RELATIVE)


def loop() -> str:
    """A loop that ends by itself: Newton's iteration for a square root, element by element."""
    values = np.linspace(0.5, 200.0, 16_385)

    @jax.jit
    def root(a: jax.Array) -> jax.Array:
        def step(x: jax.Array) -> jax.Array:
            return 0.5 * (x + a / x)

        return jax.lax.while_loop(lambda x: jnp.max(jnp.abs(x * x - a) / a) > 1e-12, step, a)

    return _compare(root(jnp.asarray(values)), np.sqrt(values), RELATIVE)


def linear_solve() -> str:
    """A factored symmetric matrix: the residual of the solution, computed by numpy."""
    random = np.random.default_rng(2)
    half = random.normal(size=(200, 200))
    matrix = half @ half.T + 200.0 * np.eye(200)
    right = random.normal(size=(200, 3))

    @jax.jit
    def solve(a: jax.Array, b: jax.Array) -> jax.Array:
        return jax.scipy.linalg.cho_solve((jnp.linalg.cholesky(a), True), b)

    solution = np.asarray(solve(jnp.asarray(matrix), jnp.asarray(right)))
    return _compare(matrix @ solution, right, 1e-9)


def _compare(computed: jax.Array | np.ndarray, expected: np.ndarray, relative: float) -> str:
    """A complaint if anything differs by more than `relative` of the largest number."""
    scale = float(np.max(np.abs(expected)))
    error = float(np.max(np.abs(np.asarray(computed, dtype=float) - expected))) / scale
    return "" if error <= relative else f"differs from numpy by {error:.1e} of the largest value"
