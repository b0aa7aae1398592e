import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from ._configuration import Configuration
from .neighbors import PairList


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


class AbstractPairPotential(AbstractPotential):
    """A sum over pairs: one scalar function of the distance gives energy, forces, Hessian and elasticity.

    A subclass gives `pair_energy(r, parameters)` for one pair and `pair_parameters(configuration, i, j)` for many; the
    pairs are the neighbour list unless `bonds` returns its own.
    """

    @abc.abstractmethod
    def pair_parameters(self, configuration: Configuration, i: Int[Array, " p"], j: Int[Array, " p"]) -> PyTree:
        """Parameters of each pair: any pytree whose arrays have leading axis `p`."""

    @abc.abstractmethod
    def pair_energy(self, r: Float[Array, ""], parameters: PyTree) -> Float[Array, ""]:
        """Energy of one pair at distance `r > 0`; zero from `cutoff` on. Twice differentiable up to isolated kinks."""

    def bonds(self, configuration: Configuration) -> tuple[Int[Array, " p"], Int[Array, " p"]] | None:
        """Fixed pairs `(i, j)` for potentials with a topology of their own; None takes the neighbour list."""
        return None

    def pairs(self, configuration: Configuration, neighbors: PairList):
        """`(i, j, mask)` of the interacting pairs, each once."""
        bonds = self.bonds(configuration)
        if bonds is None:
            return neighbors.i, neighbors.j, neighbors.mask
        return bonds[0], bonds[1], jnp.ones(bonds[0].shape, dtype=bool)

    def energy(self, configuration: Configuration, neighbors: PairList) -> Float[Array, ""]:
        """`U = sum over pairs of pair_energy(r)`."""
        i, j, mask = self.pairs(configuration, neighbors)
        r, _ = self._distances(configuration, i, j, mask)
        values = jax.vmap(self.pair_energy)(r, self.pair_parameters(configuration, i, j))
        return jnp.sum(jnp.where(mask, values, 0.0))

    def gradient(self, configuration: Configuration, neighbors: PairList) -> Float[Array, "n d"]:
        """`dU/dr_i = sum_j V'(r_ij) r_ij / |r_ij|`."""
        return self.energy_and_gradient(configuration, neighbors)[1]

    def energy_and_gradient(
        self, configuration: Configuration, neighbors: PairList
    ) -> tuple[Float[Array, ""], Float[Array, "n d"]]:
        """One pass over the pairs for both."""
        i, j, mask = self.pairs(configuration, neighbors)
        r, displacement = self._distances(configuration, i, j, mask)
        parameters = self.pair_parameters(configuration, i, j)
        values, slope = jax.vmap(jax.value_and_grad(self.pair_energy))(r, parameters)
        gradient = _scatter(configuration, i, j, jnp.where(mask, slope / r, 0.0)[:, None] * displacement)
        return jnp.sum(jnp.where(mask, values, 0.0)), gradient

    def strain_gradient(
        self, configuration: Configuration, neighbors: PairList, strains: Float[Array, "m d d"]
    ) -> Float[Array, "m n d"]:
        """`sum_j K_ij (e r_ij)` with the stiffness matrix `K` of each bond."""
        i, j, _, r, n, slope, curvature = self._bond_stiffness(configuration, neighbors)
        affine = jnp.einsum("mab,pb,p->mpa", strains, n, r)
        force = _bond_force(affine, n, slope, curvature)
        return jax.vmap(lambda f: _scatter(configuration, i, j, f))(force)

    def hessian_product(
        self, configuration: Configuration, neighbors: PairList, direction: Float[Array, "n d"]
    ) -> Float[Array, "n d"]:
        """Hessian times a direction, bond by bond."""
        i, j, _, _, n, slope, curvature = self._bond_stiffness(configuration, neighbors)
        return _scatter(configuration, i, j, _bond_force(direction[i] - direction[j], n, slope, curvature))

    def hessian(self, configuration: Configuration, neighbors: PairList) -> Float[Array, "nd nd"]:
        """Off-diagonal blocks `-K_ij`, diagonal blocks `sum_j K_ij`, `K = V'' n n + V'/r (1 - n n)`."""
        n = configuration.fractional.size
        triangle = jnp.tril(self.add_hessian(jnp.zeros((n, n)), configuration, neighbors))
        return triangle + jnp.tril(triangle, -1).T

    def add_hessian(
        self, matrix: Float[Array, "nd nd"], configuration: Configuration, neighbors: PairList
    ) -> Float[Array, "nd nd"]:
        """`matrix` with the Hessian added in its lower triangle."""
        i, j, _, _, n, slope, curvature = self._bond_stiffness(configuration, neighbors)
        size, d = configuration.n_particles, configuration.dimension
        block = (curvature - slope)[:, None, None] * n[:, :, None] * n[:, None, :]
        block = block + slope[:, None, None] * jnp.eye(d)
        diagonal = jnp.zeros((size, d, d)).at[i].add(block).at[j].add(block)
        every, axes = jnp.arange(size), jnp.arange(d)
        rows = jnp.concatenate([jnp.maximum(i, j), every])[:, None, None] * d + axes[:, None]
        columns = jnp.concatenate([jnp.minimum(i, j), every])[:, None, None] * d + axes[None, :]
        return matrix.at[rows, columns].add(jnp.concatenate([-block, diagonal]))

    def second_variation(
        self,
        configuration: Configuration,
        neighbors: PairList,
        strains: Float[Array, "m d d"],
        displacements: Float[Array, "m n d"],
    ) -> Float[Array, "m m"]:
        """`sum over pairs of V'' (n.D_a)(n.D_b) + V'/r D_a_perp.D_b_perp`, `D = e r_ij + x_i - x_j`."""
        i, j, _, r, n, slope, curvature = self._bond_stiffness(configuration, neighbors)
        stretch = jnp.einsum("mab,pb,p->mpa", strains, n, r) + displacements[:, i] - displacements[:, j]
        along = jnp.einsum("mpa,pa->mp", stretch, n)
        return jnp.einsum("p,mp,np->mn", curvature - slope, along, along) + jnp.einsum(
            "p,mpa,npa->mn", slope, stretch, stretch
        )

    def particle_stiffness(self, configuration: Configuration, neighbors: PairList) -> Float[Array, " n"]:
        """Sum of the stiffnesses of each particle's bonds, an upper bound of what holds it to its place."""
        i, j, _, _, _, slope, curvature = self._bond_stiffness(configuration, neighbors)
        stiffness = jnp.maximum(jnp.abs(curvature), jnp.abs(slope))
        # One scatter of both halves takes five times as long: XLA fuses the stiffnesses into it and computes them anew.
        return jnp.zeros(configuration.n_particles).at[i].add(stiffness).at[j].add(stiffness)

    def stiffness_bound(self, configuration: Configuration, neighbors: PairList) -> Float[Array, ""]:
        """An upper bound of the largest eigenvalue: twice the largest sum of bond stiffnesses at a particle."""
        return 2.0 * jnp.max(self.particle_stiffness(configuration, neighbors))

    def _distances(self, configuration, i, j, mask):
        """Distance and vector of each pair; padding gets the cutoff, so that nothing is ever divided by zero."""
        displacement = configuration.displacement(i, j)
        squared = jnp.sum(displacement**2, axis=-1)
        return jnp.sqrt(jnp.where(mask, squared, jax.lax.stop_gradient(self.cutoff) ** 2)), displacement

    def _bond_stiffness(self, configuration, neighbors):
        """`i, j, mask, r, n, V'/r, V''` of each pair, zero for padding."""
        i, j, mask = self.pairs(configuration, neighbors)
        r, displacement = self._distances(configuration, i, j, mask)
        n = displacement / r[:, None]
        parameters = self.pair_parameters(configuration, i, j)
        first = jax.grad(self.pair_energy)
        slope, curvature = jax.vmap(lambda x, p: jax.jvp(lambda y: first(y, p), (x,), (jnp.ones_like(x),)))(
            r, parameters
        )
        return i, j, mask, r, n, jnp.where(mask, slope / r, 0.0), jnp.where(mask, curvature, 0.0)


def _bond_force(stretch, n, slope, curvature):
    """`K D` for each bond, `D` of shape `(..., p, d)`."""
    along = jnp.sum(stretch * n, axis=-1)
    return ((curvature - slope) * along)[..., None] * n + slope[:, None] * stretch


def _scatter(configuration, i, j, force):
    """Sum a quantity of each pair on its particles, with opposite signs."""
    nothing = jnp.zeros_like(configuration.fractional)
    return nothing.at[i].add(force) - nothing.at[j].add(force)
