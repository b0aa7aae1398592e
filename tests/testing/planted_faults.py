"""Properties with one fault each, and one without: what the kit of checks has to tell apart."""

import threading
from typing import Any

import equinox as eqx
import glasswright as gw
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

CALLS: list[int] = []


def vectors(state):
    """Pairs with their vectors and squared distances; padding is one apart."""
    pairs = state.neighbors
    vector = state.configuration.displacement(pairs.i, pairs.j)
    squared = jnp.where(pairs.mask, jnp.sum(vector**2, axis=-1), 1.0)
    return pairs, squared


class Healthy(gw.AbstractProperty):
    """Mean over pairs of `exp(-r²/range²)`, per particle."""

    range: float = 0.7

    requires = gw.Equilibrium
    units = "dimensionless"
    source = "made up"

    def measure(self, state) -> Float[Array, ""]:
        pairs, squared = vectors(state)
        counted = jnp.where(pairs.mask, jnp.exp(-squared / self.range**2), 0.0)
        return jnp.sum(counted) / state.configuration.n_particles


class DetachedArray(gw.AbstractProperty):
    """Energy times pressure, where the pressure has lost its derivative."""

    requires = gw.Equilibrium
    units = "energy² / volume"
    source = "made up"

    def measure(self, state) -> Float[Array, ""]:
        return state.energy * jax.lax.stop_gradient(jnp.trace(state.stress))


class Impure(gw.AbstractProperty):
    """Energy, times a number that counts how often it was asked for."""

    requires = gw.Equilibrium
    units = "energy"
    source = "made up"

    def measure(self, state) -> Float[Array, ""]:
        CALLS.append(1)
        return state.energy * (1.0 + 1e-9 * len(CALLS))


class WrongShape(gw.AbstractProperty):
    """Energy, declared as a number and returned as a list of one."""

    requires = gw.Equilibrium
    units = "energy"
    source = "made up"

    def measure(self, state) -> Float[Array, ""]:
        return state.energy[None]


class HiddenFloat32(gw.AbstractProperty):
    """Energy, which goes through 32 bits on its way."""

    requires = gw.Equilibrium
    units = "energy"
    source = "made up"

    def measure(self, state) -> Float[Array, ""]:
        return jnp.asarray(jnp.asarray(state.energy, dtype=jnp.float32), dtype=float)


class NanAtOneNeighbour(gw.AbstractProperty):
    """Variance of the distances to the neighbours, with `n - 1` below the line: 0/0 where there is one."""

    requires = gw.Equilibrium
    units = "length²"
    source = "made up"

    def measure(self, state) -> Float[Array, ""]:
        pairs, squared = vectors(state)
        r = jnp.sqrt(squared)
        counts = (pairs.mask & (squared < 1.2**2)).astype(float)
        ends = jnp.concatenate([pairs.i, pairs.j])
        zero = jnp.zeros(state.configuration.n_particles)
        n, first, second = (zero.at[ends].add(jnp.concatenate([x, x])) for x in (counts, counts * r, counts * squared))
        return jnp.mean((second - first**2 / jnp.maximum(n, 1.0)) / (n - 1.0))


class NotInvariant(gw.AbstractProperty):
    """Mean square of the positions, which depends on where the origin is."""

    requires = gw.Equilibrium
    units = "length²"
    source = "made up"

    def measure(self, state) -> Float[Array, ""]:
        return jnp.mean(state.configuration.position**2)


class MissingUnits(gw.AbstractProperty):
    """Energy."""

    requires = gw.Equilibrium
    source = "made up"

    def measure(self, state) -> Float[Array, ""]:
        return state.energy


class Unpicklable(gw.AbstractProperty):
    """Energy, under a lock."""

    lock: Any = eqx.field(static=True, default_factory=threading.Lock)

    requires = gw.Equilibrium
    units = "energy"
    source = "made up"

    def measure(self, state) -> Float[Array, ""]:
        with self.lock:
            return state.energy


class Nondeterministic(gw.AbstractProperty):
    """Energy, with noise from a generator without a seed."""

    requires = gw.Equilibrium
    units = "energy"
    source = "made up"

    def measure(self, state) -> Float[Array, ""]:
        return state.energy + 1e-7 * np.random.default_rng().normal()
