"""The spectrum of a minimum as numbers to report and to draw."""

import dataclasses

import numpy as np

from ._hessian import ZERO_MODE
from ._vibrations import VibrationalModes

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
