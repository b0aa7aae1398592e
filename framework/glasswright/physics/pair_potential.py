"""Potentials that are sums over pairs, with closed forms of all that the engine needs of their derivatives."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .configuration import Configuration
from .pair_list import PairIndex, PairList, PairMask
from .potential import AbstractPotential


class BondStiffness(eqx.Module):
    """First and second derivative of the energy of each interacting pair: the stiffness of its bond.

    Moving the ends of a bond apart by `D` changes the force in it by `K D` with the stiffness matrix
    `K = V'' n n^T + (V'/r) (1 - n n^T)`. Derivatives are taken at the distance `r`, and are zero for padding.

    **Attributes:** arrays over the entries of the pair list, `p` of them.

    - `i`, `j`: the particles of each pair.
    - `mask`: which entries are pairs rather than padding.
    - `distance`: `r = |r_i - r_j|`, in units of length; the cutoff for padding.
    - `direction`: unit vector `n = (r_i - r_j) / r`.
    - `transverse`: `V'/r`, in energy per squared length: negative for a compressed bond.
    - `longitudinal`: `V''`, in energy per squared length.
    """

    i: PairIndex
    j: PairIndex
    mask: PairMask
    distance: Float[Array, " p"]
    direction: Float[Array, "p d"]
    transverse: Float[Array, " p"]
    longitudinal: Float[Array, " p"]

    @property
    def interacts(self) -> PairMask:
        """Which entries are pairs that interact at their present distance."""
        return self.mask & ((self.transverse != 0.0) | (self.longitudinal != 0.0))

    def affine_stretch(self, strains: Float[Array, "m d d"]) -> Float[Array, "m p d"]:
        """`e (r_i - r_j)`: change of the vector of each bond under each strain `e`, in units of length."""
        return jnp.einsum("mab,pb,p->mpa", strains, self.direction, self.distance)

    def force(self, stretch: Float[Array, "*m p d"]) -> Float[Array, "*m p d"]:
        """`K D` of each bond for changes `D` of its vector, in energy per length."""
        # Axes of length one, and no more: copies of full shape would be summed in another order by the derivative.
        axes = tuple(range(stretch.ndim - 2))
        direction = jnp.expand_dims(self.direction, axes)
        transverse = jnp.expand_dims(self.transverse[:, None], axes)
        along = jnp.sum(stretch * direction, axis=-1)
        difference = jnp.expand_dims(self.longitudinal - self.transverse, axes)
        return (difference * along)[..., None] * direction + transverse * stretch


class AbstractPairPotential(AbstractPotential):
    """A sum over pairs, `U = sum_(i,j) V(r_ij)`: one function of the distance gives energy, forces and Hessian.

    A subclass defines `pair_energy(r, parameters)` for a single pair, and `pair_parameters(configuration, i, j)` for
    all of them. The pairs are those of the neighbour list unless `bonds` returns others.
    """

    @abc.abstractmethod
    def pair_parameters(self, configuration: Configuration, i: PairIndex, j: PairIndex) -> PyTree:
        """The parameters of each pair: any pytree whose arrays have leading axis `p`.

        **Arguments:**

        - `configuration`: for the species and the disorder of the particles.
        - `i`, `j`: the particles of each pair.
        """

    @abc.abstractmethod
    def pair_energy(self, r: Float[Array, ""], parameters: PyTree) -> Float[Array, ""]:
        """The energy `V(r)` of a single pair.

        It is zero from `cutoff` on, and twice differentiable except at isolated distances.

        **Arguments:**

        - `r`: distance, positive, in units of length.
        - `parameters`: an entry of `pair_parameters`.
        """

    def bonds(self, configuration: Configuration) -> tuple[PairIndex, PairIndex] | None:
        """Pairs `(i, j)` that interact at any distance, as in a spring network; None, the default: those near."""
        return None

    def pairs(self, configuration: Configuration, neighbors: PairList) -> tuple[PairIndex, PairIndex, PairMask]:
        """`(i, j, mask)`: each pair once, and which entries are pairs rather than padding."""
        bonds = self.bonds(configuration)
        if bonds is None:
            return neighbors.i, neighbors.j, neighbors.mask
        return bonds[0], bonds[1], jnp.ones(bonds[0].shape, dtype=bool)

    def energy(self, configuration: Configuration, neighbors: PairList) -> Float[Array, ""]:
        """The potential energy `U = sum_(i,j) V(r_ij)`."""
        i, j, mask = self.pairs(configuration, neighbors)
        r, _ = self._distances(configuration, i, j, mask)
        values = jax.vmap(self.pair_energy)(r, self.pair_parameters(configuration, i, j))
        return jnp.sum(jnp.where(mask, values, 0.0))

    def gradient(self, configuration: Configuration, neighbors: PairList) -> Float[Array, "n d"]:
        """`dU/dr_i = sum_j V'(r_ij) (r_i - r_j) / r_ij`, minus the forces, in energy per length."""
        return self.energy_and_gradient(configuration, neighbors)[1]

    def energy_and_gradient(
        self, configuration: Configuration, neighbors: PairList
    ) -> tuple[Float[Array, ""], Float[Array, "n d"]]:
        """`energy` and `gradient` in a single pass over the pairs."""
        i, j, mask = self.pairs(configuration, neighbors)
        r, displacement = self._distances(configuration, i, j, mask)
        parameters = self.pair_parameters(configuration, i, j)
        values, slope = jax.vmap(jax.value_and_grad(self.pair_energy))(r, parameters)
        gradient = _scatter(configuration, i, j, jnp.where(mask, slope / r, 0.0)[:, None] * displacement)
        return jnp.sum(jnp.where(mask, values, 0.0)), gradient

    def energy_gradient_and_virial(
        self, configuration: Configuration, neighbors: PairList
    ) -> tuple[Float[Array, ""], Float[Array, "n d"], Float[Array, "d d"]]:
        """`energy`, `gradient` and `dU/de = sum_(i,j) V'(r) r n n^T` in a single pass over the pairs."""
        i, j, mask = self.pairs(configuration, neighbors)
        r, displacement = self._distances(configuration, i, j, mask)
        parameters = self.pair_parameters(configuration, i, j)
        values, slope = jax.vmap(jax.value_and_grad(self.pair_energy))(r, parameters)
        force = jnp.where(mask, slope / r, 0.0)[:, None] * displacement
        virial = jnp.einsum("pa,pb->ab", force, displacement)
        return jnp.sum(jnp.where(mask, values, 0.0)), _scatter(configuration, i, j, force), virial

    def strain_gradient(
        self, configuration: Configuration, neighbors: PairList, strains: Float[Array, "m d d"]
    ) -> Float[Array, "m n d"]:
        """`sum_j K_ij e (r_i - r_j)` for each strain `e`, with the stiffness matrix `K_ij` of each bond."""
        bonds = self.bond_stiffness(configuration, neighbors)
        force = bonds.force(bonds.affine_stretch(strains))
        return jax.vmap(lambda f: _scatter(configuration, bonds.i, bonds.j, f))(force)

    def hessian_product(
        self, configuration: Configuration, neighbors: PairList, direction: Float[Array, "n d"]
    ) -> Float[Array, "n d"]:
        """Hessian times a direction: `sum_j K_ij (x_i - x_j)`."""
        bonds = self.bond_stiffness(configuration, neighbors)
        force = bonds.force(direction[bonds.i] - direction[bonds.j])
        return _scatter(configuration, bonds.i, bonds.j, force)

    def hessian(self, configuration: Configuration, neighbors: PairList) -> Float[Array, "nd nd"]:
        """Hessian with the blocks `-K_ij` off the diagonal and `sum_j K_ij` on it."""
        n = configuration.fractional.size
        triangle = jnp.tril(self.add_hessian(jnp.zeros((n, n)), configuration, neighbors))
        return triangle + jnp.tril(triangle, -1).T

    def add_hessian(
        self, matrix: Float[Array, "nd nd"], configuration: Configuration, neighbors: PairList
    ) -> Float[Array, "nd nd"]:
        """`matrix` with the Hessian added in its lower triangle, in place."""
        bonds = self.bond_stiffness(configuration, neighbors)
        i, j, n = bonds.i, bonds.j, bonds.direction
        size, d = configuration.n_particles, configuration.dimension
        block = (bonds.longitudinal - bonds.transverse)[:, None, None] * n[:, :, None] * n[:, None, :]
        block = block + bonds.transverse[:, None, None] * jnp.eye(d)[None]
        diagonal = jnp.zeros((size, d, d)).at[i].add(block).at[j].add(block)
        every, axes = jnp.arange(size), jnp.arange(d)
        rows = jnp.concatenate([jnp.maximum(i, j), every])[:, None, None] * d + axes[None, :, None]
        columns = jnp.concatenate([jnp.minimum(i, j), every])[:, None, None] * d + axes[None, None, :]
        return matrix.at[rows, columns].add(jnp.concatenate([-block, diagonal]))

    def second_variation(
        self,
        configuration: Configuration,
        neighbors: PairList,
        strains: Float[Array, "m d d"],
        displacements: Float[Array, "m n d"],
    ) -> Float[Array, "m m"]:
        """`sum_(i,j) D_a K_ij D_b` with the change of each bond, `D_a = e_a (r_i - r_j) + x_ai - x_aj`."""
        bonds = self.bond_stiffness(configuration, neighbors)
        stretch = bonds.affine_stretch(strains) + displacements[:, bonds.i] - displacements[:, bonds.j]
        along = jnp.einsum("mpa,pa->mp", stretch, bonds.direction)
        return jnp.einsum("p,mp,np->mn", bonds.longitudinal - bonds.transverse, along, along) + jnp.einsum(
            "p,mpa,npa->mn", bonds.transverse, stretch, stretch
        )

    def particle_stiffness(self, configuration: Configuration, neighbors: PairList) -> Float[Array, " n"]:
        """Sum of the stiffnesses of the bonds of each particle, an upper bound of its own block of the Hessian."""
        bonds = self.bond_stiffness(configuration, neighbors)
        i, j = bonds.i, bonds.j
        stiffness = jnp.maximum(jnp.abs(bonds.longitudinal), jnp.abs(bonds.transverse))
        # One scatter of both halves takes five times as long: XLA fuses the stiffnesses into it and computes them anew.
        return jnp.zeros(configuration.n_particles).at[i].add(stiffness).at[j].add(stiffness)

    def stiffness_bound(self, configuration: Configuration, neighbors: PairList) -> Float[Array, ""]:
        """Upper bound of the Hessian's largest eigenvalue: twice the largest `particle_stiffness`."""
        return 2.0 * jnp.max(self.particle_stiffness(configuration, neighbors))

    def bond_stiffness(self, configuration: Configuration, neighbors: PairList) -> BondStiffness:
        """Derivatives `V'/r` and `V''` of the energy of each pair, with its particles, distance and direction."""
        i, j, mask = self.pairs(configuration, neighbors)
        r, displacement = self._distances(configuration, i, j, mask)
        direction = displacement / r[:, None]
        parameters = self.pair_parameters(configuration, i, j)
        first = jax.grad(self.pair_energy)
        slope, curvature = jax.vmap(lambda x, p: jax.jvp(lambda y: first(y, p), (x,), (jnp.ones_like(x),)))(
            r, parameters
        )
        return BondStiffness(
            i=i,
            j=j,
            mask=mask,
            distance=r,
            direction=direction,
            transverse=jnp.where(mask, slope / r, 0.0),
            longitudinal=jnp.where(mask, curvature, 0.0),
        )

    def _distances(
        self,
        configuration: Configuration,
        i: PairIndex,
        j: PairIndex,
        mask: PairMask,
    ) -> tuple[Float[Array, " p"], Float[Array, "p d"]]:
        """Distance and vector of each pair. Padding has the cutoff for distance, which avoids divisions by zero."""
        displacement = configuration.displacement(i, j)
        squared = jnp.sum(displacement**2, axis=-1)
        return jnp.sqrt(jnp.where(mask, squared, jax.lax.stop_gradient(self.cutoff) ** 2)), displacement


def _scatter(
    configuration: Configuration, i: PairIndex, j: PairIndex, force: Float[Array, "p d"]
) -> Float[Array, "n d"]:
    """Sum a vector of each pair over the pairs of each particle: with plus at `i`, with minus at `j`."""
    nothing = jnp.zeros_like(configuration.fractional)
    return nothing.at[i].add(force) - nothing.at[j].add(force)
