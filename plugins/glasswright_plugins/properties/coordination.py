"""The mean number of neighbours."""

import glasswright as gw
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._neighborhood import check_neighborhood, weighted_pairs


class Coordination(gw.AbstractProperty):
    """Mean number of neighbours of a particle, those at the edge counted by a smooth weight.

    **Arguments:**

    - `distance`: up to which particles are neighbours, in units of length; left out, the largest diameter.
    - `width`: over which share of it the weight falls from 1 to 0; zero is a hard cut, without derivative.
    """

    distance: float | None = None
    width: float = 0.1

    requires = gw.Equilibrium
    units = "dimensionless"
    symbol = "z"
    source = "definition"

    def __check_init__(self) -> None:
        check_neighborhood("coordination", self.distance, self.width)

    def measure(self, state: gw.Equilibrium) -> Float[Array, ""]:
        *_, weight = weighted_pairs(state, self.distance, self.width)
        return 2.0 * jnp.sum(weight) / state.configuration.n_particles
