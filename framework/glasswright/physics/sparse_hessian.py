"""The factored Hessian of many particles: a sparse matrix, whose factor stays on the host."""

import collections
import dataclasses
import functools
import hashlib
import threading
import weakref
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
import scipy.sparse
from jaxtyping import Array, Bool, Float, Int, UInt

from .._errors import RequestError
from .._jax import fast_jit
from .configuration import Configuration
from .elimination import Elimination, eliminate_by_dissection
from .hessian import ZERO_MODE, AbstractFactoredHessian
from .host_solve import Matrix, solve_on_host
from .pair_list import PairIndex, PairList
from .pair_potential import AbstractPairPotential
from .potential import AbstractPotential
from .sparse_factor import SparseFactor, factor_blocks

AnyArray = Array | np.ndarray


class SparseHessian(AbstractFactoredHessian):
    """The factored Hessian as a sparse matrix: the Cholesky factor of `H + P`, along a nested dissection.

    `P` is diagonal and pins enough coordinates to make `H` positive definite: all of a rattler, those of one particle
    for the translations, and one for each further zero mode. No force has a component along any of these modes.
    So pinned coordinates do not move, and the choice of `P` changes a solution by zero modes only, which are removed.

    The factor is no array: it stays on the host, under a name, and `solve` calls the host. The matrix is here, in
    memory proportional to the number of pairs. A factor that is not on the host, because the matrix came
    from another process, is made of it again. So `solve` is a function of the arrays alone.

    **Attributes:**

    - `name`: a hash of the matrix, under which the host keeps the factor.
    - `i`, `j`: the particles of each pair.
    - `stiffness`: `K_ij`, minus the block of each pair in the Hessian; zero for pairs that do not interact.
    - `pin`: the diagonal of `P`.
    - `position`: of each particle along the lattice vectors, where the packing is cut to be factored.
    - `free`: orthonormal zero modes besides translations and rattlers, `k` of them.
    - `rattler`: which particles interact with no other.
    - `is_stable`: whether the Hessian is positive definite apart from zero modes.
    """

    name: UInt[AnyArray, ""]
    i: PairIndex
    j: PairIndex
    stiffness: Float[AnyArray, "p d d"]
    pin: Float[AnyArray, "n d"]
    position: Float[AnyArray, "n d"]
    free: Float[AnyArray, "k n d"]
    rattler: Bool[AnyArray, " n"]
    is_stable: Bool[AnyArray, ""]

    def solve(self, force: Float[Array, "*batch n d"]) -> Float[Array, "*batch n d"]:
        """`H^-1` times forces, without their components along zero modes."""
        arrays = (self.name, self.i, self.j, self.stiffness, self.pin, self.position, self.rattler, self.free)
        matrix = tuple(jax.lax.stop_gradient(jnp.asarray(x)) for x in arrays)
        right = force.reshape(-1, *force.shape[-2:])
        return solve_on_host(_solve, _solve_anew, _pinned_product, matrix, right).reshape(force.shape)


@dataclasses.dataclass(frozen=True)
class PinnedFactor:
    """What the host keeps of a factored Hessian: the factor, None if it is unstable, and the zero modes."""

    factor: SparseFactor | None
    rattler: Bool[np.ndarray, " n"]
    free: Float[np.ndarray, "k n d"]

    def solve(self, force: Float[np.ndarray, "b n d"]) -> Float[np.ndarray, "b n d"]:
        """Displacements under forces, both without their components along zero modes."""
        if self.factor is None:
            return np.full(force.shape, np.nan)
        return self._without_zero_modes(self.factor.solve(self._without_zero_modes(force)))

    def _without_zero_modes(self, vector: Float[np.ndarray, "b n d"]) -> Float[np.ndarray, "b n d"]:
        """Vectors without uniform translations, displacements of rattlers, and other zero modes."""
        held = ~self.rattler[None, :, None]
        mean = np.sum(vector * held, axis=1, keepdims=True) / max(np.sum(held), 1)
        vector = (vector - mean) * held
        shares = np.tensordot(vector, self.free, axes=((1, 2), (1, 2)))
        without: np.ndarray = vector - np.tensordot(shares, self.free, axes=1)
        return without


def factor_sparse_hessian(
    potential: AbstractPotential, configuration: Configuration, neighbors: PairList, stiffness: float = 1.0
) -> SparseHessian:
    """Factor the Hessian of a configuration. Zero modes other than translations and rattlers make it unstable.

    Not for use under `jit`.

    **Arguments:** as those of `factor_hessian`.

    **Returns:** the factored Hessian; check its `is_stable`.
    """
    matrix = SparseMatrix(potential, configuration, neighbors, stiffness)
    pin = matrix.pin.copy()
    # Of the particles, the one that is held most firmly.
    pin[int(np.argmax(np.where(matrix.rattler, -np.inf, np.trace(matrix.diagonal, axis1=1, axis2=2))))] = stiffness
    return _hessian(matrix, pin, np.zeros((0, *pin.shape)))


def factor_sparse_pinning_zero_modes(
    potential: AbstractPotential, configuration: Configuration, neighbors: PairList, stiffness: float = 1.0
) -> tuple[SparseHessian, int]:
    """Factor the Hessian of a configuration with clusters that float free of all other particles.

    As `factor_pinning_zero_modes`, but the zero modes are found by inverse iteration instead of an eigendecomposition.
    """
    matrix = SparseMatrix(potential, configuration, neighbors, stiffness)
    zero_modes = matrix.zero_modes()
    n, d = matrix.pin.shape
    if zero_modes is None:
        # A mode that lowers the energy.
        return _hessian(matrix, matrix.pin - np.inf, np.zeros((0, n, d))), 0
    held = np.where(matrix.rattler, 0.0, 1.0 / np.sqrt(max(np.sum(~matrix.rattler), 1)))
    translations = np.einsum("n,ab->anb", held, np.eye(d)).reshape(d, n * d)
    others = zero_modes - (zero_modes @ translations.T) @ translations
    _, size, free = scipy.linalg.svd(others, full_matrices=False)
    free = free[size > 0.5]
    # Coordinates in which no combination of zero modes is small.
    every = np.concatenate([translations, free])
    chosen = scipy.linalg.qr(every, mode="r", pivoting=True)[1][: len(every)]
    pin = matrix.pin.copy()
    pin.reshape(-1)[chosen] = stiffness
    return _hessian(matrix, pin, free.reshape(-1, n, d)), len(free)


def softest_mode(
    potential: AbstractPotential, configuration: Configuration, neighbors: PairList, stiffness: float = 1.0
) -> Float[np.ndarray, "n d"]:
    """A normalised displacement of nearly the lowest stiffness, which is negative where the Hessian has such modes.

    By inverse iteration, on the Hessian with the least uniform stiffness added that makes it positive definite.
    """
    matrix = SparseMatrix(potential, configuration, neighbors, stiffness)
    factor, _ = matrix.shifted_factor(1e-6 * matrix.scale)
    _, vectors = matrix.inverse_iteration(factor, n_vectors=matrix.pin.shape[1] + 6, iterations=12)
    mode: np.ndarray = vectors[0].reshape(matrix.pin.shape)
    return mode


class SparseMatrix:
    """The Hessian of a configuration as blocks of its bonds, with rattlers pinned, on the host.

    - `i`, `j`, `blocks`: all listed pairs and the stiffness matrix of each.
    - `diagonal`: the block of each particle.
    - `rattler`: which particles interact with no other; `pin`: their pins.
    """

    def __init__(
        self,
        potential: AbstractPotential,
        configuration: Configuration,
        neighbors: PairList,
        stiffness: float = 1.0,
    ):
        if not isinstance(potential, AbstractPairPotential):
            raise RequestError(
                f"hessian=sparse: {type(potential).__name__} is no sum over pairs; possible: dense, matrix_free"
            )
        self.i, self.j, self.blocks = (np.asarray(x) for x in _blocks(potential, configuration, neighbors))
        self.diagonal = _diagonal(self.i, self.j, self.blocks, configuration.n_particles)
        own = np.diagonal(self.diagonal, axis1=1, axis2=2)
        self.rattler = np.max(np.abs(own), axis=1) < 1e-14 * stiffness
        self.pin = np.where(self.rattler[:, None], stiffness, 0.0) * np.ones(own.shape)
        box = np.asarray(configuration.box)
        fractional = np.asarray(configuration.fractional)
        # The width of the box along each lattice vector.
        self.position = (fractional - np.floor(fractional)) / np.linalg.norm(np.linalg.inv(box), axis=1)

    @property
    def scale(self) -> float:
        """An upper bound of the largest eigenvalue, within a factor of two or so: the sum of a row of blocks."""
        return 2.0 * float(np.max(np.linalg.norm(self.diagonal, axis=(1, 2))))

    def factor(self, pin: Float[np.ndarray, "n d"]) -> SparseFactor | None:
        """The factor with this pinning; None if the matrix is not positive definite."""
        return _factor(self.i, self.j, self.blocks, pin, self.position)

    @functools.cached_property
    def rows(self) -> scipy.sparse.csr_array:
        """The Hessian, with rattlers pinned, in compressed rows."""
        n, d = self.pin.shape
        bonds = np.flatnonzero(np.any(self.blocks != 0.0, axis=(1, 2)))
        every, i, j = np.arange(n), self.i[bonds], self.j[bonds]
        blocks = np.concatenate([self.diagonal + self.pin[:, :, None] * np.eye(d), *(2 * [-self.blocks[bonds]])])
        row, column = np.concatenate([every, i, j]), np.concatenate([every, j, i])
        entries = np.broadcast_arrays(
            (row[:, None] * d + np.arange(d))[:, :, None], (column[:, None] * d + np.arange(d))[:, None, :]
        )
        rows, columns = (entry.reshape(-1) for entry in entries)
        return scipy.sparse.coo_array((blocks.reshape(-1), (rows, columns)), shape=(n * d, n * d)).tocsr()

    def shifted_factor(self, shift: float) -> tuple[SparseFactor, float]:
        """The factor of the Hessian plus a uniform stiffness: this one, or as much more as makes it definite."""
        factor = self.factor(self.pin + shift)
        while factor is None:
            shift *= 4.0
            factor = self.factor(self.pin + shift)
        return factor, shift

    def inverse_iteration(
        self, factor: SparseFactor, n_vectors: int, iterations: int
    ) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, "k nd"]]:
        """The eigenvalues and eigenvectors nearest to minus the shift that `factor` contains, in ascending order."""
        n, d = self.pin.shape
        vectors = np.random.default_rng(0).normal(size=(min(n_vectors, n * d), n, d))
        for _ in range(iterations):
            flat = np.linalg.qr(factor.solve(vectors).reshape(len(vectors), -1).T)[0].T
            vectors = flat.reshape(vectors.shape)
        values, rotation = np.linalg.eigh(flat @ (self.rows @ flat.T))
        return values, rotation.T @ flat

    def zero_modes(self) -> Float[np.ndarray, "k nd"] | None:
        """Orthonormal zero modes, translations among them, rattlers not; None if there are unstable modes."""
        shift = ZERO_MODE * self.scale
        factor = self.factor(self.pin + shift)
        if factor is None:
            return None
        n_vectors = 2 * self.pin.shape[1] + 6
        while True:
            # Zero modes are nearer to zero than the softest vibration by five orders of magnitude.
            values, vectors = self.inverse_iteration(factor, n_vectors, iterations=6)
            zero = np.abs(values) < shift
            if not np.all(zero) or len(zero) == self.pin.size:
                modes: np.ndarray = vectors[zero]
                return modes
            n_vectors *= 2


@fast_jit
def _blocks(
    potential: AbstractPairPotential, configuration: Configuration, neighbors: PairList
) -> tuple[PairIndex, PairIndex, Float[Array, "p d d"]]:
    """The particles and the stiffness matrix of each pair."""
    bonds = potential.bond_stiffness(configuration, neighbors)
    outer = bonds.direction[:, :, None] * bonds.direction[:, None, :]
    blocks = (bonds.longitudinal - bonds.transverse)[:, None, None] * outer
    blocks = blocks + bonds.transverse[:, None, None] * jnp.eye(configuration.dimension)[None]
    return bonds.i, bonds.j, blocks


def _diagonal(
    i: Int[np.ndarray, " p"], j: Int[np.ndarray, " p"], blocks: Float[np.ndarray, "p d d"], n: int
) -> Float[np.ndarray, "n d d"]:
    """The sum of the blocks of each particle."""
    d = blocks.shape[1]
    result = np.empty((n, d, d))
    for a in range(d):
        for b in range(d):
            result[:, a, b] = np.bincount(i, blocks[:, a, b], n) + np.bincount(j, blocks[:, a, b], n)
    return result


def _hessian(matrix: SparseMatrix, pin: Float[np.ndarray, "n d"], free: Float[np.ndarray, "k n d"]) -> SparseHessian:
    """The factored Hessian with this pinning, whose factor the host keeps for as long as it lives."""
    factor = matrix.factor(pin)
    stable = factor is not None and factor.smallest_pivot > ZERO_MODE * factor.largest_pivot
    digest = hashlib.blake2b(digest_size=8)
    for array in (matrix.i, matrix.j, matrix.blocks, pin):
        digest.update(np.ascontiguousarray(array).data)
    name = np.frombuffer(digest.digest(), dtype=np.uint64).reshape(())
    _keep(int(name), name, PinnedFactor(factor, matrix.rattler, free))
    # NumPy's, unknown to type checkers (`PairIndex`).
    pairs = cast(dict[str, Array], {"i": matrix.i, "j": matrix.j})
    return SparseHessian(
        **pairs,
        name=name,
        stiffness=matrix.blocks,
        pin=pin,
        position=matrix.position,
        free=free,
        rattler=matrix.rattler,
        is_stable=np.asarray(stable),
    )


def _factor(
    i: Int[np.ndarray, " p"],
    j: Int[np.ndarray, " p"],
    blocks: Float[np.ndarray, "p d d"],
    pin: Float[np.ndarray, "n d"],
    position: Float[np.ndarray, "n d"],
) -> SparseFactor | None:
    """The factor of a pinned matrix; None if it is not positive definite."""
    if not (np.all(np.isfinite(blocks)) and np.all(np.isfinite(pin))):
        return None
    interacts = np.any(blocks != 0.0, axis=(1, 2))
    i, j, blocks = i[interacts], j[interacts], blocks[interacts]
    diagonal = _diagonal(i, j, blocks, len(pin))
    np.einsum("naa->na", diagonal)[...] += pin
    return factor_blocks(_elimination(position, i, j), diagonal, -blocks)


# The eliminations used last: those of the packings that are followed.
_eliminations: collections.deque[Elimination] = collections.deque(maxlen=4)


def _elimination(position: Float[np.ndarray, "n d"], i: Int[np.ndarray, " p"], j: Int[np.ndarray, " p"]) -> Elimination:
    """An elimination for these bonds: one of the last, or a new one."""
    for last in list(_eliminations):
        if len(last.order) == len(position) and last.serves(i, j):
            return last
    elimination = eliminate_by_dissection(position, i, j)
    _eliminations.append(elimination)
    return elimination


def _pinned_product(matrix: Matrix, vector: Float[Array, "b n d"]) -> Float[Array, "b n d"]:
    """The pinned matrix times vectors."""
    _, i, j, stiffness, pin, *_ = cast(tuple[Array, ...], matrix)
    force = jnp.einsum("pab,kpb->kpa", stiffness, vector[:, i] - vector[:, j])
    result: Array = pin[None] * vector + jnp.zeros_like(vector).at[:, i].add(force).at[:, j].add(-force)
    return result


# Factors by name, and how many Hessians of that name there are.
_factors: dict[int, PinnedFactor] = {}
_owners: collections.Counter[int] = collections.Counter()
# The factor that was last made of a Hessian from elsewhere.
_visitor: dict[int, PinnedFactor] = {}
_lock = threading.Lock()


def _keep(name: int, owner: np.ndarray, factor: PinnedFactor) -> None:
    """Keep a factor for as long as its owner lives: the array with the name."""
    with _lock:
        _factors[name] = factor
        _owners[name] += 1
    weakref.finalize(owner, _release, name).atexit = False


def _release(name: int) -> None:
    with _lock:
        _owners[name] -= 1
        if not _owners[name]:
            del _owners[name], _factors[name]


def _solve(name: np.ndarray, force: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Solutions by a factor that the host has, and whether it has it."""
    factor = _factors.get(int(name)) or _visitor.get(int(name))
    return np.full(force.shape, np.nan) if factor is None else factor.solve(force), np.asarray(factor is not None)


def _solve_anew(name: np.ndarray, *arrays: np.ndarray) -> tuple[np.ndarray]:
    """Solutions by a factor that is made for the purpose, and kept until the next one is."""
    i, j, stiffness, pin, position, rattler, free, force = (np.array(x) for x in arrays)
    factor = PinnedFactor(_factor(i, j, stiffness, pin, position), rattler, free)
    _visitor.clear()
    _visitor[int(name)] = factor
    return (factor.solve(force),)
