"""Normal modes of packings too large for an eigendecomposition: the lowest ones, and how dense all of them lie."""

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
from jaxtyping import Float

from .configuration import Configuration
from .hessian import ZERO_MODE
from .pair_list import PairList
from .potential import AbstractPotential
from .sparse_hessian import SparseMatrix


def lowest_modes(
    potential: AbstractPotential,
    configuration: Configuration,
    neighbors: PairList,
    number: int,
    stiffness: float = 1.0,
) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, "k n d"]]:
    """The modes of lowest eigenvalue of the Hessian, without zero modes, by Lanczos iterations on its inverse.

    Not for use under `jit`, and without derivatives. Time and memory are those of a sparse factor.

    **Arguments:**

    - `potential`, `configuration`, `neighbors`: a minimum of a sum over pairs, or any configuration.
    - `number`: how many modes.
    - `stiffness`: the unit of stiffness (`natural_units`), as in `factor_hessian`.

    **Returns:** eigenvalues in ascending order, in energy per squared length, and displacements of norm one. There are
    fewer than `number` of them if the packing has no more.
    """
    matrix = SparseMatrix(potential, configuration, neighbors, stiffness)
    n, d = matrix.pin.shape
    factor, _ = matrix.shifted_factor(1e-8 * matrix.scale)

    def inverse(vector: Float[np.ndarray, " nd"]) -> Float[np.ndarray, " nd"]:
        return factor.solve(vector.reshape(1, n, d)).reshape(-1)

    operator = scipy.sparse.linalg.LinearOperator((n * d, n * d), matvec=inverse, dtype=float)
    wanted = number + d
    while True:
        # Few coordinates: all of their modes.
        few = min(wanted, n * d - 1) + 1 >= n * d
        if few:
            values, vectors = np.linalg.eigh(matrix.rows.toarray())
        else:
            start = np.random.default_rng(0).normal(size=n * d)
            _, vectors = scipy.sparse.linalg.eigsh(operator, k=wanted, which="LM", v0=start)
            # The inverse knows small eigenvalues relative to the shift only.
            values, rotation = np.linalg.eigh(vectors.T @ (matrix.rows @ vectors))
            vectors = vectors @ rotation
        is_mode = np.abs(values) > ZERO_MODE * matrix.scale
        if few or np.sum(is_mode) >= number:
            break
        wanted *= 2
    held = is_mode & ~np.any(np.abs(vectors.reshape(n, d, -1)[matrix.rattler]) > 0.5, axis=(0, 1))
    values, vectors = values[held][:number], vectors[:, held][:, :number]
    return values, vectors.T.reshape(-1, n, d)


def density_of_all_states(
    potential: AbstractPotential,
    configuration: Configuration,
    neighbors: PairList,
    n_bins: int = 40,
    n_moments: int = 400,
    n_vectors: int = 16,
    stiffness: float = 1.0,
) -> tuple[Float[np.ndarray, " b"], Float[np.ndarray, " c"]]:
    """The density of states `D(w)` of a minimum without any of its modes, by the kernel polynomial method.

    Chebyshev moments of the Hessian are traced with random vectors and damped by Jackson's kernel. Zero modes count as
    states at `w = 0`. Not for use under `jit`, and without derivatives.

    Source: Weiße et al., Rev. Mod. Phys. 78, 275 (2006), sections II.C and II.D.

    **Arguments:**

    - `potential`, `configuration`, `neighbors`, `stiffness`: as in `lowest_modes`.
    - `n_bins`: number of equal intervals between zero and the highest frequency.
    - `n_moments`: number of moments; the resolution in eigenvalues is pi times the largest, divided by it.
    - `n_vectors`: number of random vectors; the noise is the inverse root of their number times that of coordinates.

    **Returns:** as `density_of_states`: the edges of the intervals in frequency, and the heights, of integral one.
    """
    matrix = SparseMatrix(potential, configuration, neighbors, stiffness)
    rows, size = matrix.rows - scipy.sparse.diags_array(matrix.pin.reshape(-1)), matrix.pin.size
    start = np.random.default_rng(0).normal(size=size)
    largest = float(scipy.sparse.linalg.eigsh(rows, k=1, which="LA", v0=start, return_eigenvectors=False, tol=1e-4)[0])
    # Eigenvalues between zero and the largest, mapped into the interval from -1 to 1.
    half = 0.51 * largest
    moments = np.zeros(n_moments)
    vectors = np.random.default_rng(1).choice([-1.0, 1.0], size=(size, n_vectors))
    last, here = vectors, rows @ vectors / half - vectors
    moments[:2] = np.sum(vectors * last), np.sum(vectors * here)
    for k in range(1, n_moments // 2):
        # Products of two polynomials give two moments at a time.
        last, here = here, 2.0 * (rows @ here / half - here) - last
        moments[2 * k] = 2.0 * np.sum(last * last) - moments[0]
        moments[2 * k + 1] = 2.0 * np.sum(last * here) - moments[1]
    order, total = np.arange(n_moments), n_moments + 1
    jackson = (total - order) * np.cos(np.pi * order / total) + np.sin(np.pi * order / total) / np.tan(np.pi / total)
    damped = moments / moments[0] * jackson / total
    edges = np.linspace(0.0, np.sqrt(largest), n_bins + 1)
    angle = np.arccos(np.clip(edges**2 / half - 1.0, -1.0, 1.0))
    # The states beyond the first and the last edge, by the kernel's width, belong to the outer intervals.
    angle[0], angle[-1] = np.pi, 0.0
    below = (np.pi - angle) - 2.0 * np.sum(damped[1:, None] * np.sin(order[1:, None] * angle) / order[1:, None], axis=0)
    return edges, np.diff(below) / np.pi / np.diff(edges)
