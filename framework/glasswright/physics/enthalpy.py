"""Minima of the enthalpy `h = U + p V`: particles at rest in a box that is free to change under a pressure.

In the displacements `u` of the particles and the strain `e` of the box, the Hessian of the enthalpy is
`[[H, -Xi], [-Xi^T, D]]`. The factored `H` and its Schur complement `S = D - Xi^T H^-1 Xi`, a matrix of at most six
rows, solve all of it.
"""

from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .._jax import constant
from .configuration import Configuration
from .elasticity import strain_basis
from .hessian import ZERO_MODE, AbstractHessian
from .pair_list import PairList
from .potential import AbstractPotential
from .state import Equilibrium

# How a box may change: its size alone, or its size and its shape.
BoxFreedom = Literal["isotropic", "flexible"]


def box_strains(freedom: BoxFreedom, dimension: int) -> Float[Array, "k d d"]:
    """The strains that a box is free to undergo: the identity alone, or all of `strain_basis`."""
    return jnp.eye(dimension)[None] if freedom == "isotropic" else strain_basis(dimension)


def volume_curvature(strains: Float[Array, "k d d"]) -> Float[Array, "k k"]:
    """`(1/V) d²V/de_a de_b` under `r -> (1 + e) r`: `tr e_a tr e_b - tr e_a e_b`."""
    traces = jnp.einsum("kii->k", strains)
    return traces[:, None] * traces[None, :] - jnp.einsum("kij,lji->kl", strains, strains)


class BoxResponse(eqx.Module):
    """How strains of the box act on the particles of a minimum, and what they cost.

    **Attributes:**

    - `force`: the forces `Xi_a` on all particles under each strain, in energy per length.
    - `displacement`: the displacements `X_a = H^-1 Xi_a` that relax them, in units of length.
    - `stiffness`: second derivatives `S` of the enthalpy in the strains with the particles relaxed, an energy:
      `S = V C + p d²V/de de` with the elastic tensor `C`.
    - `compliance`: the inverse of the stiffness.
    """

    force: Float[Array, "k n d"]
    displacement: Float[Array, "k n d"]
    stiffness: Float[Array, "k k"]
    compliance: Float[Array, "k k"]

    @property
    def is_stable(self) -> Bool[Array, ""]:
        """Whether every strain raises the enthalpy."""
        eigenvalues = jnp.linalg.eigvalsh(self.stiffness)
        stable: Bool[Array, ""] = eigenvalues[0] > ZERO_MODE * jnp.max(jnp.abs(eigenvalues))
        return stable

    def solve(
        self, hessian: AbstractHessian, gradient: Float[Array, "n d"], slope: Float[Array, " k"]
    ) -> tuple[Float[Array, "n d"], Float[Array, " k"]]:
        """Displacements `u` and strains `e` with `H u - Xi e = gradient` and `D e - Xi^T u = slope`."""
        bare = hessian.solve(gradient)
        amplitude = self.compliance @ (slope + jnp.tensordot(self.force, bare, axes=((1, 2), (0, 1))))
        return bare + jnp.tensordot(amplitude, self.displacement, 1), amplitude


def box_response(
    potential: AbstractPotential,
    configuration: Configuration,
    neighbors: PairList,
    hessian: AbstractHessian,
    pressure: Float[Array, ""],
    strains: Float[Array, "k d d"],
) -> BoxResponse:
    """The response of the box of a minimum to `strains`, three or six of them, or one.

    **Arguments:**

    - `potential`, `configuration`, `neighbors`: the minimum.
    - `hessian`: its factored Hessian, at fixed box.
    - `pressure`: in energy per volume.
    """
    force = -potential.strain_gradient(configuration, neighbors, strains)
    displacement = hessian.solve(force)
    relaxed = potential.second_variation(configuration, neighbors, strains, displacement)
    stiffness = relaxed + pressure * configuration.volume * volume_curvature(strains)
    return BoxResponse(force, displacement, stiffness, jnp.linalg.inv(stiffness))


def attach_enthalpy_minimum(
    potential: AbstractPotential,
    configuration: Configuration,
    neighbors: PairList,
    hessian: AbstractHessian,
    pressure: Float[Array, ""],
    freedom: BoxFreedom,
) -> Equilibrium:
    """A minimum of the enthalpy as a differentiable function of the potential and the pressure.

    As `attach_equilibrium`, with the strains of the box among the variables that the implicit function theorem is
    applied to. Properties read an equilibrium whose box carries a derivative as well.

    **Arguments:**

    - `potential`: the interactions, carrying the derivative.
    - `configuration`: a minimum of the enthalpy. What its box carries of a derivative is relaxed again, as far as the
      box is free.
    - `neighbors`: the interacting pairs.
    - `hessian`: the factored Hessian of the minimum at fixed box.
    - `pressure`: in energy per volume; it may carry a derivative.
    - `freedom`: how the box may change.
    """
    strains = box_strains(freedom, configuration.dimension)
    fixed = Configuration(
        fractional=jax.lax.stop_gradient(configuration.fractional),
        box=configuration.box,
        species=configuration.species,
        disorder=configuration.disorder,
    )
    still = constant((potential, fixed, pressure))
    response = box_response(still[0], still[1], neighbors, hessian, still[2], strains)
    _, gradient, virial = potential.energy_gradient_and_virial(fixed, neighbors)
    slope = jnp.einsum("kij,ij->k", strains, virial + pressure * fixed.volume * jnp.eye(fixed.dimension))
    displacement, amplitude = response.solve(hessian, gradient, slope)
    strain = jnp.tensordot(amplitude, strains, 1)
    moved = fixed.strained(jax.lax.stop_gradient(strain) - strain)
    moved = moved.moved(jax.lax.stop_gradient(displacement) - displacement)
    return Equilibrium(potential=potential, configuration=moved, neighbors=neighbors, hessian=hessian)
