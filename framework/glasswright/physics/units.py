"""The units that a potential and a packing have of their own: what small and large mean for forces and lengths."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._jax import fast_jit
from .configuration import Configuration
from .pair_list import PairList, find_pairs, round_capacity
from .pair_potential import AbstractPairPotential
from .potential import AbstractPotential

# The potential and the density of Zu & Goodrich (2024), whose units are 1: the stiffness of a bond at contact, and the
# mean spacing of particles at a number density of 1.6 in two dimensions.
PAPER_STIFFNESS = 5.0
PAPER_SPACING = 1.6**-0.5
# Units are whole powers of these numbers, so that products with them are exact. A power of 4 is the square of a power
# of 2: times, which go with the root of a stiffness, are then exact as well.
STIFFNESS_STEP, LENGTH_STEP = 4.0, 2.0
# Powers up to the second are taken for 1: a stiffness from 1/32 to 32 times that of the paper, a spacing from 0.14 to
# 4.5. Tolerances hold as they are written in all of this range. Beyond it they do not: a force of 1e-12 is lost in the
# rounding of positions for a stiffness 64 times that of the paper (N = 1024), and is 10 digits only at 1/100 of it.
PLAIN_POWERS = 2
# Pairs that the stiffness is the median of.
SAMPLED_PAIRS = 48
# Distances at which pairs are looked at, each this much shorter than the last. The shortest is a quarter of the first.
N_DISTANCES, SHRINK = 48, 0.97
# Spacings of the lattices on which other potentials are looked at, relative to the widest.
LATTICES = 0.9 ** np.arange(9)


@dataclasses.dataclass(frozen=True)
class Units:
    """A unit of length and one of stiffness; tolerances are given in these.

    Both are 1 for all packings that resemble those of Zu & Goodrich (2024) in spacing and stiffness, where numbers are
    thus in the user's own units (see `natural_units`).

    **Attributes:**

    - `length`: in the user's units of length; a power of 2.
    - `stiffness`: in the user's units of energy per squared length; a power of 4.
    """

    length: float = 1.0
    stiffness: float = 1.0

    @property
    def force(self) -> float:
        """The unit of force, in energy per length."""
        return self.stiffness * self.length

    @property
    def time(self) -> float:
        """The unit of time of particles of mass one, in length per energy^(1/2)."""
        return 1.0 / math.sqrt(self.stiffness)


PAPER_UNITS = Units()


def natural_units(potential: AbstractPotential, configuration: Configuration) -> Units:
    """The units of a potential and of a packing, in which a tolerance means the same whatever units the user has.

    The length is the mean spacing `(V/N)^(1/d)`, or the reach of the potential where that is shorter. The stiffness is
    the typical curvature of the energy of a pair at the distance where neighbours rest: in the well of an attraction,
    else as far apart as the density lets them, else, for particles that do not touch, just in contact. It is a median
    over pairs. Potentials that are no sums over pairs are looked at by their Hessian's products on a lattice instead.

    Neither depends on positions: a packing, the random start that it came from, and the same packing at the next step
    of a training have the same units. Both are rounded, relative to the paper's, to powers of 2 and of 4, and to 1 in a
    wide range around it. Lengths that are scaled by powers of 2 and energies that are scaled by powers of 4, beyond
    that range, thus give the same digits.

    Costs less than an evaluation of forces, but is not for use under `jit`.

    **Arguments:**

    - `potential`, `configuration`: the interactions and the particles, of which only number, species, disorder and box
      matter.
    """
    n, d = configuration.fractional.shape
    box = np.asarray(configuration.box)
    reach = float(potential.reach(configuration))
    # In units of the longest entry, so that no volume overflows; what is not a number has no spacing.
    longest = float(np.max(np.abs(box)))
    with np.errstate(invalid="ignore"):
        spacing = longest * float(abs(np.linalg.det(box / longest)) / n) ** (1.0 / d)
    length = min(spacing, reach) if reach > 0.0 else spacing
    if isinstance(potential, AbstractPairPotential):
        # Neighbours on the densest lattice are a little further from each other than the mean spacing.
        stiffness = _pair_stiffness(potential, configuration, np.asarray(min(spacing * 2.0**0.1, reach)))
    else:
        # No wider than the reach: at every distance within it there is something to see.
        compressions = min(1.0, reach / spacing) * LATTICES
        capacity = round_capacity(_lattice_pairs(n, d, reach / (compressions[-1] * spacing)))
        stiffness = _lattice_stiffness(potential, configuration, compressions, capacity)
    return Units(
        _rounded(length / PAPER_SPACING, LENGTH_STEP), _rounded(float(stiffness) / PAPER_STIFFNESS, STIFFNESS_STEP)
    )


def _rounded(ratio: float, step: float) -> float:
    """The power of `step` nearest to a ratio; 1 for the powers next to it, and for what is no scale at all."""
    if not 0.0 < ratio < math.inf:
        return 1.0
    power = round(math.log(ratio) / math.log(step))
    return 1.0 if abs(power) <= PLAIN_POWERS else step**power


@fast_jit
def _pair_stiffness(
    potential: AbstractPairPotential, configuration: Configuration, farthest: Float[Array, ""]
) -> Float[Array, ""]:
    """The median over pairs of the curvature of their energy where neighbours rest; zero if none interact."""
    n = configuration.n_particles
    bonds = potential.bonds(configuration)
    if bonds is None:
        # Particles of all species, each with one near in the order of numbers, and so mostly like it, or with one far.
        i = np.linspace(0, n - 1, SAMPLED_PAIRS).astype(int)
        j = (i + np.where(np.arange(SAMPLED_PAIRS) % 2, 1, max(n // 2, 1))) % n
        parameters = potential.pair_parameters(configuration, jnp.asarray(i), jnp.asarray(j))
    else:
        chosen = np.linspace(0, bonds[0].shape[0] - 1, SAMPLED_PAIRS).astype(int)
        parameters = jax.tree.map(lambda x: x[chosen], potential.pair_parameters(configuration, *bonds))
    distances = farthest * SHRINK ** np.arange(N_DISTANCES)

    def of_pair(parameters: object) -> Float[Array, ""]:
        def curvature(r: Float[Array, ""]) -> Float[Array, ""]:
            slope = jax.grad(lambda x: potential.pair_energy(x, parameters))
            result: Array = jax.jvp(slope, (r,), (jnp.ones_like(r),))[1]
            return jnp.abs(result)

        energies = jax.vmap(lambda r: potential.pair_energy(r, parameters))(distances)
        curvatures = jax.vmap(curvature)(distances)
        return _where_lowest(energies, curvatures)

    return _median_of_positive(jax.vmap(of_pair)(parameters))


def _where_lowest(energies: Float[Array, " m"], curvatures: Float[Array, " m"]) -> Float[Array, ""]:
    """The curvature where the energy is lowest, among the places at which there is any.

    Averaged over that place and the next on either side: where the curvature jumps, neither side is typical.
    """
    usable = jnp.isfinite(energies) & jnp.isfinite(curvatures) & (curvatures > 0.0)
    lowest = jnp.argmin(jnp.where(usable, energies, jnp.inf))
    near = (jnp.abs(jnp.arange(len(energies)) - lowest) <= 1) & usable
    return jnp.sum(jnp.where(near, curvatures, 0.0)) / jnp.maximum(jnp.sum(near), 1)


def _median_of_positive(values: Float[Array, " m"]) -> Float[Array, ""]:
    """The median of those that are positive; zero if none is."""
    ordered = jnp.sort(jnp.where(values > 0.0, values, jnp.inf))
    middle = ordered[(jnp.sum(values > 0.0) - 1) // 2]
    return jnp.where(jnp.isfinite(middle), middle, 0.0)


def _lattice_pairs(n: int, d: int, reach: float) -> float:
    """An estimate from above of the pairs on a lattice within a reach in units of its spacing."""
    return min(0.5 * n * (2.0 * reach + 1.0) ** d, 0.5 * n * (n - 1))


@fast_jit
def _lattice_stiffness(
    potential: AbstractPotential,
    configuration: Configuration,
    compressions: Float[Array | np.ndarray, " m"],
    capacity: int,
) -> Float[Array, ""]:
    """The curvature of a particle's energy on the lattice of lowest energy, among more or less compressed ones.

    Divided by three, which makes it about that of a single bond: in two dimensions three of a particle's six bonds
    resist each of its motions.
    """
    n, d = configuration.fractional.shape
    side = math.ceil(round(n ** (1.0 / d), 9))
    sites = np.stack(np.meshgrid(*[np.arange(side)] * d, indexing="ij"), axis=-1).reshape(-1, d)[:n] / side
    # Species are numbered one after the other, and are to be neighbours of each other.
    sites = np.random.default_rng(0).permutation(sites)
    direction = jax.random.normal(jax.random.key(0), (n, d))

    def at(compression: Float[Array, ""]) -> tuple[Array, Array]:
        # A cube, whatever the shape of the box: neighbours are to be as far apart along all axes.
        box = compression * configuration.volume ** (1.0 / d) * jnp.eye(d)
        lattice = dataclasses.replace(configuration, fractional=jnp.asarray(sites), box=box)
        neighbors: PairList = find_pairs(lattice, potential.reach(configuration), capacity)
        product = potential.hessian_product(lattice, neighbors, direction)
        stiffness = jnp.median(jnp.linalg.norm(product, axis=1) / jnp.linalg.norm(direction, axis=1))
        return potential.energy(lattice, neighbors), stiffness / 3.0

    return _where_lowest(*jax.lax.map(at, compressions))
