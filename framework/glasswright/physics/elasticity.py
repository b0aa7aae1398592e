"""Elastic constants: second derivatives of the energy density in the *linear* strain, prestress included.

These are the paper's moduli and those of jax-md's `athermal_moduli`. Under a pressure `p` they differ from the
"thermodynamic" ones (two dimensions: `K_th = K + p/2`, `G_isochoric = G - p/2`); see docs/physics.md.
"""

import itertools

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def strain_components(dimension: int) -> list[tuple[int, int]]:
    """Independent components of a symmetric strain: the diagonal, then the upper triangle."""
    diagonal = [(i, i) for i in range(dimension)]
    return diagonal + list(itertools.combinations(range(dimension), 2))


def strain_basis(dimension: int) -> Float[Array, "m d d"]:
    """Unit symmetric strains, one for each independent component: three in two dimensions, six in three."""
    basis = np.zeros((len(strain_components(dimension)), dimension, dimension))
    for strain, (i, j) in zip(basis, strain_components(dimension), strict=True):
        strain[i, j] += 0.5
        strain[j, i] += 0.5
    return jnp.asarray(basis)


def assemble_elastic_tensor(matrix: Float[Array, "m m"], dimension: int) -> Float[Array, "d d d d"]:
    """The tensor `C_ijkl` from its independent components in the order of `strain_components`."""
    index = np.empty((dimension, dimension), dtype=int)
    for k, (i, j) in enumerate(strain_components(dimension)):
        index[i, j] = index[j, i] = k
    return matrix[index[:, :, None, None], index[None, None, :, :]]


def bulk_modulus(elastic_tensor: Float[Array, "d d d d"]) -> Float[Array, ""]:
    """`K = sum_ij C_iijj / d²`, energy per volume."""
    dimension = elastic_tensor.shape[0]
    return jnp.einsum("iijj->", elastic_tensor) / dimension**2


def shear_modulus(elastic_tensor: Float[Array, "d d d d"]) -> Float[Array, ""]:
    """Shear modulus averaged over all orientations, energy per volume.

    2D: `G = (4 Cxyxy + Cxxxx + Cyyyy - 2 Cxxyy) / 8`;
    3D: `G = (sum C_iiii - sum_{i<j} C_iijj + 3 sum_{i<j} C_ijij) / 15`.
    Both are `(d sum_ij C_ijij - sum_ij C_iijj) / (d (d - 1)(d + 2))` for the symmetric tensor.
    """
    d = elastic_tensor.shape[0]
    trace = jnp.einsum("iijj->", elastic_tensor)
    contraction = jnp.einsum("ijij->", elastic_tensor)
    return (d * contraction - trace) / (d * (d - 1) * (d + 2))


def eigenmoduli(elastic_tensor: Float[Array, "d d d d"]) -> Float[Array, " m"]:
    """Principal elasticities in ascending order, energy per volume: eigenvalues of `C` as a map of symmetric strains.

    A solid in a box that is free to deform is stable if all are positive. Two dimensions have three, three have six.
    """
    d = elastic_tensor.shape[0]
    i, j = np.array(strain_components(d)).T
    # Mandel's scaling: every component of a symmetric strain counts as often as it stands in the matrix.
    scale = jnp.where(i == j, 1.0, np.sqrt(2.0))
    return jnp.linalg.eigvalsh(scale[:, None] * elastic_tensor[i[:, None], j[:, None], i, j] * scale)


def poisson_ratio(elastic_tensor: Float[Array, "d d d d"]) -> Float[Array, ""]:
    """`nu = (d K - 2 G) / (d (d - 1) K + 2 G)`, dimensionless: at most 1 in two dimensions, 1/2 in three; at least -1.

    2D: `(K - G) / (K + G)`; 3D: `(3 K - 2 G) / (2 (3 K + G))`.
    """
    d = elastic_tensor.shape[0]
    bulk, shear = bulk_modulus(elastic_tensor), shear_modulus(elastic_tensor)
    return (d * bulk - 2.0 * shear) / (d * (d - 1) * bulk + 2.0 * shear)
