import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ._checks import is_concrete
from ._configuration import Configuration


class System(eqx.Module):
    """How many particles of which kinds in what box; draws the random starts that a protocol prepares.

    Species have equal numbers of particles; the box is cubic (square) at the given number density.

    **Arguments:**

    - `n_particles`: number of particles, divisible by `n_species`.
    - `n_species`: number of species.
    - `dimension`: 2 or 3.
    - `density`: number density, particles per unit volume. The default, 1.6, is the paper's. Can be trained: a followed
      packing keeps its fractional positions when the box changes, and relaxes.
    """

    n_particles: int = 368
    n_species: int = 2
    dimension: int = 2
    density: Float[Array, ""] = eqx.field(converter=lambda x: jnp.asarray(x, dtype=float), default=1.6)

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

    @property
    def box(self) -> Float[Array, "d d"]:
        """The box at this density, lattice vectors as columns."""
        length = (self.n_particles / self.density) ** (1.0 / self.dimension)
        return length * jnp.eye(self.dimension)

    def start(self, key: PRNGKeyArray) -> Configuration:
        """One random start: positions uniform and independent in the box (the paper's preparation)."""
        fractional = jax.random.uniform(key, (self.n_particles, self.dimension), dtype=float)
        species = jnp.repeat(jnp.arange(self.n_species), self.n_particles // self.n_species)
        return Configuration(fractional=fractional, box=self.box, species=species)
