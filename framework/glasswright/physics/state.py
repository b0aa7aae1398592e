"""States of matter that protocols prepare and properties are measured on."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .bonds import BondContributions, bond_contributions
from .configuration import Configuration
from .elasticity import assemble_elastic_tensor, strain_basis
from .hessian import AbstractHessian
from .pair_list import PairList
from .potential import AbstractPotential
from .vibrations import VibrationalModes, vibrational_modes

# A packing is rigid if some strain costs more than this share of what it would cost if particles moved affinely.
# A solid carries at least one state of self-stress, of at most as many as it has bonds, and resists by about that
# share: 1e-4 for ten thousand bonds, a half for jammed spheres. In packings that float, contacts overlap by what the
# force tolerance leaves. The share is then 1e-10 for harmonic contacts and up to 3e-7 for Hertzian ones (tolerance
# 1e-12, N = 96), whose stiffness vanishes with the overlap.
RIGID = 1e-5


class State(eqx.Module):
    """A prepared configuration with its interactions, both carrying derivatives with respect to the design variables.

    Protocols make states, and properties are measured on them.

    **Attributes:**

    - `potential`: the interactions.
    - `configuration`: the prepared configuration.
    """

    potential: eqx.AbstractVar[AbstractPotential]
    configuration: eqx.AbstractVar[Configuration]


class Equilibrium(State):
    """A minimum of the energy with its linear response, differentiable in the potential and in the box.

    There is a single factored Hessian and a single elastic tensor, computed at first use, however many properties need
    them.

    **Attributes:**

    - `potential`, `configuration`: as in every state.
    - `neighbors`: the interacting pairs.
    - `hessian`: the factored Hessian; it carries no derivative, and none is needed.
    """

    potential: AbstractPotential
    configuration: Configuration
    neighbors: PairList
    hessian: AbstractHessian

    @functools.cached_property
    def energy(self) -> Float[Array, ""]:
        """Potential energy `U`."""
        return self.potential.energy(self.configuration, self.neighbors)

    @functools.cached_property
    def stress(self) -> Float[Array, "d d"]:
        """`(1/V) dU/de` under the affine strain `r -> (1 + e) r`: positive under tension, in energy per volume."""
        d = self.configuration.dimension
        zero = jnp.zeros((d, d))
        slope: Array = jax.grad(lambda e: self.potential.energy(self.configuration.strained(e), self.neighbors))(zero)
        return slope / self.configuration.volume

    @functools.cached_property
    def _strain_force(self) -> Float[Array, "m n d"]:
        """Forces `Xi_a` on all particles under each unit strain of `strain_basis`, in energy per length."""
        strains = strain_basis(self.configuration.dimension)
        return -self.potential.strain_gradient(self.configuration, self.neighbors, strains)

    @functools.cached_property
    def _fixed_response(self) -> Float[Array, "m n d"]:
        """`response` without its derivative."""
        # Stopped behind the potential and not in front of it, where stop_gradient would make arrays of its floats.
        return self.hessian.solve(jax.lax.stop_gradient(self._strain_force))

    @functools.cached_property
    def response(self) -> Float[Array, "m n d"]:
        """Non-affine displacement `X_a = H^-1 Xi_a` under each unit strain of `strain_basis`, in units of length.

        This is the `displacement` under the forces `Xi_a` of the strain.
        """
        return self._displaced(self._strain_force, self._fixed_response)

    def displacement(self, force: Float[Array, "m n d"]) -> Float[Array, "m n d"]:
        """Displacement `u = H^-1 f` of all particles under forces `f`, to first order.

        Its derivative is that of `u - H^-1 (H(theta) u - f(theta))` with `H^-1` and `u` held fixed. The centre of mass
        and rattlers do not move under any force.

        **Arguments:**

        - `force`: `m` sets of forces on all particles, in energy per length.

        **Returns:** `m` sets of displacements, shape `(m, n, d)`, in units of length.
        """
        return self._displaced(force, self.hessian.solve(jax.lax.stop_gradient(force)))

    def _displaced(self, force: Float[Array, "m n d"], fixed: Float[Array, "m n d"]) -> Float[Array, "m n d"]:
        """The displacement `fixed` under `force` with its derivative attached."""
        product = jax.vmap(lambda u: self.potential.hessian_product(self.configuration, self.neighbors, u))(fixed)
        correction = self.hessian.solve(product - force)
        return fixed - (correction - jax.lax.stop_gradient(correction))

    @functools.cached_property
    def elastic_tensor(self) -> Float[Array, "d d d d"]:
        """`C_ijkl = (1/V) [d²U/de_ij de_kl - Xi_ij H^-1 Xi_kl]`, in energy per volume.

        Second derivatives are taken in the linear strain, prestress included (docs/physics.md). `C` is stationary in
        the response, which needs no derivative here: the tensor is the second derivative of the energy along the joint
        change of strain and response, and its gradient contains third derivatives of the energy only. Where the
        packing is not rigid (`is_rigid`) and nothing but rounding is left, `C` is exactly zero, and ratios of moduli
        are not a number.
        """
        d = self.configuration.dimension
        return assemble_elastic_tensor(jnp.where(self.is_rigid, self._strain_cost, 0.0) / self.configuration.volume, d)

    @functools.cached_property
    def _strain_cost(self) -> Float[Array, "m m"]:
        """Second derivatives of the energy in the strains of `strain_basis`, with the response to them."""
        strains, fixed = strain_basis(self.configuration.dimension), self._fixed_response
        return self.potential.second_variation(self.configuration, self.neighbors, strains, fixed)

    @functools.cached_property
    def is_rigid(self) -> Bool[Array, ""]:
        """Whether the packing is a solid: whether any strain costs energy, relative to an affine deformation.

        An affine deformation costs the elastic energy and what the response regains, `Xi H^-1 Xi`. If nothing of it is
        left, the packing floats, as spheres below jamming do and clusters that are free of each other. It has neither a
        bulk nor a shear modulus then, and no ratio of them.
        """
        response, force = self._fixed_response, jax.lax.stop_gradient(self._strain_force)
        relaxed = jnp.tensordot(force, response, axes=((1, 2), (1, 2)))
        # Negated, so that a response that is not a number is not taken for none.
        return ~(jnp.max(jnp.abs(self._strain_cost)) <= RIGID * jnp.max(jnp.abs(relaxed)))

    @functools.cached_property
    def bond_contributions(self) -> BondContributions:
        """The contribution of each bond to the bulk and to the shear modulus, for pair potentials."""
        return bond_contributions(self.potential, self.configuration, self.neighbors, self.response)

    @functools.cached_property
    def vibrations(self) -> VibrationalModes:
        """The normal modes, from an eigendecomposition of the Hessian."""
        return vibrational_modes(self.potential, self.configuration, self.neighbors)


def attach_equilibrium(
    potential: AbstractPotential, configuration: Configuration, neighbors: PairList, hessian: AbstractHessian
) -> Equilibrium:
    """A minimum as a differentiable function of the potential and of the box, by the implicit function theorem.

    `R(theta) = R* - H^-1 dU/dR(theta, R*)` with `H` and `R*` held fixed has the value `R*` and the exact first
    derivative of the minimum, in both modes of differentiation. A box that carries a derivative deforms the packing at
    fixed fractional positions; the correction is then the non-affine displacement.

    **Arguments:**

    - `potential`: the interactions, carrying the derivative.
    - `configuration`: a minimum of their energy; only its box may carry a derivative.
    - `neighbors`: the interacting pairs.
    - `hessian`: the factored Hessian of the minimum.
    """
    fixed = Configuration(
        fractional=jax.lax.stop_gradient(configuration.fractional),
        box=configuration.box,
        species=configuration.species,
        disorder=configuration.disorder,
    )
    correction = hessian.solve(potential.gradient(fixed, neighbors))
    moved = fixed.moved(jax.lax.stop_gradient(correction) - correction)
    return Equilibrium(potential=potential, configuration=moved, neighbors=neighbors, hessian=hessian)
