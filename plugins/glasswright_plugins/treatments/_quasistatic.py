"""Quasistatic paths: the box is strained in small steps, after each of which particles go to the nearest minimum."""

import abc
from typing import ClassVar, NamedTuple

import equinox as eqx
import glasswright as gw
import jax
import jax.numpy as jnp
import numpy as np
from glasswright.relax import natural_units
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from ._motion import AbstractMotion, Lists, Motion, descend

# Most force evaluations of one step of the path.
MOST_STEPS = 20_000


class Path(NamedTuple):
    """The arguments of a compiled path.

    - `strains`: deformation of the box at each step, relative to the start; the last is none.
    - `tolerance`: largest force component of what counts as a minimum, in energy per length.
    """

    strains: Float[Array, "m d d"]
    tolerance: float


def follow_path(
    potential: gw.AbstractPotential, configuration: gw.Configuration, path: Path, key: PRNGKeyArray, lists: Lists
) -> tuple[gw.Treated, Bool[Array, ""]]:
    """Strain one configuration along a path that begins and ends in its box. The key is not used.

    The start is relaxed first. Returns the configuration, with the number of force evaluations, and whether a pair list
    had too little room.
    """

    def relaxed(fractional: Float[Array, "n d"], strain: Float[Array, "d d"]) -> tuple[gw.Configuration, Array, Array]:
        start = gw.Configuration(fractional, configuration.box, configuration.species, configuration.disorder)
        return descend(potential, start.strained(strain), path.tolerance, MOST_STEPS, lists)

    def advance(
        carry: tuple[Array, Array, Array], strain: Float[Array, "d d"]
    ) -> tuple[tuple[Array, Array, Array], None]:
        fractional, evaluations, overflowed = carry
        strained, more, again = relaxed(fractional, strain)
        return (strained.fractional, evaluations + more, overflowed | again), None

    none = jnp.zeros_like(configuration.box)
    first, evaluations, overflowed = relaxed(configuration.fractional, none)
    (fractional, evaluations, overflowed), _ = jax.lax.scan(
        advance, (first.fractional, evaluations, overflowed), path.strains
    )
    end = gw.Configuration(fractional, configuration.box, configuration.species, configuration.disorder)
    return gw.Treated(end, {"evaluations": evaluations}), overflowed


def back_and_forth(amplitude: Float[Array, ""], step: float, *, both_ways: bool) -> Float[Array, " m"]:
    """Strains of one cycle in steps of at most `step`: up to the amplitude and back, then the other way if wanted."""
    n = max(int(np.ceil(abs(float(amplitude)) / step - 1e-9)), 1)
    up = jnp.arange(1, n + 1) / n
    there_and_back = jnp.concatenate([up, up[-2::-1], jnp.zeros(1)])
    shape = jnp.concatenate([there_and_back, -there_and_back]) if both_ways else there_and_back
    return amplitude * shape


class AbstractQuasistatic(AbstractMotion):
    """Cycles of a quasistatic strain of the box. Nothing about them is random.

    **Attributes:**

    - `n_cycles`: number of cycles.
    - `strain_step`: largest strain between two relaxations.
    - `force_tolerance`: largest force component of a minimum on the way, in the potential's own units of force.
    """

    name: ClassVar[str]
    n_cycles: eqx.AbstractVar[int]
    strain_step: eqx.AbstractVar[float]
    force_tolerance: eqx.AbstractVar[float]

    def __check_init__(self) -> None:
        if self.n_cycles < 1:
            raise ValueError(f"{self.name}(n_cycles={self.n_cycles}): must be at least 1.")
        for parameter in ("strain_step", "force_tolerance"):
            value = getattr(self, parameter)
            if not 0.0 < value < float("inf"):
                raise ValueError(f"{self.name}({parameter}={value}): must be positive and finite.")

    @property
    def motion(self) -> Motion:
        """The path, whatever its strains are."""
        return follow_path

    @abc.abstractmethod
    def cycle(self, dimension: int) -> Float[Array, "m d d"]:
        """The strains of one cycle; the last is none."""

    def arguments(self, potential: gw.AbstractPotential, configuration: gw.Configuration) -> Path:
        """All cycles, and the tolerance in the user's units."""
        strains = jnp.tile(self.cycle(configuration.dimension), (self.n_cycles, 1, 1))
        return Path(strains, self.force_tolerance * natural_units(potential, configuration).force)
