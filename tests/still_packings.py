"""Packings whose preparation is a formula: what is known of their means needs no simulation."""

import dataclasses
from collections.abc import Mapping

import equinox as eqx
import glasswright as gw
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

SPREAD = 0.2


class Snapshot(gw.State):
    """A configuration as it was left."""

    potential: gw.AbstractPotential
    configuration: gw.Configuration


class Spread(gw.AbstractTreatment):
    """Puts particles around the middle of the box, at normal distances."""

    spread: Float[Array, ""] = eqx.field(converter=lambda x: jnp.asarray(x, dtype=float), default=SPREAD)

    def apply(self, potential: gw.AbstractPotential, configuration: gw.Configuration, *, key: PRNGKeyArray):
        noise = jax.random.normal(key, configuration.fractional.shape)
        return gw.Treated(dataclasses.replace(configuration, fractional=0.5 + self.spread * noise))


class Still(gw.AbstractProtocol):
    """Treats a start, and leaves it as it is."""

    treatments: Mapping[str, gw.AbstractTreatment] = eqx.field(converter=gw.Treatments)

    provides = Snapshot

    def prepare(self, potential: gw.AbstractPotential, start: gw.Configuration, *, key: PRNGKeyArray) -> gw.Prepared:
        for treatment in self.treatments.values():
            start = treatment.apply(potential, start, key=key).configuration
        return gw.Prepared(start, gw.Outcome.converged)

    def attach(self, potential: gw.AbstractPotential, prepared: gw.Prepared) -> Snapshot:
        return Snapshot(potential, prepared.configuration)


class Moment(gw.AbstractProperty):
    """The mean square of coordinates, times the diameter of the first species: of mean `D spread²`."""

    requires = Snapshot

    def measure(self, state: Snapshot) -> Float[Array, ""]:
        return state.potential.diameter[0] * jnp.mean((state.configuration.fractional - 0.5) ** 2)


class Share(gw.AbstractProperty):
    """The share of the first species, and one that is the same for all particles."""

    requires = Snapshot

    def measure(self, state: Snapshot) -> Float[Array, " 2"]:
        return jnp.stack([jnp.mean(state.configuration.species == 0), jnp.ones(())])
