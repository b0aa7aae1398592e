"""The contribution of each bond to the bulk and to the shear modulus."""

import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .configuration import Configuration
from .elasticity import strain_basis
from .pair_list import PairIndex, PairList, PairMask
from .pair_potential import AbstractPairPotential
from .potential import AbstractPotential


class BondContributions(eqx.Module):
    """Contributions of single bonds to the moduli: `sum_ij K_ij = K`, `sum_ij G_ij = G`, in energy per volume.

    `K_ij = (1/V) [V'' (n.D)² + (V'/r) |D_perp|²]`. `D = e r_ij + u_i - u_j` is the change of the bond's vector under
    the strain `e`, with the non-affine displacement `u`; `n` is its direction, and `D_perp` the part of `D` that is
    perpendicular to it. Bulk modulus: `e = 1/d`. Shear modulus: the mean over a complete set of orthogonal strains
    without change of volume, `e : e = 1/2`, which does not depend on the axes. The contribution of a compressed bond,
    or of one beyond the inflection of its energy, can be negative.

    Source: Zu & Goodrich, Commun. Mater. 5 (2024), Fig. 1f and Methods.

    **Attributes:** arrays over the entries of the pair list, `p` of them.

    - `i`, `j`: the particles of each bond.
    - `mask`: which entries are bonds, that is, pairs that interact. All others contribute zero.
    - `distance`: length `r_ij` of each pair, in units of length; zero for padding.
    - `bulk`: `K_ij`.
    - `shear`: `G_ij`.
    """

    i: PairIndex
    j: PairIndex
    mask: PairMask
    distance: Float[Array, " p"]
    bulk: Float[Array, " p"]
    shear: Float[Array, " p"]


def bond_contributions(
    potential: AbstractPotential,
    configuration: Configuration,
    neighbors: PairList,
    response: Float[Array, "m n d"],
) -> BondContributions:
    """Compute the contribution of each bond to the moduli.

    **Arguments:**

    - `potential`: a sum over pairs; a `ValueError` is raised for any other.
    - `configuration`, `neighbors`: a minimum of its energy.
    - `response`: non-affine displacement under each strain of `strain_basis`, in units of length.
    """
    if not isinstance(potential, AbstractPairPotential):
        raise ValueError(
            f"bond_contributions: {type(potential).__name__} is no sum over pairs, so that bonds have no share of the "
            "moduli; possible: potentials that derive from AbstractPairPotential"
        )
    d = configuration.dimension
    bonds = potential.bond_stiffness(configuration, neighbors)
    stretch = bonds.affine_stretch(strain_basis(d)) + response[:, bonds.i] - response[:, bonds.j]

    def contribution(strains: np.ndarray) -> Float[Array, " p"]:
        combined = jnp.einsum("sm,mpa->spa", strains, stretch)
        along = jnp.sum(jnp.einsum("spa,pa->sp", combined, bonds.direction) ** 2, axis=0)
        total = jnp.sum(combined**2, axis=(0, 2))
        return ((bonds.longitudinal - bonds.transverse) * along + bonds.transverse * total) / configuration.volume

    return BondContributions(
        i=bonds.i,
        j=bonds.j,
        mask=bonds.interacts,
        distance=jnp.where(bonds.mask, bonds.distance, 0.0),
        bulk=contribution(_bulk_strains(d)),
        shear=contribution(_shear_strains(d)),
    )


def _bulk_strains(d: int) -> np.ndarray:
    """The strain `1/d` by its components in `strain_basis`, shape `(1, m)`."""
    return np.concatenate([np.full(d, 1.0 / d), np.zeros(d * (d - 1) // 2)])[None]


def _shear_strains(d: int) -> np.ndarray:
    """Strains without change of volume by their components in `strain_basis`, scaled to a sum that is the mean.

    The diagonal strains are not independent. The sum of their squares is that of an orthogonal set, and treats all axes
    alike.
    """
    off_diagonal = d * (d - 1) // 2
    number = d - 1 + off_diagonal
    diagonal = math.sqrt(0.5) * (np.eye(d) - 1.0 / d)
    strains = np.block(
        [
            [diagonal, np.zeros((d, off_diagonal))],
            [np.zeros((off_diagonal, d)), np.eye(off_diagonal)],
        ]
    )
    return strains / math.sqrt(number)
