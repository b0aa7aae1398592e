"""Quenched disorder: what distinguishes particles and bonds within a species, drawn once per configuration.

It lives in `Configuration.disorder` as fields with one entry for each particle. Interactions read it through
`diameter_factor` and `bond_factor`; without the fields these are None, and nothing is computed.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt32

from .configuration import Configuration

# Normal numbers are cut off at so many standard deviations, or some diameter would be negative, and then scaled to a
# standard deviation of 1 again.
CUT = 3.0
_INSIDE = math.erf(CUT / math.sqrt(2.0))
_DEVIATION = math.sqrt(1.0 - 2.0 * CUT * math.exp(-0.5 * CUT**2) / math.sqrt(2.0 * math.pi) / _INSIDE)
# No number is larger than this.
LARGEST = CUT / _DEVIATION
# Field by field, the parameter of the system that it comes from.
FIELDS = {"diameter_factor": "polydispersity", "bond_seed": "heterogeneity", "bond_spread": "heterogeneity"}


def draw_disorder(
    key: PRNGKeyArray, n_particles: int, *, polydispersity: float, heterogeneity: float
) -> dict[str, Array]:
    """The fields of one configuration; a zero leaves its fields out.

    - `diameter_factor`: `1 + polydispersity xi_i`, what the diameter of each particle is multiplied by.
    - `bond_seed`, `bond_spread`: random 32-bit words, and `heterogeneity` for each particle; see `bond_factor`.
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
    """What the diameter of each particle is multiplied by; None in a configuration without polydispersity."""
    return configuration.disorder.get("diameter_factor")


def bond_factor(configuration: Configuration, i: Int[Array, " p"], j: Int[Array, " p"]) -> Float[Array, " p"] | None:
    """What the energy of each bond is multiplied by, `1 + heterogeneity xi_ij`; None without heterogeneity.

    `xi_ij = xi_ji` is a standard normal number, cut off at three standard deviations and scaled to a standard deviation
    of 1. It is a function of the sum of the two particles' words, so that nothing is stored for pairs, and a bond that
    opens and closes again is the same bond.
    """
    seed, spread = configuration.disorder.get("bond_seed"), configuration.disorder.get("bond_spread")
    if seed is None or spread is None:
        return None
    # Words are uniform and independent, so their sums are uniform and independent for any two bonds, also for two that
    # share a particle; the hash, which permutes all words, keeps this. It breaks what relates three and more of them.
    return 1.0 + 0.5 * (spread[i] + spread[j]) * _normal(_hash(seed[i] + seed[j]))


def _hash(word: UInt32[Array, " p"]) -> UInt32[Array, " p"]:
    """A permutation of all 32-bit words without visible structure (Wellons' `lowbias32`)."""
    word = (word ^ (word >> 16)) * np.uint32(0x7FEB352D)
    word = (word ^ (word >> 15)) * np.uint32(0x846CA68B)
    return word ^ (word >> 16)


def _normal(word: UInt32[Array, " p"]) -> Float[Array, " p"]:
    """Uniform words as truncated normal numbers, by the inverse of the distribution function."""
    # Symmetric about zero, and never at the ends.
    uniform = (word.astype(float) + 0.5) * 2.0**-31 - 1.0
    return math.sqrt(2.0) / _DEVIATION * jax.lax.erf_inv(_INSIDE * uniform)


def largest_disorder(n_particles: int, *, polydispersity: float) -> dict[str, Array]:
    """Fields of particles as large as any that can be drawn."""
    if polydispersity > 0.0:
        return {"diameter_factor": jnp.full(n_particles, 1.0 + polydispersity * LARGEST)}
    return {}
