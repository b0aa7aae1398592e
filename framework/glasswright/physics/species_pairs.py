"""The interaction of each pair of species as a function of the distance alone."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._jax import fast_jit
from .configuration import Configuration
from .pair_potential import AbstractPairPotential

# Energy, `V'` and `V''` of each pair of species (rows) at distances of its own (columns).
PairFunctions = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]


def pair_functions(
    potential: AbstractPairPotential, configuration: Configuration, a: np.ndarray, b: np.ndarray
) -> PairFunctions:
    """A function of distances that returns the energy, `V'` and `V''` of pairs of species.

    **Arguments:**

    - `potential`: a sum over pairs without disorder, whose interactions depend on species alone.
    - `configuration`: for the box.
    - `a`, `b`: the species of each pair; the last of `b` is the last species.
    """
    n_species, d = int(b[-1]) + 1, configuration.dimension
    particles = Configuration(jnp.zeros((n_species, d)), configuration.box, jnp.arange(n_species))

    def evaluate(distances: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        energy, slope, curvature = _derivatives(potential, particles, np.asarray(a), np.asarray(b), distances)
        return np.asarray(energy), np.asarray(slope), np.asarray(curvature)

    return evaluate


@fast_jit
def _derivatives(
    potential: AbstractPairPotential,
    particles: Configuration,
    a: Int[Array, " t"],
    b: Int[Array, " t"],
    distances: Float[Array, "t m"],
) -> tuple[Float[Array, "t m"], Float[Array, "t m"], Float[Array, "t m"]]:
    """Energy, `V'` and `V''`, of the pairs of one particle of each species."""
    parameters = potential.pair_parameters(particles, a, b)
    first = jax.grad(potential.pair_energy)
    functions = (potential.pair_energy, first, jax.grad(first))
    each = [jax.vmap(jax.vmap(function, (0, None)))(distances, parameters) for function in functions]
    return each[0], each[1], each[2]
