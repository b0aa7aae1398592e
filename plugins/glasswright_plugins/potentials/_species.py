import abc

import equinox as eqx
import glasswright as gw
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._parameters import pair_index


class AbstractSpeciesPotential(gw.AbstractPairPotential):
    """Pairs whose energy depends on the mean diameter of their particles, and on an energy of each pair of species.

    Both kinds of quenched disorder enter here: a particle's own diameter, and a bond's own energy.

    **Attributes:**

    - `diameter`: of each species, in units of length.
    - `binding_energy`: of each pair of species, packed, in units of energy.
    """

    diameter: eqx.AbstractVar[Float[Array, " s"]]
    binding_energy: eqx.AbstractVar[Float[Array, " t"]]

    @abc.abstractmethod
    def range_of(self, diameter: Float[Array, "*p"]) -> Float[Array, "*p"]:
        """Distance beyond which pairs of this mean diameter do not interact."""

    @property
    def cutoff(self) -> Float[Array, ""]:
        return self.range_of(jnp.max(self.diameter))

    def reach(self, configuration):
        """The cutoff of the largest particles."""
        factor = gw.diameter_factor(configuration)
        return self.cutoff if factor is None else self.range_of(jnp.max(self.diameter[configuration.species] * factor))

    def knows_disorder(self, field):
        """Polydispersity and heterogeneity."""
        return field in ("diameter_factor", "bond_seed", "bond_spread")

    def diameter_and_energy(self, configuration, i, j) -> tuple[Float[Array, " p"], Float[Array, " p"]]:
        """Mean diameter and energy of each pair."""
        a, b = configuration.species[i], configuration.species[j]
        energy = self.binding_energy[pair_index(a, b, self.diameter.shape[0])]
        diameter, bond = gw.diameter_factor(configuration), gw.bond_factor(configuration, i, j)
        energy = energy if bond is None else energy * bond
        if diameter is None:
            return 0.5 * (self.diameter[a] + self.diameter[b]), energy
        own = self.diameter[configuration.species] * diameter
        return 0.5 * (own[i] + own[j]), energy
