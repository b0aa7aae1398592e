"""The model of a solid: interactions, system and preparation, whose arrays are the candidates for design variables."""

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ..components.protocol import AbstractProtocol
from ..components.system import AbstractSystem, System
from ..physics.configuration import Configuration, box_width
from ..physics.potential import AbstractPotential


class GivenPacking(AbstractSystem):
    """A packing that is given, in the place of a system: every start is this packing.

    **Attributes:**

    - `cell`: the box, lattice vectors as columns.
    - `packing`: the packing, whose arrays are data and not parameters.
    """

    n_particles: int = eqx.field(static=True)
    n_species: int = eqx.field(static=True)
    dimension: int = eqx.field(static=True)
    density: float = eqx.field(static=True)
    cell: Float[Array, "d d"]
    packing: Configuration

    def __init__(self, box: Float[Array, "d d"], packing: Configuration):
        self.cell, self.packing = box, jax.tree.map(np.asarray, packing)
        self.n_particles, self.dimension = packing.fractional.shape
        self.n_species = int(np.max(packing.species)) + 1
        self.density = float(self.n_particles / packing.volume)

    @property
    def box(self) -> Float[Array, "d d"]:
        """The box of the packing, which may carry a derivative."""
        return self.cell

    @property
    def largest_particles(self) -> Configuration:
        """The packing, which shows how far the potential reaches."""
        return self.packing

    def start(self, key: PRNGKeyArray, index: int | Int[Array, ""] = 0) -> Configuration:
        """The packing itself, whatever the key."""
        return self.packing


class Model(eqx.Module):
    """How a packing comes about: its interactions, its particles and box, and its preparation.

    Every floating-point JAX array in it can become a design variable. Its dotted path names it: `potential.diameter`,
    `system.density`.
    """

    potential: AbstractPotential
    system: AbstractSystem
    protocol: AbstractProtocol

    @property
    def cutoff_slack(self) -> Float[Array, ""]:
        """Width of the box minus twice the cutoff, which the minimum-image convention needs not to be negative."""
        return box_width(self.system.box) - 2.0 * self.potential.reach(self.system.largest_particles)

    def with_fixed_species(self) -> "Model":
        """The model with the same number of particles of each species in all packings, the closest to its composition.

        Where species are drawn, their numbers fluctuate, which changes means by O(1/N): a trained composition is
        validated without.
        """
        if not isinstance(self.system, System) or not self.system.draws_species:
            return self
        return Model(self.potential, self.system.with_fixed_species(), self.protocol)
