"""The sum of two potentials."""

from typing import cast

import glasswright as gw
import jax.numpy as jnp
from glasswright.neighbors import PairIndex
from jaxtyping import Array, Float, PyTree


class Sum(gw.AbstractPairPotential):
    """The sum of two pair potentials, each with its own parameters: `V = V_first + V_second`.

    A sum of sums has as many parts as wanted: `potential@potential.second=sum`.

    **Arguments:**

    - `first`, `second`: the parts; chosen with `potential@potential.first=NAME`.
    """

    first: gw.AbstractPotential
    second: gw.AbstractPotential

    def __check_init__(self) -> None:
        for name in ("first", "second"):
            part = getattr(self, name)
            if isinstance(part, gw.AbstractPotential) and not isinstance(part, gw.AbstractPairPotential):
                raise ValueError(f"sum({name}={type(part).__name__}): both parts must be pair potentials.")
            if getattr(type(part), "bonds", None) not in (None, gw.AbstractPairPotential.bonds):
                raise ValueError(f"sum({name}={type(part).__name__}): has bonds of its own, which have no sum.")

    @property
    def cutoff(self) -> Float[Array, ""]:
        return jnp.maximum(self.first.cutoff, self.second.cutoff)

    def reach(self, configuration: gw.Configuration) -> Float[Array, ""]:
        """The longer of both."""
        return jnp.maximum(self.first.reach(configuration), self.second.reach(configuration))

    def knows_disorder(self, field: str) -> bool:
        """What both parts know."""
        return self.first.knows_disorder(field) and self.second.knows_disorder(field)

    def pair_parameters(self, configuration: gw.Configuration, i: PairIndex, j: PairIndex) -> tuple[PyTree, PyTree]:
        """Those of both parts."""
        first, second = self._parts
        return first.pair_parameters(configuration, i, j), second.pair_parameters(configuration, i, j)

    def pair_energy(self, r: Float[Array, ""], parameters: PyTree) -> Float[Array, ""]:
        first, second = self._parts
        return first.pair_energy(r, parameters[0]) + second.pair_energy(r, parameters[1])

    @property
    def _parts(self) -> tuple[gw.AbstractPairPotential, gw.AbstractPairPotential]:
        """Both parts by the type that `__check_init__` has made sure of; configurations choose from all potentials."""
        return cast(gw.AbstractPairPotential, self.first), cast(gw.AbstractPairPotential, self.second)
