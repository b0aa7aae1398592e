"""The enthalpy as an energy of more particles, so that every minimiser here relaxes the box with the particles.

The deformation of a box is written as the positions of `d` further particles, its rows. Minimisers then need to know
nothing of boxes: they see an energy, its gradient, and a factored Hessian. Sheppard et al., J. Chem. Phys. 136, 074103
(2012) join strains and positions in the same way.
"""

import dataclasses

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from .._jax import fast_jit
from ..physics.configuration import Configuration
from ..physics.elasticity import strain_basis
from ..physics.enthalpy import BoxFreedom, BoxResponse, box_response, box_strains, volume_curvature
from ..physics.hessian import AbstractFactoredHessian, AbstractHessian, DenseHessian, factor_hessian
from ..physics.pair_list import PairList
from ..physics.potential import AbstractPotential
from .saddle import leave_along

AnyNumber = Float[Array | np.ndarray, ""]


class EnthalpyHessian(AbstractHessian):
    """The factored Hessian of the enthalpy, in the displacements of the particles and the rows of the deformation.

    **Attributes:**

    - `hessian`: the factored Hessian of the particles at fixed box.
    - `response`: that of the box.
    - `strains`: those that the box is free to undergo.
    - `deformation`: where it was factored: the lattice vectors relative to those of the extended configuration.
    - `length`: as in `Enthalpy`.
    """

    hessian: AbstractHessian
    response: BoxResponse
    strains: Float[Array, "k d d"]
    deformation: Float[Array, "d d"]
    length: AnyNumber

    @property
    def is_stable(self) -> Bool[Array, ""]:
        """Whether no displacement and no strain lowers the enthalpy; without a factor the particles are not asked."""
        box = self.response.is_stable
        return box & self.hessian.is_stable if isinstance(self.hessian, AbstractFactoredHessian) else box

    def solve(self, force: Float[Array, "m d"]) -> Float[Array, "m d"]:
        """`H^-1` times a force on the particles and on the rows of the deformation, by the Schur complement."""
        d = self.deformation.shape[0]
        inverse, _ = inverse_and_determinant(self.deformation)
        of_box = self.length * force[-d:] @ self.deformation.T
        slope = jnp.einsum("kij,ij->k", self.strains, of_box)
        displacement, amplitude = self.response.solve(self.hessian, force[:-d] @ inverse, slope)
        rows = self.length * jnp.tensordot(amplitude, self.strains, 1) @ self.deformation
        return jnp.concatenate([displacement @ inverse.T, rows])


class Enthalpy(AbstractPotential):
    """The enthalpy `h = U + p V` as an energy of particles and of the rows of the box's deformation.

    It is a function of *extended* configurations. Their last `d` positions `y` are the rows of the deformation
    `F = 1 + y / length`: particles are at `F @ box @ fractional` in the box `F @ box`. If only the size of the box is
    free, `F` is a multiple of the identity.

    **Arguments:**

    - `potential`: the energy `U` of the particles.
    - `pressure`: `p`, in energy per volume.
    - `length`: what a strain is multiplied with to become a position. With the spacing of particles times the root of
      their number, rows are about as stiff as particles.
    - `freedom`: how the box may change.
    """

    potential: AbstractPotential
    pressure: AnyNumber
    length: AnyNumber
    freedom: BoxFreedom = eqx.field(static=True)

    @property
    def cutoff(self) -> Float[Array, ""]:
        """That of the particles."""
        return self.potential.cutoff

    def reach(self, configuration: Configuration) -> Float[Array, ""]:
        """That of the particles."""
        return self.potential.reach(self.particles(configuration))

    def deformation(self, configuration: Configuration) -> Float[Array, "d d"]:
        """`F` of an extended configuration."""
        d = configuration.dimension
        strain = configuration.fractional[-d:] @ configuration.box.T / self.length
        if self.freedom == "isotropic":
            strain = jnp.trace(strain) / d * jnp.eye(d)
        return jnp.eye(d) + strain

    def particles(self, configuration: Configuration) -> Configuration:
        """The particles of an extended configuration, in their box."""
        d = configuration.dimension
        return Configuration(
            fractional=configuration.fractional[:-d],
            box=self.deformation(configuration) @ configuration.box,
            species=configuration.species[:-d],
            disorder={name: field[:-d] for name, field in configuration.disorder.items()},
        )

    def covers(self, configuration: Configuration, neighbors: PairList) -> Bool[Array, ""]:
        """Whether a list that was made in another box certainly holds every pair within the cutoff.

        A strain changes the distance of a pair by at most its largest stretch.
        """
        packing, listed = self.particles(configuration), neighbors.reference
        if listed.n_particles == configuration.n_particles:
            listed = self.particles(listed)
        inverse, _ = inverse_and_determinant(packing.box)
        stretch = 1.0 + jnp.linalg.norm(listed.box @ inverse - jnp.eye(packing.dimension))
        there = dataclasses.replace(packing, box=listed.box)
        in_its_box = dataclasses.replace(neighbors, reference=listed)
        return in_its_box.covers(there, stretch * self.potential.reach(packing))

    def energy(self, configuration: Configuration, neighbors: PairList) -> Float[Array, ""]:
        """The enthalpy."""
        packing = self.particles(configuration)
        return self.potential.energy(packing, neighbors) + self.pressure * packing.volume

    def gradient(self, configuration: Configuration, neighbors: PairList) -> Float[Array, "m d"]:
        """Derivatives of the enthalpy in all positions of an extended configuration."""
        return self.energy_and_gradient(configuration, neighbors)[1]

    def energy_and_gradient(
        self, configuration: Configuration, neighbors: PairList
    ) -> tuple[Float[Array, ""], Float[Array, "m d"]]:
        """`energy` and `gradient` in a single pass over the pairs."""
        packing, deformation = self.particles(configuration), self.deformation(configuration)
        d = configuration.dimension
        energy, gradient, virial = self.potential.energy_gradient_and_virial(packing, neighbors)
        _, determinant = inverse_and_determinant(packing.box)
        work = self.pressure * jnp.abs(determinant)
        inverse, _ = inverse_and_determinant(deformation)
        of_box = (virial + work * jnp.eye(d)) @ inverse.T
        if self.freedom == "isotropic":
            of_box = jnp.trace(of_box) / d * jnp.eye(d)
        return energy + work, jnp.concatenate([gradient @ deformation, of_box / self.length])

    def stiffness_bound(self, configuration: Configuration, neighbors: PairList) -> Float[Array, ""]:
        """Upper bound of the largest eigenvalue, from those of the particles and of the box."""
        packing, d = self.particles(configuration), configuration.dimension
        strains = strain_basis(d)
        strains = strains / jnp.linalg.norm(strains, axis=(1, 2), keepdims=True)
        affine = jnp.zeros((strains.shape[0], *packing.fractional.shape))
        of_box = self.potential.second_variation(packing, neighbors, strains, affine)
        of_box = of_box + self.pressure * packing.volume * volume_curvature(strains)
        widest = 1.0 + jnp.linalg.norm(self.deformation(configuration) - jnp.eye(d))
        largest: Array = jnp.max(jnp.sum(jnp.abs(of_box), axis=1)) / self.length**2
        bound: Array = self.potential.stiffness_bound(packing, neighbors) * widest**2 + largest
        return bound

    def tolerance(self, configuration: Configuration, tolerance: AnyNumber) -> Float[Array, ""]:
        """The largest derivative of an extended configuration whose forces are certainly below a tolerance."""
        inverse, _ = inverse_and_determinant(self.deformation(configuration))
        stretch = 1.0 + jnp.linalg.norm(inverse - jnp.eye(configuration.dimension))
        allowed: Array = jnp.asarray(tolerance) / stretch
        return allowed

    def with_box(self, hessian: AbstractHessian, configuration: Configuration, neighbors: PairList) -> EnthalpyHessian:
        """The factored Hessian of the enthalpy, from that of the particles at fixed box."""
        packing, strains = self.particles(configuration), box_strains(self.freedom, configuration.dimension)
        pressure = jnp.asarray(self.pressure)
        response = box_response(self.potential, packing, neighbors, hessian, pressure, strains)
        return EnthalpyHessian(hessian, response, strains, self.deformation(configuration), self.length)


def extended(configuration: Configuration) -> Configuration:
    """A configuration of particles with the rows of a deformation, which is none."""
    d = configuration.dimension

    def padded(array: Array) -> Array:
        return jnp.concatenate([jnp.asarray(array), jnp.zeros((d, *array.shape[1:]), dtype=array.dtype)])

    return Configuration(
        fractional=padded(configuration.fractional),
        box=configuration.box,
        species=padded(configuration.species),
        disorder={name: padded(field) for name, field in configuration.disorder.items()},
    )


def particles(potential: AbstractPotential, configuration: Configuration) -> Configuration:
    """The particles of a configuration, which the search for a minimum of the enthalpy extends."""
    return potential.particles(configuration) if isinstance(potential, Enthalpy) else configuration


def covers(potential: AbstractPotential, configuration: Configuration, neighbors: PairList) -> Bool[Array, ""]:
    """Whether a pair list certainly holds every pair that interacts."""
    if isinstance(potential, Enthalpy):
        return potential.covers(configuration, neighbors)
    return neighbors.covers(configuration, potential.reach(configuration))


def factor(
    potential: AbstractPotential, configuration: Configuration, neighbors: PairList, stiffness: float = 1.0
) -> DenseHessian | EnthalpyHessian:
    """Factor the Hessian of an energy, or of an enthalpy (see `factor_hessian`)."""
    if not isinstance(potential, Enthalpy):
        return factor_hessian(potential, configuration, neighbors, stiffness)
    hessian = factor_hessian(potential.potential, potential.particles(configuration), neighbors, stiffness)
    return potential.with_box(hessian, configuration, neighbors)


@fast_jit
def leave_box_saddle(
    potential: Enthalpy,
    configuration: Configuration,
    neighbors: PairList,
    factor: EnthalpyHessian,
    distance: Float[Array, ""],
) -> Configuration:
    """Strain the box along its softest mode, the particles relaxed, to where the enthalpy is lower.

    The row or the particle that moves most moves by `distance`.
    """
    _, modes = jnp.linalg.eigh(factor.response.stiffness)
    inverse, _ = inverse_and_determinant(factor.deformation)
    rows = factor.length * jnp.tensordot(modes[:, 0], factor.strains, 1) @ factor.deformation
    mode = jnp.concatenate([jnp.tensordot(modes[:, 0], factor.response.displacement, 1) @ inverse.T, rows])
    lower: Configuration = leave_along(potential, configuration, neighbors, mode, distance)
    return lower


@fast_jit
def _largest_move(start: Configuration, end: Configuration) -> Float[Array, ""]:
    shift = end.position - start.position
    return jnp.max(jnp.linalg.norm(shift - jnp.mean(shift, axis=0)[None], axis=1))


def largest_move(potential: AbstractPotential, start: Configuration, end: Configuration) -> float:
    """The largest distance of a particle from its start, apart from a drift of all, in units of length."""
    if isinstance(potential, Enthalpy):
        # In the box of the start.
        rows, box, species = start.dimension, start.box, start.species
        start, end = (
            Configuration(fractional=c.fractional[:-rows], box=box, species=species[:-rows]) for c in (start, end)
        )
    return float(_largest_move(start, end))


def inverse_and_determinant(matrix: Float[Array, "d d"]) -> tuple[Float[Array, "d d"], Float[Array, ""]]:
    """Inverse and determinant of a matrix of two or three rows, by cofactors: in a loop, LAPACK's calls would show."""
    if matrix.shape[0] == 2:
        (a, b), (c, d) = matrix
        determinant = a * d - b * c
        return jnp.stack([jnp.stack([d, -b]), jnp.stack([-c, a])]) / determinant, determinant
    first, second, third = matrix
    columns = jnp.stack([jnp.cross(second, third), jnp.cross(third, first), jnp.cross(first, second)], axis=1)
    determinant = jnp.dot(first, columns[:, 0])
    return columns / determinant, determinant


particles_of = fast_jit(particles)


@fast_jit
def tolerance_of(
    potential: Enthalpy, configuration: Configuration, tolerance: Float[Array | np.ndarray, ""]
) -> Float[Array, ""]:
    """`Enthalpy.tolerance`, compiled."""
    return potential.tolerance(configuration, tolerance)


@fast_jit
def enthalpy_hessian(
    potential: Enthalpy, hessian: AbstractHessian, configuration: Configuration, neighbors: PairList
) -> EnthalpyHessian:
    """`Enthalpy.with_box`, compiled."""
    return potential.with_box(hessian, configuration, neighbors)
