"""Quenched disorder: differences between particles, and between bonds, of the same species.

It is drawn once per configuration and kept in `Configuration.disorder`, as fields with an entry for each particle.
Potentials read it through `diameter_factor` and `bond_factor`, which are None in a configuration without disorder.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, UInt32

from .configuration import Configuration
from .pair_list import PairIndex

# Normal numbers are truncated at this many standard deviations, lest a diameter be negative, and then rescaled to a
# standard deviation of 1.
CUT = 3.0
_INSIDE = math.erf(CUT / math.sqrt(2.0))
_DEVIATION = math.sqrt(1.0 - 2.0 * CUT * math.exp(-0.5 * CUT**2) / math.sqrt(2.0 * math.pi) / _INSIDE)
# The largest absolute value of such a number.
LARGEST = CUT / _DEVIATION
# Each field of `Configuration.disorder`, and the parameter of the system that it is drawn for.
FIELDS = {"diameter_factor": "polydispersity", "bond_seed": "heterogeneity", "bond_spread": "heterogeneity"}


def draw_disorder(
    key: PRNGKeyArray, n_particles: int, *, polydispersity: float, heterogeneity: float
) -> dict[str, Array]:
    """Draw the fields of a configuration.

    **Arguments:**

    - `key`: random key of the configuration.
    - `n_particles`: number of particles, `n`.
    - `polydispersity`: standard deviation of diameters relative to their mean; zero for none.
    - `heterogeneity`: standard deviation of bond energies relative to their mean; zero for none.

    **Returns:** arrays of shape `(n,)`. Those of a zero parameter are left out.

    - `diameter_factor`: `1 + polydispersity xi_i`, the factor of each particle's diameter.
    - `bond_seed`, `bond_spread`: a random 32-bit word, and `heterogeneity`, for each particle; see `bond_factor`.
    """
    diameters, bonds = jax.random.split(key)
    fields: dict[str, Array] = {}
    if polydispersity > 0.0:
        normal = jax.random.truncated_normal(diameters, -CUT, CUT, (n_particles,), dtype=float) / _DEVIATION
        fields["diameter_factor"] = 1.0 + polydispersity * normal
    if heterogeneity > 0.0:
        fields["bond_seed"] = jax.random.bits(bonds, (n_particles,), dtype=jnp.uint32)
        fields["bond_spread"] = jnp.full(n_particles, heterogeneity, dtype=float)
    return fields


def diameter_factor(configuration: Configuration) -> Float[Array, " n"] | None:
    """The factor of each particle's diameter, `1 + polydispersity xi_i`; None without polydispersity.

    **Returns:** shape `(n,)`, dimensionless.
    """
    return configuration.disorder.get("diameter_factor")


def bond_factor(configuration: Configuration, i: PairIndex, j: PairIndex) -> Float[Array, " p"] | None:
    """The factor of each bond's energy, `1 + heterogeneity xi_ij`; None without heterogeneity.

    `xi_ij = xi_ji` is a standard normal number, truncated at three standard deviations and rescaled to a standard
    deviation of 1. It is a function of the sum of the two particles' random words. So nothing is stored for pairs, and
    a bond that opens and closes again has the same energy as before.

    **Arguments:**

    - `configuration`: the particles and their disorder.
    - `i`, `j`: the particles of each bond.

    **Returns:** shape `(p,)`, dimensionless.
    """
    seed, spread = configuration.disorder.get("bond_seed"), configuration.disorder.get("bond_spread")
    if seed is None or spread is None:
        return None
    # Words are uniform and independent, and so are their sums for any two bonds, even for two that share a particle.
    # The hash is a permutation, which preserves this; it destroys the correlations of three and more bonds.
    return 1.0 + 0.5 * (spread[i] + spread[j]) * _normal(_hash(seed[i] + seed[j]))


def _hash(word: UInt32[Array, " p"]) -> UInt32[Array, " p"]:
    """Wellons' `lowbias32`: a permutation of all 32-bit words that leaves no visible structure."""
    word = (word ^ (word >> 16)) * np.uint32(0x7FEB352D)
    word = (word ^ (word >> 15)) * np.uint32(0x846CA68B)
    return word ^ (word >> 16)


def _normal(word: UInt32[Array, " p"]) -> Float[Array, " p"]:
    """Truncated normal numbers from uniform words, by the inverse of the distribution function."""
    # Symmetric about zero, between -1 and 1 without the ends.
    uniform = (word.astype(float) + 0.5) * 2.0**-31 - 1.0
    normal: Array = jax.lax.erf_inv(_INSIDE * uniform)
    return math.sqrt(2.0) / _DEVIATION * normal


def largest_disorder(n_particles: int, *, polydispersity: float) -> dict[str, Array]:
    """Fields of disorder in which each of `n_particles` particles is as large as any that can be drawn."""
    if polydispersity > 0.0:
        return {"diameter_factor": jnp.full(n_particles, 1.0 + polydispersity * LARGEST)}
    return {}
