"""Athermal quasistatic deformation: the minima that a packing passes through while its box is strained."""

import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .configuration import Configuration
from .pair_list import PairList
from .potential import AbstractPotential
from .state import Equilibrium, State


class EventPath(eqx.Module):
    """Where the minima of a deformation ended, and where the packing went from there; no derivatives.

    **Attributes:** arrays with room for `k` events, of which the first `n_events` are used.

    - `strain`: where a minimum ended, `gamma_c`.
    - `fractional`: the packing there.
    - `mode`: its soft mode in fractional coordinates, of any length.
    - `landed`: the minimum that the packing went to, at the same strain.
    - `is_fold`: whether the minimum ended in a fold. Other events have no derivative: there the second derivative of a
      pair's energy jumped.
    - `n_events`: number of events.
    """

    strain: Float[Array, " k"]
    fractional: Float[Array, "k n d"]
    mode: Float[Array, "k n d"]
    landed: Float[Array, "k n d"]
    is_fold: Bool[Array, " k"]
    n_events: Int[Array, ""]


class DeformationPath(eqx.Module):
    """The minima of a quasistatic deformation at given strains, and its events; no derivatives.

    **Attributes:**

    - `direction`: what is multiplied by the strain `gamma`: the box is deformed by `r -> (1 + gamma e) r`.
    - `strain`: the strains, from zero on, `m + 1` of them.
    - `fractional`: the minimum at each of them.
    - `velocity`: its change per unit of strain, in fractional coordinates (the non-affine velocity).
    - `events`: where minima ended.
    - `neighbors`: every pair that interacts at any of these points.
    """

    direction: Float[Array, "d d"]
    strain: Float[Array, " m1"]
    fractional: Float[Array, "m1 n d"]
    velocity: Float[Array, "m1 n d"]
    events: EventPath
    neighbors: PairList


class DeformationEvents(eqx.Module):
    """The events of a deformation: at each of them the packing left a minimum that had come to its end.

    **Attributes:** arrays with room for `k` events; unused places are zero.

    - `occurred`: which places are used.
    - `strain`: where it happened, `gamma_c`. It carries the derivative of the fold,
      `dgamma_c/dtheta = -(psi . d_theta F) / (psi . d_gamma F)` with the soft mode `psi`.
    - `energy_before`, `energy_after`: of the two minima at this strain; both carry derivatives.
    - `stress_before`, `stress_after`: of the two minima, in energy per volume; without derivative.
    - `is_fold`: whether the minimum ended in a fold. Other events carry no derivative of their strain.
    """

    occurred: Bool[Array, " k"]
    strain: Float[Array, " k"]
    energy_before: Float[Array, " k"]
    energy_after: Float[Array, " k"]
    stress_before: Float[Array, " k"]
    stress_after: Float[Array, " k"]
    is_fold: Bool[Array, " k"]

    @property
    def energy_drop(self) -> Float[Array, " k"]:
        """Energy that each event dissipated."""
        return jnp.where(self.occurred, self.energy_before - self.energy_after, 0.0)

    @property
    def n_events(self) -> Int[Array, ""]:
        """Number of events."""
        return jnp.sum(self.occurred)


class Deformation(State):
    """A packing under a growing strain of its box: stress, energy and events, with derivatives in the design.

    **Attributes:**

    - `potential`, `configuration`: as in every state; the packing without strain.
    - `undeformed`: the minimum without strain, with its linear response.
    - `strain`: the strains `gamma_k` of `r -> (1 + gamma e) r`, from zero on, `m + 1` of them.
    - `energy`: potential energy at each strain.
    - `stress`: `(1/V) dU/dgamma` of the minimum at each strain, in energy per volume. Its derivative diverges where a
      strain comes close to an event, and it jumps where an event crosses it: train integrals such as `mean_stress`.
    - `events`: where minima ended.
    """

    potential: AbstractPotential
    configuration: Configuration
    undeformed: Equilibrium
    strain: Float[Array, " m1"]
    energy: Float[Array, " m1"]
    stress: Float[Array, " m1"]
    events: DeformationEvents

    @functools.cached_property
    def mean_stress(self) -> Float[Array, " m"]:
        """Mean stress between each two consecutive strains, in energy per volume.

        On every branch of minima `V sigma = dU/dgamma`, so that the integral of the stress is a difference of energies:
        `V int sigma dgamma = U(gamma_(k+1)) - U(gamma_k) + sum of the energies dissipated between them`. This is exact,
        next to folds as well. Its derivative is that of the energies and contains
        `(sigma_before - sigma_after) dgamma_c/dtheta` for each event.
        """
        after = jax.lax.stop_gradient(self.strain[None, 1:] > self.events.strain[:, None])
        before = jax.lax.stop_gradient(self.strain[None, :-1] <= self.events.strain[:, None])
        dissipated = jnp.sum(jnp.where(after & before, self.events.energy_drop[:, None], 0.0), axis=0)
        work = jnp.diff(self.energy) + dissipated
        return work / jnp.diff(self.strain) / self.configuration.volume

    @functools.cached_property
    def dissipation(self) -> Float[Array, ""]:
        """Energy that all events dissipated, per volume."""
        return jnp.sum(self.events.energy_drop) / self.configuration.volume


def attach_deformation(undeformed: Equilibrium, path: DeformationPath, *, event_terms: bool = True) -> Deformation:
    """A quasistatic deformation as a differentiable function of the potential and of the box.

    Force-free points make the energy stationary, so that its derivative is taken at fixed positions. That of the stress
    needs the velocity `X` alone: `V sigma` is the derivative of the energy along the strain and `X` together, and `X`
    contributes nothing but the derivative. The strain of a fold moves so that the force on its soft mode stays zero.

    **Arguments:**

    - `undeformed`: the minimum without strain, carrying derivatives.
    - `path`: the minima and events that were events.
    - `event_terms`: whether the strains of events carry their derivative. Without, gradients are those of the branches
      alone, which shows how much the events contribute.
    """
    potential, configuration, neighbors = undeformed.potential, undeformed.configuration, path.neighbors
    volume = configuration.volume

    def energy(fractional: Float[Array, "n d"], strain: Float[Array, ""]) -> Float[Array, ""]:
        packing = dataclasses.replace(configuration, fractional=fractional)
        return potential.energy(packing.strained(strain * path.direction), neighbors)

    def at_strain(point: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        fractional, velocity, strain = point
        return jax.jvp(lambda h: energy(fractional + h * velocity, strain + h), (jnp.zeros(()),), (jnp.ones(()),))

    def at_event(point: tuple[Array, Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array, Array]:
        fractional, mode, landed, strain, is_fold = point

        def force(strain: Float[Array, ""]) -> Float[Array, ""]:
            """The derivative of the energy along the soft mode."""
            along = lambda h: energy(fractional + h * mode, strain)
            slope: Array = jax.jvp(along, (jnp.zeros(()),), (jnp.ones(()),))[1]
            return slope

        on_mode, rate = jax.jvp(force, (strain,), (jnp.ones(()),))
        rate = jax.lax.stop_gradient(jnp.where(is_fold, rate, 1.0))
        shift = jnp.where(is_fold & event_terms, (on_mode - jax.lax.stop_gradient(on_mode)) / rate, 0.0)
        moved = strain - shift
        before, stress_before = jax.jvp(lambda g: energy(fractional, g), (moved,), (jnp.ones(()),))
        after, stress_after = jax.jvp(lambda g: energy(landed, g), (moved,), (jnp.ones(()),))
        return moved, before, after, stress_before / volume, stress_after / volume

    # One after the other: all at once would need memory for the pairs of every point.
    energies, slopes = jax.lax.map(at_strain, (path.fractional, path.velocity, path.strain))
    events = path.events
    occurred = jnp.arange(events.strain.shape[0]) < events.n_events
    numbers = jax.lax.map(at_event, (events.fractional, events.mode, events.landed, events.strain, events.is_fold))
    strain, before, after, stress_before, stress_after = (jnp.where(occurred, x, 0.0) for x in numbers)
    return Deformation(
        potential=potential,
        configuration=configuration,
        undeformed=undeformed,
        strain=path.strain,
        energy=energies,
        stress=slopes / volume,
        events=DeformationEvents(
            occurred=occurred,
            strain=strain,
            energy_before=before,
            energy_after=after,
            stress_before=jax.lax.stop_gradient(stress_before),
            stress_after=jax.lax.stop_gradient(stress_after),
            is_fold=events.is_fold & occurred,
        ),
    )
