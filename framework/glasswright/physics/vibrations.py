"""The normal modes of a minimum, and the spectrum of its vibrations."""

import dataclasses
import functools
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .configuration import Configuration
from .hessian import ZERO_MODE
from .pair_list import PairList
from .potential import AbstractPotential

ArrayOrNumpy = TypeVar("ArrayOrNumpy", Array, np.ndarray)


class VibrationalModes(eqx.Module):
    """Eigenvalues and eigenvectors of the Hessian, `H e_m = w_m² e_m` with `|e_m| = 1`, for particles of mass one.

    The decomposition is computed without derivative, and the derivative of first-order perturbation theory is attached
    to it: `d(w_m²) = e_m dH e_m` and `de_m = sum_k e_k (e_k dH e_m) / (w_m² - w_k²)`. Automatic differentiation would
    divide by the differences of all eigenvalues, which vanish for translations. With the first formula, symmetric
    functions of the frequencies, such as a density of states, have exact derivatives even for repeated eigenvalues. The
    eigenvectors of a repeated eigenvalue are not unique, and are not a number.

    Costs an eigendecomposition and products of matrices of `n d` rows.

    **Attributes:** arrays over the `n d` modes, in ascending order of eigenvalues.

    - `product`: the Hessian, with its derivative, times the eigenvectors.
    - `fixed_eigenvalue`, `fixed_vector`: the decomposition without derivative; eigenvectors are columns.
    - `dimension`: `d`.
    """

    product: Float[Array, "nd nd"]
    fixed_eigenvalue: Float[Array, " nd"]
    fixed_vector: Float[Array, "nd nd"]
    dimension: int = eqx.field(static=True)

    @property
    def is_vibration(self) -> Bool[Array, " nd"]:
        """Which modes are not zero modes, that is, translations, rattlers and clusters that float free."""
        size = jnp.abs(self.fixed_eigenvalue)
        return size > ZERO_MODE * jnp.max(size)

    @property
    def n_vibrations(self) -> Int[Array, ""]:
        """Number of modes that are not zero modes."""
        return jnp.sum(self.is_vibration)

    @functools.cached_property
    def eigenvalue(self) -> Float[Array, " nd"]:
        """`w_m²`, in energy per squared length, for a mass of one."""
        rayleigh = jnp.sum(self.fixed_vector * self.product, axis=0)
        return self.fixed_eigenvalue + (rayleigh - jax.lax.stop_gradient(rayleigh))

    @functools.cached_property
    def frequency(self) -> Float[Array, " nd"]:
        """`w_m`, in energy^(1/2) per length; zero for zero modes, not a number for unstable modes."""
        return jnp.where(self.is_vibration, jnp.sqrt(jnp.where(self.is_vibration, self.eigenvalue, 1.0)), 0.0)

    @functools.cached_property
    def vector(self) -> Float[Array, "nd n d"]:
        """`e_m` as displacements of all particles, dimensionless; those of zero modes carry no derivative."""
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
        """`p_m = (sum_i |e_mi|²)² / (N sum_i |e_mi|⁴)`: 1 if all particles move alike, `1/N` if a single one moves."""
        return _participation_ratio((self.vector**2).sum(axis=2), axis=1)


def vibrational_modes(
    potential: AbstractPotential, configuration: Configuration, neighbors: PairList
) -> VibrationalModes:
    """Compute the normal modes of a minimum.

    **Arguments:**

    - `potential`, `configuration`: the interactions and the minimum, which may carry derivatives.
    - `neighbors`: the interacting pairs.
    """
    matrix = potential.hessian(configuration, neighbors)
    eigenvalue, vector = jnp.linalg.eigh(jax.lax.stop_gradient(matrix), symmetrize_input=False)
    return VibrationalModes(matrix @ vector, eigenvalue, vector, configuration.dimension)


# An eigendecomposition of this many coordinates takes a minute and 2 GB.
MOST_COORDINATES = 6000


@dataclasses.dataclass(frozen=True)
class Spectrum:
    """The vibrations of a packing in ascending order of frequency, without zero modes and unstable modes.

    **Attributes:** arrays over the `m` vibrations.

    - `frequency`: `w`, shape `(m,)`, in energy^(1/2) per length, for masses of one.
    - `participation_ratio`: that of each vibration, shape `(m,)`; see `VibrationalModes`.
    - `softest`: displacements of all particles in the softest vibration, shape `(n, d)`, of norm one; zero if there is
      no vibration.
    - `n_zero_modes`: number of modes without stiffness: translations, rattlers, and clusters that float free.
    - `n_unstable_modes`: number of modes of negative stiffness, of which a minimum has none.
    """

    frequency: np.ndarray
    participation_ratio: np.ndarray
    softest: np.ndarray
    n_zero_modes: int
    n_unstable_modes: int


def spectrum(modes: VibrationalModes) -> Spectrum:
    """The vibrations among the normal modes, without derivatives."""
    is_vibration, is_positive = np.asarray(modes.is_vibration), np.asarray(modes.fixed_eigenvalue) > 0.0
    stable = is_vibration & is_positive
    # Not the vectors with derivatives, which are not a number for repeated eigenvalues.
    vectors = np.asarray(modes.fixed_vector)[:, stable]
    displacements = vectors.reshape(len(vectors) // modes.dimension, modes.dimension, vectors.shape[1])
    return Spectrum(
        frequency=np.asarray(modes.frequency)[stable],
        participation_ratio=_participation_ratio((displacements**2).sum(axis=1), axis=0),
        softest=displacements[..., 0] if np.any(stable) else np.zeros(displacements.shape[:2]),
        n_zero_modes=int(np.sum(~is_vibration)),
        n_unstable_modes=int(np.sum(is_vibration & ~is_positive)),
    )


def _participation_ratio(squared: ArrayOrNumpy, axis: int) -> ArrayOrNumpy:
    """The participation ratio from the squared displacement of each particle; particles are along `axis`."""
    ratio: ArrayOrNumpy = squared.sum(axis=axis) ** 2 / (squared.shape[axis] * (squared**2).sum(axis=axis))
    return ratio


def density_of_states(frequency: np.ndarray, n_bins: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """The density of states `D(w)` as a histogram, whose integral is one.

    **Arguments:**

    - `frequency`: frequencies in ascending order.
    - `n_bins`: number of equal intervals between zero and the highest frequency.

    **Returns:** the edges of the intervals, shape `(n_bins + 1,)`, and the heights, shape `(n_bins,)`.
    """
    edges = np.linspace(0.0, float(frequency[-1]) * (1.0 + 1e-12), n_bins + 1)
    heights, _ = np.histogram(frequency, bins=edges, density=True)
    return edges, heights
