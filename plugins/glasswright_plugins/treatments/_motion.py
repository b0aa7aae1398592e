"""What treatments are made of: compiled motions of one configuration, which renew its pair list as often as needed.

Everything is a function that JAX can compile and map over configurations. Under `vmap` each configuration renews its
list when it has to, whatever the others do, so that it does not depend on them.
"""

import abc
import dataclasses
from collections.abc import Callable
from typing import TypeAlias, TypeVar, cast

import equinox as eqx
import glasswright as gw
import jax
import jax.numpy as jnp
import numpy as np
from glasswright.neighbors import PairList, find_pairs, round_capacity
from glasswright.relax import FireSettings, fire_start, natural_units
from glasswright.relax.batch import expected_pairs
from glasswright.relax.fire import FireState, begin, step
from jaxtyping import Array, Bool, Float, Int, Key, PRNGKeyArray, PyTree

State = TypeVar("State")
# Width added to the cutoff in pair lists, in units of length; a step of dynamics moves particles by less than the
# margin, within which the list is still complete.
SKIN, MARGIN = 0.4, 0.1
# Overlaps of a random start are relaxed until max|F| is below this, in units of force, before particles move at a
# temperature; and the most force evaluations of that.
CALM, CALM_STEPS = 1.0, 2000


class Lists(eqx.Module):
    """The size of pair lists, and of moves between them. The reach may differ between packings of one program.

    - `radius`: pairs up to this distance are listed.
    - `margin`: by how much more than the cutoff a list has to cover.
    - `capacity`: number of entries.
    - `descents`: the constants of descents, in the user's units.
    """

    radius: Float[Array | np.ndarray, ""]
    margin: Float[Array | np.ndarray, ""]
    capacity: int = eqx.field(static=True)
    descents: FireSettings


# A motion of one configuration: potential, configuration, arguments, key and lists → the result, and whether a pair
# list had too little room.
Motion: TypeAlias = Callable[..., tuple[gw.Treated, Bool[Array, ""]]]


class AbstractMotion(gw.AbstractTreatment):
    """A treatment that is a compiled motion, of one configuration or of many side by side."""

    @property
    @abc.abstractmethod
    def motion(self) -> Motion:
        """The function that is compiled."""

    @abc.abstractmethod
    def arguments(self, potential: gw.AbstractPotential, configuration: gw.Configuration) -> PyTree:
        """The arguments of the motion, for this configuration and others of the same potential and size."""

    def apply(
        self, potential: gw.AbstractPotential, configuration: gw.Configuration, *, key: PRNGKeyArray
    ) -> gw.Treated:
        """One configuration."""
        return run(self.motion, potential, configuration, self.arguments(potential, configuration), key, many=False)

    def apply_many(
        self, potential: gw.AbstractPotential, configurations: gw.Configuration, *, keys: Key[Array, " b"]
    ) -> gw.Treated:
        """Many configurations, side by side."""
        first = jax.tree.map(lambda x: x[0], configurations)
        return run(self.motion, potential, configurations, self.arguments(potential, first), keys, many=True)


def check_temperature(owner: str, temperature: Float[Array, "*k"]) -> None:
    """Raise ValueError unless the knots of a ramp are numbers that are not negative."""
    if jnp.ndim(temperature) != 1 or jnp.size(temperature) == 0:
        raise ValueError(f"{owner}(temperature=…): must be a number or a list of numbers.")
    if gw.is_concrete(temperature) and not np.all(np.asarray(temperature) >= 0.0):
        raise ValueError(f"{owner}(temperature={np.asarray(temperature).tolist()}): must not be negative.")


def march(
    potential: gw.AbstractPotential,
    state: State,
    configuration_of: Callable[[State], gw.Configuration],
    advance: Callable[[State, PairList], State],
    is_done: Callable[[State], Bool[Array, ""]],
    lists: Lists,
    renew: Callable[[State, PairList], State] = lambda state, _: state,
) -> tuple[State, Bool[Array, ""]]:
    """Advance a state until it is done, with pair lists that cover it; and whether a list had too little room.

    Where a new list covers nothing, because positions are not numbers, the march ends.

    **Arguments:**

    - `renew`: called with each new list.
    """

    def covered(state: State, neighbors: PairList) -> Bool[Array, ""]:
        configuration = configuration_of(state)
        return neighbors.covers(configuration, potential.reach(configuration) + lists.margin)

    def with_new_list(carry: tuple[State, Array, Array]) -> tuple[State, Array, Array]:
        state, _, _ = carry
        neighbors = find_pairs(configuration_of(state), lists.radius, lists.capacity)
        state = renew(state, neighbors)
        usable = covered(state, neighbors)
        state = jax.lax.while_loop(
            lambda s: ~is_done(s) & covered(s, neighbors), lambda s: advance(s, neighbors), state
        )
        return state, jnp.asarray(neighbors.overflowed), usable

    start = state, jnp.zeros((), dtype=bool), jnp.ones((), dtype=bool)
    state, overflowed, _ = jax.lax.while_loop(
        lambda carry: ~is_done(carry[0]) & ~carry[1] & carry[2], with_new_list, start
    )
    return state, overflowed


def descend(
    potential: gw.AbstractPotential,
    configuration: gw.Configuration,
    tolerance: Float[Array, ""] | float,
    max_steps: int,
    lists: Lists,
) -> tuple[gw.Configuration, Int[Array, ""], Bool[Array, ""]]:
    """FIRE to max|F| < `tolerance` at fixed box; the force evaluations, and whether a list had too little room."""
    settings = lists.descents

    def at(state: FireState) -> gw.Configuration:
        return dataclasses.replace(configuration, fractional=cast(Array, state.fractional))  # not NumPy's, under `jit`

    state, overflowed = march(
        potential,
        jax.tree.map(jnp.asarray, fire_start(configuration)),
        at,
        lambda s, p: step(potential, at(s), p, s, settings, tolerance),
        lambda s: jnp.asarray(s.converged | (s.evaluations >= max_steps)),
        dataclasses.replace(lists, margin=np.zeros(())),
        lambda s, p: begin(potential, at(s), p, s, settings),
    )
    return at(state), jnp.asarray(state.evaluations), overflowed


def run(
    function: Motion,
    potential: gw.AbstractPotential,
    configuration: gw.Configuration,
    arguments: PyTree,
    keys: Key[Array, "*b"],
    *,
    many: bool,
) -> gw.Treated:
    """Run a compiled treatment for one configuration or for many, with lists that grow until all pairs fit."""
    first = jax.tree.map(lambda x: x[0], configuration) if many else configuration
    n, d = first.fractional.shape
    units = natural_units(potential, first)
    descents = FireSettings().scaled(units)
    reach = float(potential.reach(first)) if not many else float(jnp.max(jax.vmap(potential.reach)(configuration)))
    radius = reach + SKIN * units.length
    volume = float(jnp.min(jnp.abs(jnp.linalg.det(configuration.box))))
    capacity = round_capacity(1.2 * expected_pairs(n, d, volume, radius))
    while True:
        lists = Lists(np.asarray(radius), np.asarray(MARGIN * units.length), capacity, descents)
        treated, overflowed = _compiled(function, potential, configuration, arguments, keys, lists, many)
        if not np.any(np.asarray(overflowed)):
            return treated
        capacity = round_capacity(1.25 * capacity)


@eqx.filter_jit
def _compiled(
    function: Motion,
    potential: gw.AbstractPotential,
    configuration: gw.Configuration,
    arguments: PyTree,
    keys: Key[Array, "*b"],
    lists: Lists,
    many: bool,
) -> tuple[gw.Treated, Bool[Array, "*b"]]:
    if not many:
        return function(potential, configuration, arguments, keys, lists)
    result: tuple[gw.Treated, Bool[Array, " b"]] = jax.vmap(lambda c, k: function(potential, c, arguments, k, lists))(
        configuration, keys
    )
    return result
