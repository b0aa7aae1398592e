"""The interface of interactions: an energy, and what the engine needs of its derivatives."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._jax import readable
from .configuration import Configuration
from .pair_list import PairList


class AbstractPotential(eqx.Module):
    """The interactions between particles. Array fields can be trained, floats cannot.

    A subclass defines `energy` and `cutoff`. All derivatives follow by automatic differentiation, and linear systems
    are solved without a Hessian matrix. Sums over pairs should subclass
    [`AbstractPairPotential`][glasswright.AbstractPairPotential] instead, which has closed forms that are far faster.
    """

    def __repr__(self) -> str:
        return readable(self)

    @property
    @abc.abstractmethod
    def cutoff(self) -> Float[Array, ""]:
        """Distance beyond which no two particles interact directly, in units of length."""

    @property
    def species_diameters(self) -> Float[Array, " s"] | None:
        """Diameter of the particles of each species, in units of length, for pictures, files and what counts as near.

        By default the field `diameter`, where there is one; None for particles without a size.
        """
        diameter: Array | None = getattr(self, "diameter", None)
        return diameter

    @property
    def start(self) -> Configuration | None:
        """The only packing that this potential has, such as that of a spring network; None, the default: any packing.

        Every preparation starts from it instead of from random positions.
        """
        return None

    def reach(self, configuration: Configuration) -> Float[Array, ""]:
        """Distance within which all pairs of this configuration have to be listed, in units of length.

        That is `cutoff`, unless disorder makes particles larger.
        """
        return self.cutoff

    def knows_disorder(self, field: str) -> bool:
        """Whether the energy depends on this field of `Configuration.disorder`.

        A run whose configurations have a field that the potential does not know is refused.
        """
        return False

    @abc.abstractmethod
    def energy(self, configuration: Configuration, neighbors: PairList) -> Float[Array, ""]:
        """The potential energy `U` of a configuration.

        **Arguments:**

        - `configuration`: the particles and their box.
        - `neighbors`: every pair within `reach` once, and possibly more distant ones. Entries with `i == j` are padding
          and must contribute nothing.
        """

    def gradient(self, configuration: Configuration, neighbors: PairList) -> Float[Array, "n d"]:
        """`dU/dr_i` for each particle, minus the forces, in energy per length."""
        zero = jnp.zeros_like(configuration.fractional)
        result: Array = jax.grad(lambda x: self.energy(configuration.moved(x), neighbors))(zero)
        return result

    def energy_and_gradient(
        self, configuration: Configuration, neighbors: PairList
    ) -> tuple[Float[Array, ""], Float[Array, "n d"]]:
        """`energy` and `gradient` together, at less cost than one after the other."""
        zero = jnp.zeros_like(configuration.fractional)
        energy, gradient = jax.value_and_grad(lambda x: self.energy(configuration.moved(x), neighbors))(zero)
        return energy, gradient

    def energy_gradient_and_virial(
        self, configuration: Configuration, neighbors: PairList
    ) -> tuple[Float[Array, ""], Float[Array, "n d"], Float[Array, "d d"]]:
        """`energy`, `gradient`, and `dU/de` under the affine strain `r -> (1 + e) r`: the stress times the volume."""
        zero = jnp.zeros_like(configuration.fractional), jnp.zeros_like(configuration.box)

        def energy(displacement: Float[Array, "n d"], strain: Float[Array, "d d"]) -> Float[Array, ""]:
            return self.energy(_deformed(configuration, strain, displacement), neighbors)

        value, (gradient, virial) = jax.value_and_grad(energy, argnums=(0, 1))(*zero)
        return value, gradient, virial

    def strain_gradient(
        self, configuration: Configuration, neighbors: PairList, strains: Float[Array, "m d d"]
    ) -> Float[Array, "m n d"]:
        """`d(dU/dr_i)/dgamma` under `r -> (1 + gamma e) r` for each strain `e`: minus the force `Xi` of unit strain.

        **Arguments:**

        - `configuration`, `neighbors`: as in `energy`.
        - `strains`: symmetric strains `e`, `m` of them.

        **Returns:** a vector for each strain and particle, shape `(m, n, d)`, in energy per length.
        """
        zero = jnp.zeros_like(configuration.fractional)

        def gradient(strain: Float[Array, "d d"]) -> Array:
            result: Array = jax.grad(lambda x: self.energy(_deformed(configuration, strain, x), neighbors))(zero)
            return result

        def derivative(strain: Float[Array, "d d"]) -> Array:
            result: Array = jax.jvp(lambda amplitude: gradient(amplitude * strain), (0.0,), (1.0,))[1]
            return result

        result: Array = jax.lax.map(derivative, strains)
        return result

    def hessian_product(
        self, configuration: Configuration, neighbors: PairList, direction: Float[Array, "n d"]
    ) -> Float[Array, "n d"]:
        """Hessian of the energy times a direction: the derivative of `gradient` along it."""
        zero = jnp.zeros_like(configuration.fractional)
        gradient = jax.grad(lambda x: self.energy(configuration.moved(x), neighbors))
        product: Array = jax.jvp(gradient, (zero,), (direction,))[1]
        return product

    def hessian(self, configuration: Configuration, neighbors: PairList) -> Float[Array, "nd nd"]:
        """Hessian `d²U/dr dr` as a matrix, in energy per squared length.

        Row `i d + a` belongs to component `a` of particle `i`.
        """
        n = configuration.fractional.size
        shape = configuration.fractional.shape

        def column(direction: Float[Array, " nd"]) -> Float[Array, " nd"]:
            return self.hessian_product(configuration, neighbors, direction.reshape(shape)).reshape(-1)

        matrix: Array = jax.lax.map(column, jnp.eye(n))
        return matrix

    def add_hessian(
        self, matrix: Float[Array, "nd nd"], configuration: Configuration, neighbors: PairList
    ) -> Float[Array, "nd nd"]:
        """`matrix` with the Hessian added in its lower triangle; the upper triangle is undefined.

        Filling half of the matrix in place, where a potential can do that, saves a third of the time of a
        factorisation.
        """
        return matrix + self.hessian(configuration, neighbors)

    def stiffness_bound(self, configuration: Configuration, neighbors: PairList) -> Float[Array, ""]:
        """Upper bound of the Hessian's largest eigenvalue, which limits time steps, in energy per squared length."""

        def iterate(_: object, carry: tuple[Array, Array]) -> tuple[Array, Array]:
            direction, _ = carry
            product = self.hessian_product(configuration, neighbors, direction)
            size = jnp.linalg.norm(product)
            return product / jnp.maximum(size, np.finfo(size.dtype).tiny), size

        direction = jax.random.normal(jax.random.key(0), configuration.fractional.shape)
        start = (direction / jnp.linalg.norm(direction), jnp.asarray(0.0))
        # Thirty power iterations are exact to a few percent; the factor of two makes a bound of them.
        largest: Array = jax.lax.fori_loop(0, 30, iterate, start)[1]
        return 2.0 * largest

    def second_variation(
        self,
        configuration: Configuration,
        neighbors: PairList,
        strains: Float[Array, "m d d"],
        displacements: Float[Array, "m n d"],
    ) -> Float[Array, "m m"]:
        """Second derivatives of the energy along joint changes of strain and positions.

        Entry `(a, b)` is `d²U/dh_a dh_b` under `r -> r + sum_a h_a (e_a r + x_a)` at `h = 0`.

        **Arguments:**

        - `configuration`, `neighbors`: as in `energy`.
        - `strains`: symmetric strains `e_a`, `m` of them.
        - `displacements`: displacements `x_a` of all particles, in units of length.
        """

        def energy(amplitude: Float[Array, " m"]) -> Float[Array, ""]:
            strain = jnp.tensordot(amplitude, strains, 1)
            displacement = jnp.tensordot(amplitude, displacements, 1)
            return self.energy(_deformed(configuration, strain, displacement), neighbors)

        result: Array = jax.hessian(energy)(jnp.zeros(strains.shape[0]))
        return result


def _deformed(
    configuration: Configuration, strain: Float[Array, "d d"], displacement: Float[Array, "n d"]
) -> Configuration:
    """Particles at `(1 + strain) r + displacement` in the strained box: exactly linear in both."""
    return configuration.strained(strain).moved(displacement)
