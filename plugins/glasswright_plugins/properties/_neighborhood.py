"""Neighbours of a particle: pairs with a weight that is a smooth function of their distance."""

from typing import NamedTuple

import glasswright as gw
import jax
import jax.numpy as jnp
from glasswright.neighbors import PairIndex
from jaxtyping import Array, Float


class WeightedPairs(NamedTuple):
    """Pairs of neighbours, arrays over the entries of a pair list.

    **Attributes:**

    - `i`, `j`: the particles of each pair.
    - `vector`: `r_i - r_j`, in units of length.
    - `distance`: its length; 1 for padding.
    - `weight`: 1 for near pairs, 0 for distant ones and padding.
    """

    i: PairIndex
    j: PairIndex
    vector: Float[Array, "p d"]
    distance: Float[Array, " p"]
    weight: Float[Array, " p"]


def weighted_pairs(state: gw.Equilibrium, distance: float | None, width: float) -> WeightedPairs:
    """The listed pairs of a state, with a smooth weight for each.

    The weight is 1 up to `distance (1 - width/2)` and 0 from `distance (1 + width/2)` on, with two continuous
    derivatives. If the pair list does not reach that far, all weights are not a number, and the configuration is
    rejected as `nonfinite`.

    **Arguments:**

    - `state`: with a pair list.
    - `distance`: in units of length; None for the largest diameter of the potential.
    - `width`: of the step from 1 to 0, relative to `distance`; zero for a hard cut, whose weights have no derivative.
    """
    if distance is None:
        diameter = state.potential.species_diameters
        if diameter is None:
            raise ValueError("distance=null: this potential has no diameter; give the distance of neighbours.")
        cut = jnp.max(diameter)
    else:
        cut = jnp.asarray(distance)
    neighbors = state.neighbors
    i, j, mask = neighbors.i, neighbors.j, neighbors.mask
    vector = state.configuration.displacement(i, j)
    squared = jnp.where(mask, jnp.sum(vector**2, axis=-1), 1.0)
    r = jnp.sqrt(squared)
    if width == 0.0:
        weight = jax.lax.stop_gradient((r < cut).astype(r.dtype))
    else:
        x = jnp.clip((r / cut - 1.0) / width + 0.5, 0.0, 1.0)
        weight = 1.0 - x**3 * (10.0 - 15.0 * x + 6.0 * x**2)
    reaches = jax.lax.stop_gradient(cut * (1.0 + 0.5 * width)) <= neighbors.radius
    return WeightedPairs(i, j, vector, r, jnp.where(mask, weight, 0.0) * jnp.where(reaches, 1.0, jnp.nan))


def sum_at_particles(
    n: int,
    i: PairIndex,
    j: PairIndex,
    from_i: Float[Array, " p *shape"],
    from_j: Float[Array, " p *shape"],
) -> Float[Array, " n *shape"]:
    """Sum quantities of pairs over the pairs of each of `n` particles: `from_i` at `i`, `from_j` at `j`."""
    ends = jnp.concatenate([i, j])
    return jnp.zeros((n, *from_i.shape[1:])).at[ends].add(jnp.concatenate([from_i, from_j]))


def check_neighborhood(owner: str, distance: float | None, width: float) -> None:
    """Raise a `ValueError` for a distance or a width that is out of range."""
    if distance is not None and not 0.0 < distance < float("inf"):
        raise ValueError(f"{owner}(distance={distance}): must be positive and finite.")
    if not 0.0 <= width < 2.0:
        raise ValueError(f"{owner}(width={width}): must be at least 0 and below 2.")
