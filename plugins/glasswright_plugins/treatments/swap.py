"""Monte Carlo with exchanges of particles' species."""

from typing import NamedTuple

import equinox as eqx
import glasswright as gw
import jax
import jax.numpy as jnp
from glasswright.relax import natural_units
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from ._motion import CALM, CALM_STEPS, AbstractMotion, Lists, Motion, check_temperature, descend


class _Walk(NamedTuple):
    """The arguments of a compiled walk."""

    temperature: Float[Array, " k"]
    n_sweeps: int
    swaps: float
    step: float
    calm: float


class Swap(AbstractMotion):
    """Metropolis Monte Carlo in which particles exchange their species, besides being displaced.

    An exchange moves a particle out of its cage at once, which equilibrates mixtures far below the temperature at which
    displacements alone fall out of equilibrium. Temperatures change linearly between knots. Only for sums over pairs of
    neighbours, and without quenched disorder, which belongs to the particles.

    Source: Grigera & Parisi, Phys. Rev. E 63, 045102 (2001); Ninarello, Berthier & Coslovich, Phys. Rev. X 7, 021039
    (2017).

    **Arguments:**

    - `temperature`: knots of the ramp, evenly spaced in sweeps, in units of energy; a single number holds it.
    - `n_sweeps`: number of sweeps, of one attempt for each particle.
    - `swaps`: share of the attempts that exchange the species of two particles.
    - `step`: largest displacement in each direction, in units of length.
    """

    temperature: Float[Array, " k"] = eqx.field(
        converter=lambda x: jnp.atleast_1d(jnp.asarray(x, dtype=float)), default=(0.02, 0.0)
    )
    n_sweeps: int = 200
    swaps: float = 0.2
    step: float = 0.1

    def __check_init__(self) -> None:
        if self.n_sweeps < 1:
            raise ValueError(f"swap(n_sweeps={self.n_sweeps}): must be at least 1.")
        if not 0.0 <= self.swaps <= 1.0:
            raise ValueError(f"swap(swaps={self.swaps}): must be between 0 and 1.")
        if not 0.0 < self.step < float("inf"):
            raise ValueError(f"swap(step={self.step}): must be positive and finite.")
        check_temperature("swap", self.temperature)

    @property
    def motion(self) -> Motion:
        """The walk."""
        return _walk

    def arguments(self, potential: gw.AbstractPotential, configuration: gw.Configuration) -> _Walk:
        if not isinstance(potential, gw.AbstractPairPotential) or potential.bonds(configuration) is not None:
            raise gw.RequestError(f"treatment swap: {type(potential).__name__} is no sum over pairs of neighbours")
        if configuration.disorder:
            raise gw.RequestError("treatment swap: quenched disorder belongs to the particles and cannot be exchanged")
        calm = CALM * natural_units(potential, configuration).force
        return _Walk(self.temperature, self.n_sweeps, self.swaps, self.step, calm)


def _walk(
    potential: gw.AbstractPairPotential, configuration: gw.Configuration, walk: _Walk, key: PRNGKeyArray, lists: Lists
) -> tuple[gw.Treated, Bool[Array, ""]]:
    """The walk of one configuration, from where its overlaps are gone; and whether a list had too little room."""
    calm, evaluations, overflowed = descend(potential, configuration, walk.calm, CALM_STEPS, lists)
    n, d = configuration.fractional.shape
    inverse_box = jnp.linalg.inv(configuration.box)
    every = jnp.arange(n)
    n_attempts = walk.n_sweeps * n
    knots = jnp.linspace(0.0, 1.0, walk.temperature.size)

    def energy_of(i: Int[Array, ""], packing: gw.Configuration) -> Float[Array, ""]:
        """The energy of all pairs of a particle."""
        mine = jnp.full(n, i)
        displacement = packing.displacement(mine, every)
        squared = jnp.where(every == i, 1.0, jnp.sum(displacement**2, axis=1))
        energies = jax.vmap(potential.pair_energy)(jnp.sqrt(squared), potential.pair_parameters(packing, mine, every))
        return jnp.sum(jnp.where(every == i, 0.0, energies))

    def attempt(k: Int[Array, ""], state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        fractional, species, swapped = state
        choose, partner, move, kind, accept = jax.random.split(jax.random.fold_in(key, k), 5)
        temperature = jnp.interp(k / n_attempts, knots, walk.temperature)
        i = jax.random.randint(choose, (), 0, n)
        j = jax.random.randint(partner, (), 0, n)
        is_swap = jax.random.uniform(kind) < walk.swaps
        shift = inverse_box @ (walk.step * jax.random.uniform(move, (d,), minval=-1.0, maxval=1.0))
        there = fractional.at[i].add(jnp.where(is_swap, 0.0, shift))
        exchanged = species.at[i].set(species[j]).at[j].set(species[i])
        others = jnp.where(is_swap, exchanged, species)
        before = gw.Configuration(fractional, configuration.box, species)
        after = gw.Configuration(there, configuration.box, others)
        cost = energy_of(i, after) - energy_of(i, before)
        # The pair of both keeps its energy in an exchange: it does not matter that it is counted twice.
        cost = cost + jnp.where(is_swap, energy_of(j, after) - energy_of(j, before), 0.0)
        # At zero temperature only what costs nothing is accepted.
        accepted = (cost <= 0.0) | (jnp.log(jax.random.uniform(accept)) * temperature < -cost)
        differs = species[i] != species[j]
        return (
            jnp.where(accepted, there, fractional),
            jnp.where(accepted, others, species),
            swapped + (accepted & is_swap & differs),
        )

    start = calm.fractional, configuration.species, jnp.zeros((), dtype=int)
    fractional, species, swapped = jax.lax.fori_loop(0, n_attempts, attempt, start)
    end = gw.Configuration(fractional, configuration.box, species)
    return gw.Treated(end, {"evaluations": evaluations, "swapped": swapped}), overflowed
