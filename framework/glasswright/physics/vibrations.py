"""The normal modes of a minimum, with derivatives that repeated eigenvalues do not spoil."""

import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .configuration import Configuration
from .hessian import ZERO_MODE
from .pair_list import PairList
from .potential import AbstractPotential


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


# An eigendecomposition of so many coordinates takes a minute and 2 GB.
MOST_COORDINATES = 6000


@dataclasses.dataclass(frozen=True)
class Spectrum:
    """The vibrations of a packing, softest first, zero modes left out.

    **Attributes:**

    - `frequency`: `omega = sqrt(lambda)`, shape `(m,)`, in units of `sqrt(energy / mass) / length`, all masses one.
    - `participation_ratio`: `(sum_i |e_i|²)² / (N sum_i |e_i|⁴)`: 1 where all particles move by as much,
      `1/N` where only one does.
    - `softest`: displacement of each particle in the softest mode, shape `(n, d)`, of norm one.
    - `n_zero_modes`: modes without stiffness: translations, rattlers, and clusters that float free.
    - `n_unstable_modes`: modes of negative stiffness, of which a minimum has none; left out of the spectrum.
    """

    frequency: np.ndarray
    participation_ratio: np.ndarray
    softest: np.ndarray
    n_zero_modes: int
    n_unstable_modes: int


def spectrum(modes: VibrationalModes) -> Spectrum:
    """The stable vibrations among the modes of a Hessian."""
    eigenvalues, vectors = np.asarray(modes.fixed_eigenvalue), np.asarray(modes.fixed_vector)
    limit = ZERO_MODE * float(np.max(np.abs(eigenvalues)))
    some = eigenvalues > limit
    n = len(eigenvalues) // modes.dimension
    moves = vectors[:, some].reshape(n, modes.dimension, -1)
    squared = np.sum(moves**2, axis=1)
    return Spectrum(
        frequency=np.sqrt(eigenvalues[some]),
        participation_ratio=np.sum(squared, axis=0) ** 2 / (n * np.sum(squared**2, axis=0)),
        softest=moves[..., 0] if np.any(some) else np.zeros((n, modes.dimension)),
        n_zero_modes=int(np.sum(np.abs(eigenvalues) <= limit)),
        n_unstable_modes=int(np.sum(eigenvalues < -limit)),
    )


def density_of_states(frequency: np.ndarray, n_bins: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Edges and heights of `D(omega)`, the share of modes for each unit of frequency: its integral is one."""
    edges = np.linspace(0.0, float(frequency[-1]) * (1.0 + 1e-12), n_bins + 1)
    heights, _ = np.histogram(frequency, bins=edges, density=True)
    return edges, heights
