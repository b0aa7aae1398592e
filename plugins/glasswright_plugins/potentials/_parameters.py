"""Parameters of species and of pairs of species, as all potentials here take and keep them."""

from collections.abc import Sequence

import glasswright as gw
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

PerSpecies = float | Sequence[float] | Array
PerPair = float | Sequence[float] | Sequence[Sequence[float]] | Array


def per_species(owner: str, name: str, value: PerSpecies, n_species: int) -> Float[Array, " s"]:
    """One number for each species; a scalar applies to all."""
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
    """One number for each pair of species, packed: upper triangle, row by row. A scalar applies to all."""
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
    """Diameters of the species and energies of their pairs.

    Left out, there are as many species as diameters, or two, and diameters are the paper's: 0.8 for the first half of
    the species, 1.0 for the others.
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
    """Where the pair of species `a`, `b` stands in a packed triangle."""
    low, high = jnp.minimum(a, b), jnp.maximum(a, b)
    return low * n_species - low * (low - 1) // 2 + high - low


def check(owner: str, *, positive: dict | None = None, not_negative: dict | None = None) -> None:
    """Raise a `ValueError` for concrete parameters that are out of range."""
    for parameters, least in ((positive or {}, "positive"), (not_negative or {}, "not negative")):
        for name, value in parameters.items():
            if not gw.is_concrete(value):
                continue
            inside = np.all(np.asarray(value) > 0) if least == "positive" else np.all(np.asarray(value) >= 0)
            if not (inside and np.all(np.isfinite(value))):
                raise ValueError(f"{owner}({name}={np.asarray(value).tolist()}): must be {least} and finite.")


def xplor(r, onset, cutoff):
    """The XPLOR smoothing: 1 up to `onset`, 0 from `cutoff` on, continuous with its first derivative."""
    left = jnp.clip((cutoff**2 - r**2) / (cutoff**2 - onset**2), 0.0, 1.0)
    return left**2 * (3.0 - 2.0 * left)
