"""The allosteric response of a target pair to a strain of a source pair."""

from collections.abc import Sequence

import equinox as eqx
import glasswright as gw
import jax
import jax.numpy as jnp
from glasswright.neighbors import PairIndex, PairMask
from jaxtyping import Array, Float, Int

Pair = tuple[Int[Array, ""], Int[Array, ""]]


def _numbers(value: float | Sequence[float] | None) -> tuple[float, ...] | None:
    """A sequence as a tuple, which cannot change; a single number as a tuple of one."""
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

    def measure(self, state: gw.Equilibrium) -> Float[Array, ""]:
        source = self._pair("source", state, None)
        target = self._pair("target", state, source)
        configuration = state.configuration
        (length, unit), (target_length, target_unit) = (_bond(configuration, *pair) for pair in (source, target))
        force = jnp.zeros_like(configuration.fractional).at[source[0]].add(unit).at[source[1]].add(-unit)
        displacement = state.displacement(force[None])[0]
        strain = jnp.vdot(unit, displacement[source[0]] - displacement[source[1]]) / length
        answer = jnp.vdot(target_unit, displacement[target[0]] - displacement[target[1]]) / target_length
        if isinstance(state.hessian, gw.AbstractFactoredHessian):
            ends = jnp.stack([*source, *target])
            answer = jnp.where(jnp.any(state.hessian.rattler[ends]), jnp.nan, answer)
        return answer / strain

    def _pair(self, end: str, state: gw.Equilibrium, source: Pair | None) -> Pair:
        """The particles of the source or of the target; a target without a place depends on the source."""
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
            if position is None and source is not None:
                across = fractional[source[0]] - fractional[source[1]]
                position = fractional[source[0]] - 0.5 * (across - jnp.round(across)) + 0.5
            away = fractional - jnp.asarray(position)[None]
            squared = jnp.sum(((away - jnp.round(away)) @ box.T) ** 2, axis=1)
            score = squared[i] + squared[j]
        else:
            score = distance
        chosen = jnp.argmin(jnp.where(interacts, score, jnp.inf))
        # Lists of pairs are NumPy arrays outside of a transformation.
        return jnp.asarray(i[chosen]), jnp.asarray(j[chosen])


def _bond(
    configuration: gw.Configuration, i: Int[Array, ""], j: Int[Array, ""]
) -> tuple[Float[Array, ""], Float[Array, " d"]]:
    """Length and direction of a pair of particles."""
    vector = configuration.displacement(i[None], j[None])[0]
    length = jnp.linalg.norm(vector)
    return length, vector / length


def _interacting_pairs(state: gw.Equilibrium) -> tuple[PairIndex, PairIndex, Float[Array, " p"], PairMask]:
    """`(i, j, distance, interacts)` of the listed pairs."""
    potential, configuration, neighbors = state.potential, state.configuration, state.neighbors
    if isinstance(potential, gw.AbstractPairPotential):
        bonds = potential.bond_stiffness(configuration, neighbors)
        return bonds.i, bonds.j, bonds.distance, bonds.interacts
    i, j, mask = neighbors.i, neighbors.j, neighbors.mask
    squared = jnp.sum(configuration.displacement(i, j) ** 2, axis=1)
    distance = jnp.sqrt(jnp.where(mask, squared, 1.0))
    return i, j, distance, mask & (distance < potential.cutoff)
