"""Langevin dynamics along a temperature ramp."""

import dataclasses
from typing import NamedTuple

import equinox as eqx
import glasswright as gw
import jax
import jax.numpy as jnp
from glasswright.neighbors import PairList
from glasswright.relax import natural_units
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from ._motion import CALM, CALM_STEPS, AbstractMotion, Lists, Motion, check_temperature, descend, march


class _Motion(NamedTuple):
    """The state of the dynamics; `force` is that at `fractional`."""

    fractional: Float[Array, "n d"]
    velocity: Float[Array, "n d"]
    force: Float[Array, "n d"]
    step: Int[Array, ""]
    kinetic: Float[Array, ""]


class _Ramp(NamedTuple):
    """The arguments of the compiled dynamics."""

    temperature: Float[Array, " k"]
    n_steps: int
    time_step: float
    friction: float
    calm: float


class Anneal(AbstractMotion):
    """Langevin dynamics of particles of mass one, along temperatures that change linearly between knots.

    Each step is BAOAB: half a kick, half a drift, the exact exchange with the bath over the time step, half a drift,
    half a kick. Its configurational averages are exact for harmonic energies.

    Source: Leimkuhler & Matthews, Appl. Math. Res. Express 2013, 34 (2013), Eq. 7.

    **Arguments:**

    - `temperature`: knots of the ramp, evenly spaced in time, in units of energy; a single number holds it.
    - `duration`: of the whole ramp, in units of time.
    - `time_step`: in units of time; with a bond's stiffness of 5, 0.05 is a twentieth of the fastest period.
    - `friction`: rate at which velocities are forgotten, in units of 1 / time.
    """

    temperature: Float[Array, " k"] = eqx.field(
        converter=lambda x: jnp.atleast_1d(jnp.asarray(x, dtype=float)), default=(0.02, 0.0)
    )
    duration: float = 100.0
    time_step: float = 0.05
    friction: float = 0.5

    def __check_init__(self) -> None:
        for name in ("duration", "time_step", "friction"):
            value = getattr(self, name)
            if not 0.0 < value < float("inf"):
                raise ValueError(f"anneal({name}={value}): must be positive and finite.")
        check_temperature("anneal", self.temperature)

    @property
    def motion(self) -> Motion:
        """The dynamics."""
        return _anneal

    def arguments(self, potential: gw.AbstractPotential, configuration: gw.Configuration) -> _Ramp:
        n_steps = max(round(self.duration / self.time_step), 1)
        calm = CALM * natural_units(potential, configuration).force
        return _Ramp(self.temperature, n_steps, self.time_step, self.friction, calm)


def _anneal(
    potential: gw.AbstractPotential, configuration: gw.Configuration, ramp: _Ramp, key: PRNGKeyArray, lists: Lists
) -> tuple[gw.Treated, Bool[Array, ""]]:
    """The dynamics of one configuration, from where its overlaps are gone; and whether a list had too little room."""
    calm, evaluations, overflowed = descend(potential, configuration, ramp.calm, CALM_STEPS, lists)
    n, d = configuration.fractional.shape
    inverse_box = jnp.linalg.inv(configuration.box).T
    temperatures = jnp.interp(
        jnp.linspace(0.0, 1.0, ramp.n_steps), jnp.linspace(0.0, 1.0, ramp.temperature.size), ramp.temperature
    )
    kept = jnp.exp(-ramp.friction * ramp.time_step)
    half = 0.5 * ramp.time_step
    first, bath = jax.random.split(key)

    def at(motion: _Motion) -> gw.Configuration:
        return dataclasses.replace(configuration, fractional=motion.fractional)

    def advance(motion: _Motion, neighbors: PairList) -> _Motion:
        temperature = temperatures[motion.step]
        noise = jax.random.normal(jax.random.fold_in(bath, motion.step), (n, d))
        velocity = motion.velocity + half * motion.force
        fractional = motion.fractional + half * velocity @ inverse_box
        velocity = kept * velocity + jnp.sqrt((1.0 - kept**2) * temperature) * noise
        fractional = fractional + half * velocity @ inverse_box
        force = -potential.gradient(dataclasses.replace(configuration, fractional=fractional), neighbors)
        velocity = velocity + half * force
        kinetic = motion.kinetic + 0.5 * jnp.sum(velocity**2)
        return _Motion(fractional, velocity, force, motion.step + 1, kinetic)

    def renew(motion: _Motion, neighbors: PairList) -> _Motion:
        # The force at the start is unknown until there is a list.
        force = jnp.where(motion.step == 0, -potential.gradient(at(motion), neighbors), motion.force)
        return motion._replace(force=force)

    velocity = jnp.sqrt(temperatures[0]) * jax.random.normal(first, (n, d))
    start = _Motion(calm.fractional, velocity, jnp.zeros((n, d)), jnp.zeros((), dtype=int), jnp.zeros(()))
    motion, again = march(potential, start, at, advance, lambda m: m.step >= ramp.n_steps, lists, renew)
    statistics = {"evaluations": evaluations + motion.step, "kinetic_energy": motion.kinetic / ramp.n_steps}
    return gw.Treated(at(motion), statistics), overflowed | again
