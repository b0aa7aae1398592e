import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .bonds import BondContributions, bond_contributions
from .configuration import Configuration
from .elasticity import assemble_elastic_tensor, strain_basis
from .hessian import ZERO_MODE, AbstractHessian
from .pair_list import PairList
from .potential import AbstractPotential
from .vibrations import VibrationalModes, vibrational_modes


class State(eqx.Module):
    """What a protocol gives and a property reads: a configuration and its interactions, both carrying derivatives.

    **Attributes:**

    - `potential`: the interactions, differentiable in the design variables.
    - `configuration`: the prepared configuration as a differentiable function of the design variables.
    """

    potential: eqx.AbstractVar[AbstractPotential]
    configuration: eqx.AbstractVar[Configuration]


class Equilibrium(State):
    """A minimum of the energy with its linear response, all differentiable in the potential.

    Properties share what they ask for: there is one factored Hessian and one elastic tensor, computed at first use.

    **Attributes:**

    - `potential`, `configuration`: as in every state.
    - `neighbors`: the interacting pairs.
    - `hessian`: the inverse of the Hessian at the minimum; carries no derivative, none is needed.
    """

    potential: AbstractPotential
    configuration: Configuration
    neighbors: PairList
    hessian: AbstractHessian

    @functools.cached_property
    def energy(self) -> Float[Array, ""]:
        """Potential energy."""
        return self.potential.energy(self.configuration, self.neighbors)

    @functools.cached_property
    def stress(self) -> Float[Array, "d d"]:
        """`(1/V) dU/de` under the affine strain `r -> (1 + e) r`: positive under tension, energy per volume."""
        d = self.configuration.dimension
        zero = jnp.zeros((d, d))
        slope = jax.grad(lambda e: self.potential.energy(self.configuration.strained(e), self.neighbors))(zero)
        return slope / self.configuration.volume

    @functools.cached_property
    def _strain_force(self) -> Float[Array, "m n d"]:
        """Forces `Xi_a` that each unit strain of `strain_basis` makes."""
        strains = strain_basis(self.configuration.dimension)
        return -self.potential.strain_gradient(self.configuration, self.neighbors, strains)

    @functools.cached_property
    def _fixed_response(self) -> Float[Array, "m n d"]:
        """Non-affine displacement under each unit strain of `strain_basis`, without derivative."""
        # The derivative is stopped behind the potential: in front of it, its plain numbers would become traced ones.
        return self.hessian.solve(jax.lax.stop_gradient(self._strain_force))

    @functools.cached_property
    def response(self) -> Float[Array, "m n d"]:
        """Non-affine displacement `X_a = H^-1 Xi_a` under each unit strain of `strain_basis`, in units of length.

        It is the displacement under the forces `Xi_a` that the strain makes, and has its derivative as that has.
        """
        return self._displaced(self._strain_force, self._fixed_response)

    def displacement(self, force: Float[Array, "m n d"]) -> Float[Array, "m n d"]:
        """Displacement `u = H^-1 f` of all particles under each of `m` sets of forces, in units of length.

        Its derivative is attached by `u - H^-1 (H(theta) u - f(theta))` with the first `H^-1` and `u` held fixed.
        Translations and rattlers stay where they are, whatever pushes them.
        """
        return self._displaced(force, self.hessian.solve(jax.lax.stop_gradient(force)))

    def _displaced(self, force: Float[Array, "m n d"], fixed: Float[Array, "m n d"]) -> Float[Array, "m n d"]:
        """The displacement `fixed` with its derivative."""
        product = jax.vmap(lambda u: self.potential.hessian_product(self.configuration, self.neighbors, u))(fixed)
        correction = self.hessian.solve(product - force)
        return fixed - (correction - jax.lax.stop_gradient(correction))

    @functools.cached_property
    def elastic_tensor(self) -> Float[Array, "d d d d"]:
        """`C_ijkl = (1/V) [d²U/de_ij de_kl - Xi_ij H^-1 Xi_kl]`, energy per volume (conventions: docs/physics.md).

        It is stationary in the response, which therefore needs no derivative here: `C` is the second derivative of the
        energy along the joint move of strain and response, and only third derivatives of the energy enter its gradient.
        It is exactly zero where nothing but rounding is left of it, as in clusters that float free of each other: so
        no ratio of moduli is taken for a number there.
        """
        d = self.configuration.dimension
        strains, fixed = strain_basis(d), self._fixed_response
        second = self.potential.second_variation(self.configuration, self.neighbors, strains, fixed)
        relaxed = jnp.tensordot(jax.lax.stop_gradient(self._strain_force), fixed, axes=((1, 2), (1, 2)))
        is_rigid = jnp.max(jnp.abs(second)) > ZERO_MODE * jnp.max(jnp.abs(relaxed))
        return assemble_elastic_tensor(jnp.where(is_rigid, second, 0.0) / self.configuration.volume, d)

    @functools.cached_property
    def bond_contributions(self) -> BondContributions:
        """What each bond contributes to the bulk and to the shear modulus; pair potentials only."""
        return bond_contributions(self.potential, self.configuration, self.neighbors, self.response)

    @functools.cached_property
    def vibrations(self) -> VibrationalModes:
        """Frequencies and vectors of the normal modes, by an eigendecomposition."""
        return vibrational_modes(self.potential, self.configuration, self.neighbors)


def attach_equilibrium(
    potential: AbstractPotential, configuration: Configuration, neighbors: PairList, hessian: Any
) -> Equilibrium:
    """The minimum as a differentiable function of the potential and of the box, by the implicit function theorem.

    `R(theta) = R* - H^-1 dU/dR(theta, R*)` with `H` and `R*` held fixed has the exact first derivative of the minimum,
    in both modes of differentiation, without a custom rule; its value is `R*` itself. A box that carries a derivative
    is allowed: fractional positions are then fixed by the affine motion and the correction is the non-affine one.
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
