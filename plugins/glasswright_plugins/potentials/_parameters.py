"""What potentials share: parameters of species and of pairs of species."""

import math
from collections.abc import Mapping, Sequence

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
    owner: str,
    n_species: int | None,
    diameter: PerSpecies | None,
    binding_energy: PerPair,
    pair_diameter: PerPair | None = None,
) -> tuple[Float[Array, " s"] | None, Float[Array, " t"] | None, Float[Array, " t"]]:
    """Diameters of the species or of their pairs, of which one is None, and energies of the pairs.

    Defaults: as many species as there are diameters, or two; diameters 0.8 for the first half of the species and 1.0
    for the others.
    """
    if n_species is None:
        n_species = next((np.shape(x)[0] for x in (diameter, pair_diameter) if x is not None and np.ndim(x) > 0), 2)
        if diameter is None and pair_diameter is not None and np.ndim(pair_diameter) == 1:
            n_species = species_of_pairs(n_species)
    energies = per_pair(owner, "binding_energy", binding_energy, n_species)
    if pair_diameter is not None:
        if diameter is not None:
            raise ValueError(
                f"{owner}(diameter=…, pair_diameter=…): two ways to give the same thing; give diameters of species, "
                "or of pairs of species."
            )
        return None, per_pair(owner, "pair_diameter", pair_diameter, n_species), energies
    if diameter is None:
        diameter = jnp.where(jnp.arange(n_species) < n_species // 2, 0.8, 1.0)
    return per_species(owner, "diameter", diameter, n_species), None, energies


def species_of_pairs(n_pairs: int) -> int:
    """The number of species whose packed triangle has this many numbers, or the next smaller one."""
    return (math.isqrt(8 * n_pairs + 1) - 1) // 2


def pair_index(a: Int[Array, " p"], b: Int[Array, " p"], n_species: int) -> Int[Array, " p"]:
    """Index of the pair of species `a`, `b` in a packed array."""
    low, high = jnp.minimum(a, b), jnp.maximum(a, b)
    return low * n_species - low * (low - 1) // 2 + high - low


def check(
    owner: str, *, positive: Mapping[str, ArrayLike] | None = None, not_negative: Mapping[str, ArrayLike] | None = None
) -> None:
    """Raise a `ValueError` for parameters that are out of range; traced ones are not checked."""
    for parameters, least in ((positive or {}, "positive"), (not_negative or {}, "not negative")):
        for name, value in parameters.items():
            if not gw.is_concrete(value):
                continue
            inside = np.all(np.asarray(value) > 0) if least == "positive" else np.all(np.asarray(value) >= 0)
            if not (inside and np.all(np.isfinite(value))):
                raise ValueError(f"{owner}({name}={np.asarray(value).tolist()}): must be {least} and finite.")
