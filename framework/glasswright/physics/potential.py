import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .configuration import Configuration
from .pair_list import PairList


class AbstractPotential(eqx.Module):
    """The interactions between particles. Array fields can be trained, floats cannot.

    A subclass needs `energy` and `cutoff`; all derivatives then follow by automatic differentiation, and large systems
    are solved without a Hessian matrix. Potentials that are sums over pairs should subclass
    [`AbstractPairPotential`][glasswright.AbstractPairPotential] instead, whose closed forms are far faster.
    """

    @property
    @abc.abstractmethod
    def cutoff(self) -> Float[Array, ""]:
        """Distance beyond which no two particles interact directly, in units of length, at the present parameters."""

    @property
    def start(self) -> Configuration | None:
        """The packing that this potential was made for, such as that of a spring network; None, the default: any.

        Preparations begin there and not at random, and there is only this one to be followed.
        """
        return None

    def reach(self, configuration: Configuration) -> Float[Array, ""]:
        """Distance beyond which no two particles of this configuration interact: the pairs that have to be listed.

        That is `cutoff`, unless disorder makes some particles larger than others.
        """
        return self.cutoff

    def knows_disorder(self, field: str) -> bool:
        """Whether the energy depends on this field of `Configuration.disorder`.

        A configuration with a field that its potential does not know is refused: nothing is left out silently.
        """
        return False

    @abc.abstractmethod
    def energy(self, configuration: Configuration, neighbors: PairList) -> Float[Array, ""]:
        """Potential energy of the configuration.

        `neighbors` lists every pair within `reach` once (and possibly more distant ones); entries with `i == j` are
        padding and must contribute nothing.
        """

    def gradient(self, configuration: Configuration, neighbors: PairList) -> Float[Array, "n d"]:
        """`dU/dr`, minus the forces, in energy per length."""
        zero = jnp.zeros_like(configuration.fractional)
        return jax.grad(lambda x: self.energy(configuration.moved(x), neighbors))(zero)

    def energy_and_gradient(
        self, configuration: Configuration, neighbors: PairList
    ) -> tuple[Float[Array, ""], Float[Array, "n d"]]:
        """`energy` and `gradient` together, for less than the price of both."""
        zero = jnp.zeros_like(configuration.fractional)
        return jax.value_and_grad(lambda x: self.energy(configuration.moved(x), neighbors))(zero)

    def strain_gradient(
        self, configuration: Configuration, neighbors: PairList, strains: Float[Array, "m d d"]
    ) -> Float[Array, "m n d"]:
        """`d(dU/dr)/dgamma` under `r -> (1 + gamma e) r` for each strain `e`: minus the force of unit strain."""
        zero = jnp.zeros_like(configuration.fractional)

        def gradient(amplitude, strain):
            return jax.grad(lambda x: self.energy(_deformed(configuration, amplitude * strain, x), neighbors))(zero)

        def derivative(strain):
            return jax.jvp(lambda amplitude: gradient(amplitude, strain), (0.0,), (1.0,))[1]

        return jax.lax.map(derivative, strains)

    def hessian_product(
        self, configuration: Configuration, neighbors: PairList, direction: Float[Array, "n d"]
    ) -> Float[Array, "n d"]:
        """Hessian of the energy times a direction."""
        zero = jnp.zeros_like(configuration.fractional)
        gradient = jax.grad(lambda x: self.energy(configuration.moved(x), neighbors))
        return jax.jvp(gradient, (zero,), (direction,))[1]

    def hessian(self, configuration: Configuration, neighbors: PairList) -> Float[Array, "nd nd"]:
        """Hessian `d²U/dr dr` as a matrix; row `i d + a` is component `a` of particle `i`."""
        n = configuration.fractional.size
        shape = configuration.fractional.shape

        def column(direction):
            return self.hessian_product(configuration, neighbors, direction.reshape(shape)).reshape(-1)

        return jax.lax.map(column, jnp.eye(n))

    def add_hessian(
        self, matrix: Float[Array, "nd nd"], configuration: Configuration, neighbors: PairList
    ) -> Float[Array, "nd nd"]:
        """`matrix` with the Hessian added in its lower triangle; what becomes of the upper one is not specified.

        Where it can be had, filling half the matrix in place saves a third of the time of a factorisation.
        """
        return matrix + self.hessian(configuration, neighbors)

    def stiffness_bound(self, configuration: Configuration, neighbors: PairList) -> Float[Array, ""]:
        """An upper bound (or close estimate) of the Hessian's largest eigenvalue: it limits time steps."""

        def iterate(_, carry):
            direction, _ = carry
            product = self.hessian_product(configuration, neighbors, direction)
            size = jnp.linalg.norm(product)
            return product / jnp.maximum(size, jnp.finfo(size.dtype).tiny), size

        direction = jax.random.normal(jax.random.key(0), configuration.fractional.shape)
        start = (direction / jnp.linalg.norm(direction), jnp.asarray(0.0))
        # Thirty power iterations come within a few percent; twice that is on the safe side.
        return 2.0 * jax.lax.fori_loop(0, 30, iterate, start)[1]

    def second_variation(
        self,
        configuration: Configuration,
        neighbors: PairList,
        strains: Float[Array, "m d d"],
        displacements: Float[Array, "m n d"],
    ) -> Float[Array, "m m"]:
        """Second derivatives of the energy along straight joint moves of strain and particles.

        Entry `(a, b)` is `d²U/dh_a dh_b` at zero of `r -> r + sum_a h_a (e_a r + x_a)`.
        """

        def energy(amplitude):
            strain = jnp.tensordot(amplitude, strains, 1)
            displacement = jnp.tensordot(amplitude, displacements, 1)
            return self.energy(_deformed(configuration, strain, displacement), neighbors)

        return jax.hessian(energy)(jnp.zeros(strains.shape[0]))


def _deformed(configuration: Configuration, strain, displacement) -> Configuration:
    """Positions `(1 + strain) r + displacement`, exactly linear in both, in the strained box."""
    return configuration.strained(strain).moved(displacement)
