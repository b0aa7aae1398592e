"""The normal modes of a minimum, with derivatives that repeated eigenvalues do not spoil."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ._configuration import Configuration
from ._hessian import ZERO_MODE
from ._potential import AbstractPotential
from .neighbors import PairList


class VibrationalModes(eqx.Module):
    """Eigenvalues and eigenvectors of the Hessian: `H e_m = w_m² e_m` with particles of mass one, `|e_m| = 1`.

    Automatic differentiation of an eigendecomposition divides by the differences of all eigenvalues, and translations
    alone make that infinite. Here the modes are computed once, without derivative, and first-order perturbation
    theory is attached to them: `d(w_m²) = e_m dH e_m`, with no division, and `de_m = sum_k e_k (e_k dH e_m) / (w_m² -
    w_k²)`. Every symmetric function of the frequencies, such as a density of states, has its exact derivative for
    repeated eigenvalues too. A vector whose frequency is repeated has none, nor a value of its own, and is not a
    number.

    Costs an eigendecomposition and products of matrices of `n d` rows.

    **Attributes:** arrays over modes, in order of their eigenvalues.

    - `product`: Hessian, with its derivative, times the modes.
    - `fixed_eigenvalue`, `fixed_vector`: the decomposition without derivative; modes are columns.
    - `dimension`: `d`.
    """

    product: Float[Array, "nd nd"]
    fixed_eigenvalue: Float[Array, " nd"]
    fixed_vector: Float[Array, "nd nd"]
    dimension: int = eqx.field(static=True)

    @property
    def is_vibration(self) -> Bool[Array, " nd"]:
        """Which modes are none of the zero modes: translations, rattlers, motions of clusters that float free."""
        size = jnp.abs(self.fixed_eigenvalue)
        return size > ZERO_MODE * jnp.max(size)

    @property
    def n_vibrations(self) -> Int[Array, ""]:
        """How many modes are no zero modes."""
        return jnp.sum(self.is_vibration)

    @functools.cached_property
    def eigenvalue(self) -> Float[Array, " nd"]:
        """`w_m²`, energy per squared length (and mass, which is one)."""
        found = jnp.sum(self.fixed_vector * self.product, axis=0)
        return self.fixed_eigenvalue + (found - jax.lax.stop_gradient(found))

    @functools.cached_property
    def frequency(self) -> Float[Array, " nd"]:
        """`w_m`; zero for zero modes, not a number for unstable ones."""
        return jnp.where(self.is_vibration, jnp.sqrt(jnp.where(self.is_vibration, self.eigenvalue, 1.0)), 0.0)

    @functools.cached_property
    def vector(self) -> Float[Array, "nd n d"]:
        """`e_m` of each vibration as displacements of all particles; those of zero modes carry no derivative."""
        coupling = self.fixed_vector.T @ self.product
        gap = self.fixed_eigenvalue[None, :] - self.fixed_eigenvalue[:, None]
        other = ~jnp.eye(gap.shape[0], dtype=bool) & self.is_vibration[None, :]
        near = jnp.abs(gap) <= ZERO_MODE * jnp.max(jnp.abs(self.fixed_eigenvalue))
        mixing = (coupling - jax.lax.stop_gradient(coupling)) / jnp.where(other & ~near, gap, 1.0)
        mixing = jnp.where(other, jnp.where(near, jnp.nan, mixing), 0.0)
        vector = self.fixed_vector + self.fixed_vector @ mixing
        return vector.T.reshape(gap.shape[0], -1, self.dimension)

    @property
    def participation_ratio(self) -> Float[Array, " nd"]:
        """`(sum_i |e_mi|²)² / (N sum_i |e_mi|⁴)` of each mode: 1 if all move alike, `1/N` if one does."""
        squared = jnp.sum(self.vector**2, axis=2)
        return jnp.sum(squared, axis=1) ** 2 / (squared.shape[1] * jnp.sum(squared**2, axis=1))


def vibrational_modes(
    potential: AbstractPotential, configuration: Configuration, neighbors: PairList
) -> VibrationalModes:
    """The modes of a configuration that carries its derivative."""
    matrix = potential.hessian(configuration, neighbors)
    eigenvalue, vector = jnp.linalg.eigh(jax.lax.stop_gradient(matrix), symmetrize_input=False)
    return VibrationalModes(matrix @ vector, eigenvalue, vector, configuration.dimension)
