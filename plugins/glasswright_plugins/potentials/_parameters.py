"""What potentials share: parameters of species and of pairs of species, and the smoothing of a cutoff."""

from collections.abc import Mapping, Sequence
from typing import Any

import glasswright as gw
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int

PerSpecies = float | Sequence[float] | Array | np.ndarray
PerPair = float | Sequence[float] | Sequence[Sequence[float]] | Array | np.ndarray


def per_species(owner: str, name: str, value: PerSpecies, n_species: int) -> Float[Array, " s"]:
    """A parameter of each species as an array; a scalar applies to all."""
    value = jnp.asarray(value, dtype=float)
    if value.ndim == 0:
        return jnp.full(n_species, value)
    if value.shape != (n_species,):
        raise ValueError(
            f"{owner}({name}={value.tolist()}): {n_species} species need one number for all or {n_species}, one for "
            "each."
        )
    return value


def per_pair(owner: str, name: str, value: PerPair, n_species: int) -> Float[Array, " t"]:
    """A parameter of each pair of species as a packed array: upper triangle, row by row. A scalar applies to all."""
    n_pairs = n_species * (n_species + 1) // 2
    try:
        value = jnp.asarray(value, dtype=float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{owner}({name}={value}): rows must have equal lengths.") from error
    if value.ndim == 0:
        return jnp.full(n_pairs, value)
    if value.shape == (n_species, n_species):
        if gw.is_concrete(value) and not np.array_equal(value, value.T):
            raise ValueError(f"{owner}({name}={value.tolist()}): the matrix must be symmetric.")
        return value[jnp.triu_indices(n_species)]
    if value.shape != (n_pairs,):
        raise ValueError(
            f"{owner}({name}={value.tolist()}): {n_species} species need one number for all, a symmetric "
            f"{n_species} x {n_species} matrix, or its packed upper triangle of {n_pairs} numbers."
        )
    return value


def species_parameters(
    owner: str, n_species: int | None, diameter: PerSpecies | None, binding_energy: PerPair
) -> tuple[Float[Array, " s"], Float[Array, " t"]]:
    """Diameters of the species and energies of their pairs, as a potential keeps them.

    Defaults: as many species as there are diameters, or two; diameters 0.8 for the first half of the species and 1.0
    for the others.
    """
    if n_species is None:
        n_species = np.shape(diameter)[0] if diameter is not None and np.ndim(diameter) > 0 else 2
    if diameter is None:
        diameter = jnp.where(jnp.arange(n_species) < n_species // 2, 0.8, 1.0)
    return (
        per_species(owner, "diameter", diameter, n_species),
        per_pair(owner, "binding_energy", binding_energy, n_species),
    )


def pair_index(a: Int[Array, " p"], b: Int[Array, " p"], n_species: int) -> Int[Array, " p"]:
    """Index of the pair of species `a`, `b` in a packed array."""
    low, high = jnp.minimum(a, b), jnp.maximum(a, b)
    return low * n_species - low * (low - 1) // 2 + high - low


def check(
    owner: str, *, positive: Mapping[str, Any] | None = None, not_negative: Mapping[str, Any] | None = None
) -> None:
    """Raise a `ValueError` for parameters that are out of range; traced ones are not checked."""
    for parameters, least in ((positive or {}, "positive"), (not_negative or {}, "not negative")):
        for name, value in parameters.items():
            if not gw.is_concrete(value):
                continue
            inside = np.all(np.asarray(value) > 0) if least == "positive" else np.all(np.asarray(value) >= 0)
            if not (inside and np.all(np.isfinite(value))):
                raise ValueError(f"{owner}({name}={np.asarray(value).tolist()}): must be {least} and finite.")


# The smoothing of Morse potentials begins and ends at these distances from the minimum, in units of `1/a`.
MORSE_ONSET, MORSE_CUTOFF = 5.0, 9.9


def morse_range(s: Float[Array, "*p"], inverse_range: Float[ArrayLike, ""]) -> Float[Array, "*p"]:
    """The cutoff `s + 9.9/a` of a Morse potential with its minimum at `s`."""
    return s + MORSE_CUTOFF / inverse_range


def morse_onset(s: Float[Array, "*p"], inverse_range: Float[ArrayLike, ""]) -> Float[Array, "*p"]:
    """The distance `s + 5/a` at which the smoothing of a Morse potential begins."""
    return s + MORSE_ONSET / inverse_range


def xplor(r: Float[Array, "*p"], onset: Float[ArrayLike, "..."], cutoff: Float[ArrayLike, "..."]) -> Float[Array, "*p"]:
    """The XPLOR smoothing `S(r)`: 1 up to `onset`, 0 from `cutoff` on, with a continuous first derivative.

    `S = (r_c² - r²)² (r_c² + 2r² - 3r_o²) / (r_c² - r_o²)³` between the onset `r_o` and the cutoff `r_c`.
    """
    left = jnp.clip((cutoff**2 - r**2) / (cutoff**2 - onset**2), 0.0, 1.0)
    return left**2 * (3.0 - 2.0 * left)
