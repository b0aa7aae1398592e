"""Elastic constants: second derivatives of the energy density in the *linear* strain, prestress included.

These are the moduli of Zu & Goodrich (2024) and of jax-md's `athermal_moduli`. Under a pressure `p` they differ from
the "thermodynamic" ones; in two dimensions `K_th = K + p/2` and `G_isochoric = G - p/2`. See docs/physics.md.
"""

import itertools

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def strain_components(dimension: int) -> list[tuple[int, int]]:
    """Indices of the independent components of a symmetric strain: the diagonal, then the upper triangle."""
    diagonal = [(i, i) for i in range(dimension)]
    return diagonal + list(itertools.combinations(range(dimension), 2))


def strain_basis(dimension: int) -> Float[Array, "m d d"]:
    """A symmetric strain for each of the `strain_components`: 1 on the diagonal, or 1/2 in both places off it.

    There are `m = d (d + 1) / 2` of them: three in two dimensions, six in three.
    """
    basis = np.zeros((len(strain_components(dimension)), dimension, dimension))
    for strain, (i, j) in zip(basis, strain_components(dimension), strict=True):
        strain[i, j] += 0.5
        strain[j, i] += 0.5
    return jnp.asarray(basis)


def assemble_elastic_tensor(matrix: Float[Array, "m m"], dimension: int) -> Float[Array, "d d d d"]:
    """The tensor `C_ijkl` from the matrix of its components in the order of `strain_components`.

    **Arguments:**

    - `matrix`: second derivatives of the energy density along pairs of strains of `strain_basis`.
    - `dimension`: `d`.
    """
    index = np.empty((dimension, dimension), dtype=int)
    for k, (i, j) in enumerate(strain_components(dimension)):
        index[i, j] = index[j, i] = k
    return matrix[index[:, :, None, None], index[None, None, :, :]]


def bulk_modulus(elastic_tensor: Float[Array, "d d d d"]) -> Float[Array, ""]:
    """Bulk modulus `K = sum_ij C_iijj / d²`, in energy per volume."""
    dimension = elastic_tensor.shape[0]
    return jnp.einsum("iijj->", elastic_tensor) / dimension**2


def shear_modulus(elastic_tensor: Float[Array, "d d d d"]) -> Float[Array, ""]:
    """Shear modulus averaged over all orientations, in energy per volume.

    `G = (d sum_ij C_ijij - sum_ij C_iijj) / (d (d - 1)(d + 2))`, which is
    `G = (4 Cxyxy + Cxxxx + Cyyyy - 2 Cxxyy) / 8` in two dimensions and
    `G = (sum C_iiii - sum_{i<j} C_iijj + 3 sum_{i<j} C_ijij) / 15` in three.

    Source: Zu & Goodrich, Commun. Mater. 5 (2024), doi 10.1038/s43246-024-00583-4, Methods.
    """
    d = elastic_tensor.shape[0]
    trace = jnp.einsum("iijj->", elastic_tensor)
    contraction = jnp.einsum("ijij->", elastic_tensor)
    return (d * contraction - trace) / (d * (d - 1) * (d + 2))


def eigenmoduli(elastic_tensor: Float[Array, "d d d d"]) -> Float[Array, " m"]:
    """Eigenvalues of `C` as a linear map of symmetric strains, in ascending order, in energy per volume.

    A solid in a box that is free to deform is stable if all of them are positive. There are three in two dimensions and
    six in three.
    """
    d = elastic_tensor.shape[0]
    i, j = np.array(strain_components(d)).T
    # Mandel's notation: components off the diagonal occur twice in a symmetric strain.
    scale = jnp.where(i == j, 1.0, np.sqrt(2.0))
    eigenvalues: Array = jnp.linalg.eigvalsh(
        scale[:, None] * elastic_tensor[i[:, None], j[:, None], i, j] * scale[None, :]
    )
    return eigenvalues


def poisson_ratio(elastic_tensor: Float[Array, "d d d d"]) -> Float[Array, ""]:
    """Poisson's ratio `nu = (d K - 2 G) / (d (d - 1) K + 2 G)` of the orientation-averaged solid, dimensionless.

    In two dimensions `nu = (K - G) / (K + G)`, between -1 and 1 for a stable solid; in three
    `nu = (3 K - 2 G) / (2 (3 K + G))`, between -1 and 1/2.

    Source: Zu & Goodrich, Commun. Mater. 5 (2024), doi 10.1038/s43246-024-00583-4, Eq. 2.
    """
    d = elastic_tensor.shape[0]
    bulk, shear = bulk_modulus(elastic_tensor), shear_modulus(elastic_tensor)
    return (d * bulk - 2.0 * shear) / (d * (d - 1) * bulk + 2.0 * shear)
