import abc

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from .configuration import Configuration
from .pair_list import PairList
from .potential import AbstractPotential


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
