"""Who counts as a neighbour: pairs with a smooth weight, so that nothing jumps when one comes near."""

import jax
import jax.numpy as jnp


def weighted_pairs(state, distance: float | None, width: float):
    """Pairs with their vectors, distances and weights.

    A weight is 1 up to `distance (1 - width/2)` and 0 from `distance (1 + width/2)` on, with two continuous
    derivatives between; `width` zero is a hard cut, whose weights carry no derivative. `distance` None is the largest
    diameter of the potential.

    Returns `i, j, vector, r, weight`; everything is not a number where the state's pair list does not reach far enough,
    which makes the configuration a counted outcome.
    """
    if distance is None:
        diameter = getattr(state.potential, "diameter", None)
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
    return i, j, vector, r, jnp.where(mask, weight, 0.0) * jnp.where(reaches, 1.0, jnp.nan)


def sum_at_particles(n: int, i, j, from_i, from_j):
    """Sum quantities of pairs, of shape `(p, ...)`, at both of their particles."""
    ends = jnp.concatenate([i, j])
    return jnp.zeros((n, *from_i.shape[1:])).at[ends].add(jnp.concatenate([from_i, from_j]))


def check_neighborhood(owner: str, distance: float | None, width: float) -> None:
    """Raise a `ValueError` for values that make no sense."""
    if distance is not None and not 0.0 < distance < float("inf"):
        raise ValueError(f"{owner}(distance={distance}): must be positive and finite.")
    if not 0.0 <= width < 2.0:
        raise ValueError(f"{owner}(width={width}): must be at least 0 and below 2.")
