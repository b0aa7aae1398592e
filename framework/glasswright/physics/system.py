"""Systems: the particles and the box that random configurations are drawn for."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from .._jax import is_concrete
from .configuration import Configuration
from .disorder import LARGEST, draw_disorder, largest_disorder

# Far beyond the indices of configurations, which are folded into the same key.
_DISORDER = 0xD150D0


class System(eqx.Module):
    """A number of particles of each species in a periodic box, from which random starts are drawn.

    Species have equal numbers of particles. The box is a cube, or a square, at the given number density.

    **Arguments:**

    - `n_particles`: number of particles, divisible by `n_species`.
    - `n_species`: number of species.
    - `dimension`: 2 or 3.
    - `density`: number density, in particles per volume. The default, 1.6, is that of Zu & Goodrich (2024). It can be
      trained: a tracked packing keeps its fractional positions when the box changes, and is relaxed again.
    - `polydispersity`: standard deviation of diameters within a species, relative to their mean. The diameter of every
      particle has a factor `1 + polydispersity xi`, where `xi` is a standard normal number, truncated at three
      standard deviations and rescaled to a standard deviation of 1.
    - `heterogeneity`: standard deviation of binding energies of bonds between the same species, relative to their mean.
      The energy of every pair has a factor `1 + heterogeneity xi`, with another such number.
    """

    n_particles: int = 368
    n_species: int = 2
    dimension: int = 2
    density: Float[Array, ""] = eqx.field(converter=lambda x: jnp.asarray(x, dtype=float), default=1.6)
    polydispersity: float = 0.0
    heterogeneity: float = 0.0

    def __check_init__(self) -> None:
        if self.n_species < 1:
            raise ValueError(f"System(n_species={self.n_species}): needs at least one species.")
        if self.n_particles < 2:
            raise ValueError(f"System(n_particles={self.n_particles}): needs at least two particles.")
        if self.n_particles % self.n_species:
            below = self.n_particles - self.n_particles % self.n_species
            near = " or ".join(str(n) for n in (below, below + self.n_species) if n > 0)
            raise ValueError(
                f"System(n_particles={self.n_particles}, n_species={self.n_species}): the species have equal numbers, "
                f"so n_particles must be a multiple of n_species, for instance {near}."
            )
        if self.dimension not in (2, 3):
            raise ValueError(f"System(dimension={self.dimension}): must be 2 or 3.")
        if is_concrete(self.density) and not 0.0 < float(self.density) < float("inf"):
            raise ValueError(f"System(density={float(self.density)}): must be positive and finite.")
        for name in ("polydispersity", "heterogeneity"):
            value = getattr(self, name)
            if not 0.0 <= value * LARGEST < 1.0:
                raise ValueError(
                    f"System({name}={value}): must be at least 0 and below {1.0 / LARGEST:.4f}, or some would be "
                    "negative."
                )

    @property
    def box(self) -> Float[Array, "d d"]:
        """The box at this density: lattice vectors as columns, in units of length."""
        length = (self.n_particles / self.density) ** (1.0 / self.dimension)
        return length * jnp.eye(self.dimension)

    def start(self, key: PRNGKeyArray) -> Configuration:
        """Draw a random start: uniform and independent positions in the box, and the quenched disorder.

        Source: Zu & Goodrich, Commun. Mater. 5 (2024), doi 10.1038/s43246-024-00583-4, Methods.

        **Arguments:**

        - `key`: random key; the same key gives the same configuration.
        """
        fractional = jax.random.uniform(key, (self.n_particles, self.dimension), dtype=float)
        species = jnp.repeat(jnp.arange(self.n_species), self.n_particles // self.n_species)
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
        """A particle of each species, as large as disorder can make it: they bound the reach of a potential."""
        return Configuration(
            fractional=jnp.zeros((self.n_species, self.dimension)),
            box=self.box,
            species=jnp.arange(self.n_species),
            disorder=largest_disorder(self.n_species, polydispersity=self.polydispersity),
        )
