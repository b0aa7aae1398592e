"""Systems: the particles and the box that preparations start from."""

import abc
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .._jax import is_concrete, readable
from ..physics.configuration import Configuration
from ..physics.disorder import LARGEST, draw_disorder, largest_disorder
from ..physics.lattice import widest_basis

# Far beyond the indices of configurations, which are folded into the same key.
_DISORDER, _SPECIES = 0xD150D0, 0x59EC1E5
# Fractions that are written with a few digits need not add up to one more precisely than this.
_SUM_TOLERANCE = 1e-6


class AbstractSystem(eqx.Module):
    """The particles and the box of a run: it gives the start of each configuration.

    A subclass has the fields (or properties) below and defines `start`, `box` and `largest_particles`. Array fields can
    be trained if `start`, or the box, depends on them.

    **Attributes:**

    - `n_particles`, `n_species`, `dimension`: the same for all configurations.
    - `density`: number density, in particles per volume; parameters called so follow it.
    """

    n_particles: eqx.AbstractVar[int]
    n_species: eqx.AbstractVar[int]
    dimension: eqx.AbstractVar[int]
    density: eqx.AbstractVar[Float[Array, ""] | float]

    def __repr__(self) -> str:
        return readable(self)

    @property
    @abc.abstractmethod
    def box(self) -> Float[Array, "d d"]:
        """The box of all configurations: lattice vectors as columns, in units of length.

        The narrowest box if they differ.
        """

    @property
    @abc.abstractmethod
    def largest_particles(self) -> Configuration:
        """A particle of each species, as large as any that occurs: they bound the reach of a potential."""

    @abc.abstractmethod
    def start(self, key: PRNGKeyArray, index: int | Int[Array, ""] = 0) -> Configuration:
        """The start of a configuration.

        It is called under `jit`, unless the number of configurations is limited.

        **Arguments:**

        - `key`: the random key of the configuration; the same key gives the same start.
        - `index`: the number of the configuration in the run, for systems that do not draw their starts.
        """

    @property
    def n_configurations(self) -> int | None:
        """How many configurations there are; None, the default, if there are as many as anybody wants."""
        return None

    @property
    def species_counts(self) -> tuple[int, ...] | None:
        """The number of particles of each species; None, the default, if it is not the same in all configurations."""
        return None

    def in_box(self, configuration: Configuration) -> Configuration:
        """A prepared configuration in the present box, which may carry a derivative, at fixed fractional positions.

        Systems whose configurations have boxes of their own return it as it is.
        """
        moved: Configuration = eqx.tree_at(lambda c: c.box, configuration, self.box)
        return moved


class System(AbstractSystem):
    """A number of particles of each species in a periodic box, from which random starts are drawn.

    The box is a cube, or a square, at the given number density, unless it is given a shape.

    **Arguments:**

    - `n_particles`: number of particles.
    - `n_species`: number of species.
    - `dimension`: 2 or 3.
    - `density`: number density, in particles per volume. The default, 1.6, is that of Zu & Goodrich (2024). It can be
      trained: a tracked packing keeps its fractional positions when the box changes, and is relaxed again.
    - `polydispersity`: standard deviation of diameters within a species, relative to their mean. The diameter of every
      particle has a factor `1 + polydispersity xi`, where `xi` is a standard normal number, truncated at three
      standard deviations and rescaled to a standard deviation of 1.
    - `heterogeneity`: standard deviation of binding energies of bonds between the same species, relative to their mean.
      The energy of every pair has a factor `1 + heterogeneity xi`, with another such number.
    - `composition`: fraction of each species; left out, equal shares. Whole numbers of particles follow by the largest
      remainders: 64 particles with fractions 0.8 and 0.2 are 51 and 13. While it is trained, the species of each
      particle is drawn with these probabilities.
    - `box`: shape of the box, a matrix with the lattice vectors as columns, scaled to the density; left out, a cube. A
      skewed basis is replaced by that of the same lattice whose box is widest.
    """

    n_particles: int
    n_species: int
    dimension: int
    density: Float[Array, ""]
    polydispersity: float
    heterogeneity: float
    # An array where species are drawn, else numbers.
    composition: tuple[float, ...] | Float[Array, " s"] | None
    # The shape of the box with volume one, row by row; None for a cube.
    unit_box: tuple[tuple[float, ...], ...] | None = eqx.field(static=True)

    def __init__(
        self,
        n_particles: int = 368,
        n_species: int = 2,
        dimension: int = 2,
        density: Float[Array, ""] | float = 1.6,
        polydispersity: float = 0.0,
        heterogeneity: float = 0.0,
        composition: Sequence[float] | None = None,
        box: Sequence[Sequence[float]] | None = None,
    ):
        if dimension not in (2, 3):
            raise ValueError(f"System(dimension={dimension}): must be 2 or 3.")
        self.n_particles, self.n_species, self.dimension = n_particles, n_species, dimension
        self.density = jnp.asarray(density, dtype=float)
        self.polydispersity, self.heterogeneity = polydispersity, heterogeneity
        self.composition = None if composition is None else _checked_composition(composition, n_species)
        self.unit_box = None if box is None else _unit_box(box, dimension)

    def __check_init__(self) -> None:
        if self.n_species < 1:
            raise ValueError(f"System(n_species={self.n_species}): needs at least one species.")
        if self.n_particles < 2:
            raise ValueError(f"System(n_particles={self.n_particles}): needs at least two particles.")
        if self.density.ndim:
            raise ValueError(f"System(density={self.density.tolist()}): must be a number.")
        if is_concrete(self.density) and not 0.0 < float(self.density) < float("inf"):
            raise ValueError(f"System(density={float(self.density)}): must be positive and finite.")
        for name in ("polydispersity", "heterogeneity"):
            value = getattr(self, name)
            if not 0.0 <= value * LARGEST < 1.0:
                raise ValueError(
                    f"System({name}={value}): must be at least 0 and below {1.0 / LARGEST:.4f}, or some would be "
                    "negative."
                )
        counts = self.species_counts
        if counts is not None and 0 in counts:
            raise ValueError(
                f"System(n_particles={self.n_particles}): no particle would be of species {counts.index(0)}; the "
                f"numbers of the {self.n_species} species are {', '.join(map(str, counts))}."
            )

    @property
    def draws_species(self) -> bool:
        """Whether the species of each particle is drawn, with the composition for probabilities."""
        return eqx.is_array(self.composition)

    def drawing_species(self) -> "System":
        """The system in which species are drawn, with probabilities that can be trained."""
        fractions = (1.0 / self.n_species,) * self.n_species if self.composition is None else self.composition
        return self._composed_of(jnp.asarray(fractions, dtype=float))

    def with_fixed_species(self) -> "System":
        """The system with whole numbers of particles of each species, the closest to its composition."""
        fixed = self._composed_of(_checked_composition(np.asarray(self.composition).tolist(), self.n_species))
        fixed.__check_init__()
        return fixed

    def _composed_of(self, composition: tuple[float, ...] | Float[Array, " s"]) -> "System":
        changed: System = eqx.tree_at(lambda s: s.composition, self, composition, is_leaf=lambda x: x is None)
        return changed

    @property
    def species_counts(self) -> tuple[int, ...] | None:
        """The number of particles of each species, whole numbers by the largest remainders; None if they are drawn."""
        if self.draws_species:
            return None
        if self.composition is None:
            share, rest = divmod(self.n_particles, self.n_species)
            return tuple(share + (k < rest) for k in range(self.n_species))
        return largest_remainders([float(x) for x in self.composition], self.n_particles)

    @property
    def box(self) -> Float[Array, "d d"]:
        """The box at this density: lattice vectors as columns, in units of length."""
        length = (self.n_particles / self.density) ** (1.0 / self.dimension)
        return length * (jnp.eye(self.dimension) if self.unit_box is None else jnp.asarray(self.unit_box))

    def start(self, key: PRNGKeyArray, index: int | Int[Array, ""] = 0) -> Configuration:
        """Draw a random start: uniform and independent positions in the box, and the quenched disorder.

        Source: Zu & Goodrich, Commun. Mater. 5 (2024), doi 10.1038/s43246-024-00583-4, Methods.

        **Arguments:**

        - `key`: random key; the same key gives the same configuration.
        - `index`: not used.
        """
        fractional = jax.random.uniform(key, (self.n_particles, self.dimension), dtype=float)
        counts = self.species_counts
        if counts is None:
            # The same numbers at all compositions: few particles change their species with it.
            chance = jax.random.uniform(jax.random.fold_in(key, _SPECIES), (self.n_particles, 1), dtype=float)
            species = jnp.sum(chance >= jnp.cumsum(jnp.asarray(self.composition))[None, :-1], axis=1)
        else:
            species = jnp.asarray(np.repeat(np.arange(self.n_species), counts))
        # Folded in, not split off: positions are the same with disorder and without.
        disorder = draw_disorder(
            jax.random.fold_in(key, _DISORDER),
            self.n_particles,
            polydispersity=self.polydispersity,
            heterogeneity=self.heterogeneity,
        )
        return Configuration(fractional=fractional, box=self.box, species=species, disorder=disorder)

    @property
    def largest_particles(self) -> Configuration:
        """A particle of each species, as large as disorder can make it."""
        return Configuration(
            fractional=jnp.zeros((self.n_species, self.dimension)),
            box=self.box,
            species=jnp.arange(self.n_species),
            disorder=largest_disorder(self.n_species, polydispersity=self.polydispersity),
        )


def largest_remainders(fractions: Sequence[float], total: int) -> tuple[int, ...]:
    """Whole numbers that add up to `total` and are as close to these fractions of it as can be."""
    shares = [fraction * total for fraction in fractions]
    counts = [int(share) for share in shares]
    by_remainder = sorted(range(len(shares)), key=lambda k: counts[k] - shares[k])
    for k in by_remainder[: total - sum(counts)]:
        counts[k] += 1
    return tuple(counts)


def _checked_composition(composition: Sequence[float], n_species: int) -> tuple[float, ...]:
    """The fractions of the species, which add up to one exactly but for rounding."""
    given = f"System(composition={np.asarray(composition).tolist()})"
    if np.shape(composition) != (n_species,):
        raise ValueError(f"{given}: n_species is {n_species}, and there must be one fraction for each.")
    fractions = [float(x) for x in composition]
    total = sum(fractions)
    if not all(0.0 < x <= 1.0 for x in fractions) or abs(total - 1.0) > _SUM_TOLERANCE:
        raise ValueError(f"{given}: fractions must be positive and add up to 1, not {total:g}.")
    return tuple(x / total for x in fractions)


def _unit_box(box: Sequence[Sequence[float]], dimension: int) -> tuple[tuple[float, ...], ...] | None:
    """The shape of a box: scaled to volume one, in its widest basis; None for a cube along the axes."""
    given = f"System(box={np.asarray(box).tolist()})"
    matrix = np.asarray(box, dtype=float)
    if matrix.shape != (dimension, dimension):
        raise ValueError(f"{given}: needs a matrix of {dimension} x {dimension} numbers, lattice vectors as columns.")
    if not np.all(np.isfinite(matrix)):
        raise ValueError(f"{given}: must be finite numbers.")
    try:
        matrix = matrix @ widest_basis(matrix)
    except ValueError as error:
        raise ValueError(f"{given}: {error}.") from None
    # Rounded, so that a box that was scaled to its density has the same shape again.
    shape = np.round(matrix / np.max(np.abs(matrix)), 13)
    if np.array_equal(shape, np.eye(dimension)):
        return None
    unit = shape / abs(float(np.linalg.det(shape))) ** (1.0 / dimension)
    return tuple(tuple(row) for row in unit.tolist())
