"""How much each bond carries of the bulk and of the shear modulus."""

import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .configuration import Configuration
from .elasticity import strain_basis
from .pair_list import PairList
from .pair_potential import AbstractPairPotential
from .potential import AbstractPotential


class BondContributions(eqx.Module):
    """Shares of single bonds in the moduli: `sum_ij K_ij = K`, `sum_ij G_ij = G`, energy per volume.

    `K_ij = (1/V) [V'' (n.D)² + (V'/r) |D_perp|²]` with `D = e r_ij + u_i - u_j`: what the bond's length and direction
    change by under the strain `e`, non-affine motion `u` included. Bulk: `e = 1/d`. Shear: the mean over a complete set
    of orthogonal strains without change of volume, `e : e = 1/2`, which does not depend on the axes. A bond under
    tension or beyond the inflection of its energy can contribute a negative share.

    Source: Zu & Goodrich, Commun. Mater. 5 (2024), Fig. 1f and Methods.

    **Attributes:** arrays over the entries of the pair list, `p` of them.

    - `i`, `j`: the particles of each bond.
    - `mask`: which entries are bonds: pairs that interact. All others contribute zero.
    - `distance`: length `r_ij` of each bond, in units of length.
    - `bulk`: `K_ij`.
    - `shear`: `G_ij`.
    """

    i: Int[Array, " p"]
    j: Int[Array, " p"]
    mask: Bool[Array, " p"]
    distance: Float[Array, " p"]
    bulk: Float[Array, " p"]
    shear: Float[Array, " p"]


def bond_contributions(
    potential: AbstractPotential,
    configuration: Configuration,
    neighbors: PairList,
    response: Float[Array, "m n d"],
) -> BondContributions:
    """The contribution of each bond; `response` is the non-affine displacement under each strain of `strain_basis`."""
    if not isinstance(potential, AbstractPairPotential):
        raise ValueError(
            f"bond_contributions: {type(potential).__name__} is no sum over pairs, so that bonds have no share of the "
            "moduli; possible: potentials that derive from AbstractPairPotential"
        )
    d = configuration.dimension
    i, j, mask, r, n, slope, curvature = potential._bond_stiffness(configuration, neighbors)
    stretch = jnp.einsum("mab,pb,p->mpa", strain_basis(d), n, r) + response[:, i] - response[:, j]

    def contribution(strains):
        combined = jnp.einsum("sm,mpa->spa", strains, stretch)
        along = jnp.sum(jnp.einsum("spa,pa->sp", combined, n) ** 2, axis=0)
        total = jnp.sum(combined**2, axis=(0, 2))
        return ((curvature - slope) * along + slope * total) / configuration.volume

    return BondContributions(
        i=i,
        j=j,
        mask=mask & ((slope != 0.0) | (curvature != 0.0)),
        distance=jnp.where(mask, r, 0.0),
        bulk=contribution(_bulk_strains(d)),
        shear=contribution(_shear_strains(d)),
    )


def _bulk_strains(d: int) -> np.ndarray:
    """The strain `1/d` in terms of `strain_basis`."""
    return np.concatenate([np.full(d, 1.0 / d), np.zeros(d * (d - 1) // 2)])[None]


def _shear_strains(d: int) -> np.ndarray:
    """Strains without change of volume in terms of `strain_basis`: the sum of their energies is the mean over shears.

    The diagonal ones are not independent; their squares add up as those of an orthogonal set, and no axis is special.
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
