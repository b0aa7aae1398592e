"""A few numbers that files of packings carry: energy, stress, and the sizes of the particles."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._jax import fast_jit
from .configuration import Configuration
from .disorder import diameter_factor
from .pair_list import PairList, build_pair_list
from .potential import AbstractPotential


def energy_and_stress(
    potential: AbstractPotential, configuration: Configuration
) -> tuple[float, Float[np.ndarray, "d d"]]:
    """The potential energy and the stress `(1/V) dU/de` of a packing, positive under tension; on the host."""
    neighbors = build_pair_list(configuration, potential.reach(configuration))
    energy, stress = _energy_and_stress(potential, configuration, neighbors)
    return float(energy), np.asarray(stress)


@fast_jit
def _energy_and_stress(
    potential: AbstractPotential, configuration: Configuration, neighbors: PairList
) -> tuple[Float[Array, ""], Float[Array, "d d"]]:
    zero = jnp.zeros((configuration.dimension, configuration.dimension))
    energy, slope = jax.value_and_grad(lambda e: potential.energy(configuration.strained(e), neighbors))(zero)
    # The energy does not change with the orientation: what is left of the antisymmetric part is rounding.
    return energy, 0.5 * (slope + slope.T) / configuration.volume


def particle_diameters(potential: AbstractPotential, configuration: Configuration) -> Float[np.ndarray, " n"] | None:
    """The diameter of each particle, disorder included, in units of length; None if particles have no size."""
    diameters = potential.species_diameters
    species = np.asarray(configuration.species)
    if diameters is None or np.max(species) >= len(diameters):
        return None
    own: np.ndarray = np.asarray(diameters)[species]
    factor = diameter_factor(configuration)
    return own if factor is None else own * np.asarray(factor)
