"""The model of a solid: interactions, system and preparation, whose arrays are the candidates for design variables."""

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ..components.protocol import AbstractProtocol
from ..physics.configuration import Configuration, box_width
from ..physics.potential import AbstractPotential
from ..physics.system import System


class GivenPacking(eqx.Module):
    """A packing that is given, in the place of a system: every start is this packing.

    **Attributes:**

    - `box`: lattice vectors as columns.
    - `largest_particles`: the packing, which shows how far the potential reaches; its arrays are data, not parameters.
    """

    box: Float[Array, "d d"]
    largest_particles: Configuration = eqx.field(converter=lambda packing: jax.tree.map(np.asarray, packing))

    @property
    def n_particles(self) -> int:
        """Number of particles."""
        return self.largest_particles.n_particles

    @property
    def n_species(self) -> int:
        """Number of species."""
        return int(np.max(self.largest_particles.species)) + 1

    @property
    def dimension(self) -> int:
        """Dimension of space."""
        return self.largest_particles.dimension

    def start(self, key: PRNGKeyArray) -> Configuration:
        """The packing itself, whatever the key."""
        return self.largest_particles


class Model(eqx.Module):
    """How a packing comes about: its interactions, its particles and box, and its preparation.

    Every floating-point JAX array in it can become a design variable. Its dotted path names it: `potential.diameter`,
    `system.density`.
    """

    potential: AbstractPotential
    system: System | GivenPacking
    protocol: AbstractProtocol

    @property
    def cutoff_slack(self) -> Float[Array, ""]:
        """Width of the box minus twice the cutoff, which the minimum-image convention needs not to be negative."""
        return box_width(self.system.box) - 2.0 * self.potential.reach(self.system.largest_particles)
