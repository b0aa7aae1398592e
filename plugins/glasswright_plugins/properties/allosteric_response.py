from collections.abc import Sequence

import equinox as eqx
import glasswright as gw
import jax
import jax.numpy as jnp


def _numbers(value):
    """A tuple, or None: lists would be mutable, and one number is a list of one."""
    return value if value is None else tuple(value) if isinstance(value, Sequence) else (value,)


class AllostericResponse(gw.AbstractProperty):
    """Strain of a target pair of particles for a unit of strain imposed on a source pair, all others relaxed.

    `eta = (dl_t / l_t) / (dl_s / l_s)` with `dl_t = b_t H^-1 b_s` and `dl_s = b_s H^-1 b_s`: opposite forces on the two
    particles of the source, along the line between them, change its length `l_s` by `dl_s` and that of the target by
    `dl_t`. `b` is the unit vector of a pair on its one particle and minus that on the other. Prestress is included. It
    is positive if the target stretches with the source, and 1 if it is the source.

    A pair is given by a place, and is then the interacting one whose two particles are nearest to it (least sum of
    squared distances). It is chosen anew at each measurement, without derivative: the value jumps where another pair
    becomes the nearest. Given by the numbers of its particles it stays the same, and need not interact. Rattlers do
    not respond, and make it not a number.

    **Arguments:**

    - `source_position`: a place in fractional coordinates of the box; left out, that of the shortest interacting pair.
    - `target_position`: another; left out, half a box away from the source along every axis.
    - `source_pair`, `target_pair`: numbers of two particles, from 0 in the order of the file, in place of a place.
    """

    source_position: Sequence[float] | None = eqx.field(converter=_numbers, default=None)
    target_position: Sequence[float] | None = eqx.field(converter=_numbers, default=None)
    source_pair: Sequence[int] | None = eqx.field(converter=_numbers, default=None)
    target_pair: Sequence[int] | None = eqx.field(converter=_numbers, default=None)

    requires = gw.Equilibrium
    units = "dimensionless"
    source = "Rocks et al., PNAS 114, 2520 (2017)"

    def __check_init__(self) -> None:
        for end in ("source", "target"):
            position, pair = getattr(self, f"{end}_position"), getattr(self, f"{end}_pair")
            if position is not None and pair is not None:
                raise ValueError(f"allosteric_response({end}_pair={list(pair)}): {end}_position is given as well.")
            if position is not None and len(position) not in (2, 3):
                raise ValueError(
                    f"allosteric_response({end}_position={list(position)}): must be a number for each axis of the box."
                )
            if pair is not None and (len(set(pair)) != 2 or len(pair) != 2 or any(k < 0 or k != int(k) for k in pair)):
                raise ValueError(
                    f"allosteric_response({end}_pair={list(pair)}): must be two different integers of at least 0."
                )

    def measure(self, state):
        source = self._pair("source", state, None)
        target = self._pair("target", state, source)
        configuration = state.configuration
        (length, unit), (target_length, target_unit) = (_bond(configuration, *pair) for pair in (source, target))
        force = jnp.zeros_like(configuration.fractional).at[source[0]].add(unit).at[source[1]].add(-unit)
        moved = state.displacement(force[None])[0]
        strain = jnp.vdot(unit, moved[source[0]] - moved[source[1]]) / length
        answer = jnp.vdot(target_unit, moved[target[0]] - moved[target[1]]) / target_length
        if isinstance(state.hessian, gw.DenseHessian):
            ends = jnp.stack([*source, *target])
            answer = jnp.where(jnp.any(state.hessian.rattler[ends]), jnp.nan, answer)
        return answer / strain

    def _pair(self, end: str, state, source):
        """The particles of the source or of the target, which may depend on the source."""
        position, pair = getattr(self, f"{end}_position"), getattr(self, f"{end}_pair")
        n, d = state.configuration.fractional.shape
        if pair is not None:
            if max(pair) >= n:
                raise ValueError(f"allosteric_response({end}_pair={list(pair)}): there are {n} particles, from 0.")
            return jnp.asarray(int(pair[0])), jnp.asarray(int(pair[1]))
        if position is not None and len(position) != d:
            raise ValueError(f"allosteric_response({end}_position={list(position)}): the box has {d} axes.")
        fractional, box = jax.lax.stop_gradient((state.configuration.fractional, state.configuration.box))
        i, j, distance, interacts = jax.lax.stop_gradient(_interacting_pairs(state))
        if position is not None or source is not None:
            if position is None:
                across = fractional[source[0]] - fractional[source[1]]
                position = fractional[source[0]] - 0.5 * (across - jnp.round(across)) + 0.5
            away = fractional - jnp.asarray(position)[None]
            squared = jnp.sum(((away - jnp.round(away)) @ box.T) ** 2, axis=1)
            score = squared[i] + squared[j]
        else:
            score = distance
        chosen = jnp.argmin(jnp.where(interacts, score, jnp.inf))
        return i[chosen], j[chosen]


def _bond(configuration, i, j):
    """Length and direction of a pair."""
    vector = configuration.displacement(i[None], j[None])[0]
    length = jnp.linalg.norm(vector)
    return length, vector / length


def _interacting_pairs(state):
    """`i, j`, distance of the listed pairs, and which of them interact."""
    potential, configuration, neighbors = state.potential, state.configuration, state.neighbors
    pairwise = isinstance(potential, gw.AbstractPairPotential)
    i, j, mask = potential.pairs(configuration, neighbors) if pairwise else (neighbors.i, neighbors.j, neighbors.mask)
    squared = jnp.sum(configuration.displacement(i, j) ** 2, axis=1)
    r = jnp.sqrt(jnp.where(mask, squared, 1.0))
    if not pairwise:
        return i, j, r, mask & (r < potential.cutoff)
    first = jax.grad(potential.pair_energy)
    slope, curvature = jax.vmap(lambda x, p: jax.jvp(lambda y: first(y, p), (x,), (jnp.ones_like(x),)))(
        r, potential.pair_parameters(configuration, i, j)
    )
    return i, j, r, mask & ((slope != 0.0) | (curvature != 0.0))
