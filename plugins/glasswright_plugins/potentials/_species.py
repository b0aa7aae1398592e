"""Potentials whose parameters belong to species and to pairs of species."""

import abc
import re
from typing import cast

import equinox as eqx
import glasswright as gw
import jax.numpy as jnp
from glasswright.neighbors import PairIndex
from jaxtyping import Array, Float, PyTree

from ._parameters import check, pair_index, xplor


class AbstractSpeciesPotential(gw.AbstractPairPotential):
    """A pair potential of the mean diameter of two particles, and of an energy for each pair of species.

    Both kinds of quenched disorder are applied here: to the diameter of each particle, and to the energy of each bond.

    **Attributes:**

    - `diameter`: of each species, in units of length.
    - `binding_energy`: of each pair of species, packed, in units of energy.
    """

    diameter: eqx.AbstractVar[Float[Array, " s"]]
    binding_energy: eqx.AbstractVar[Float[Array, " t"]]

    def __check_init__(self) -> None:
        energies = {"binding_energy": self.binding_energy}
        check(self.name, positive={"diameter": self.diameter}, not_negative=energies)

    @property
    def name(self) -> str:
        """The name of the potential in messages: `harmonic_morse` for `HarmonicMorse`."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", type(self).__name__).lower()

    @abc.abstractmethod
    def range_of(self, diameter: Float[Array, "*p"]) -> Float[Array, "*p"]:
        """Distance beyond which pairs of this mean diameter do not interact, in units of length."""

    @property
    def cutoff(self) -> Float[Array, ""]:
        return self.range_of(jnp.max(self.diameter))

    def reach(self, configuration: gw.Configuration) -> Float[Array, ""]:
        """The cutoff of the largest particles."""
        factor = gw.diameter_factor(configuration)
        return self.cutoff if factor is None else self.range_of(jnp.max(self.diameter[configuration.species] * factor))

    def knows_disorder(self, field: str) -> bool:
        """Polydispersity and heterogeneity are known."""
        return field in ("diameter_factor", "bond_seed", "bond_spread")

    def diameter_and_energy(
        self, configuration: gw.Configuration, i: PairIndex, j: PairIndex
    ) -> tuple[Float[Array, " p"], Float[Array, " p"]]:
        """Mean diameter and energy of each pair, disorder included."""
        a, b = configuration.species[i], configuration.species[j]
        energy = self.binding_energy[pair_index(a, b, self.diameter.shape[0])]
        diameter, bond = gw.diameter_factor(configuration), gw.bond_factor(configuration, i, j)
        energy = energy if bond is None else energy * bond
        if diameter is None:
            return 0.5 * (self.diameter[a] + self.diameter[b]), energy
        own = self.diameter[configuration.species] * diameter
        return 0.5 * (own[i] + own[j]), energy


class AbstractTwoParameterPotential(AbstractSpeciesPotential):
    """A potential whose pairs have no other parameters than their mean diameter and their energy."""

    def pair_parameters(
        self, configuration: gw.Configuration, i: PairIndex, j: PairIndex
    ) -> tuple[Float[Array, " p"], Float[Array, " p"]]:
        """Mean diameter and energy of each pair."""
        return self.diameter_and_energy(configuration, i, j)


class AbstractScaledPotential(AbstractTwoParameterPotential):
    """A potential `V = e f(r, s) S(r)`, smoothed to zero by XPLOR between two multiples of the mean diameter `s`.

    **Attributes:**

    - `onset_ratio`, `cutoff_ratio`: where the smoothing begins and ends, in diameters of the pair.
    """

    onset_ratio: eqx.AbstractVar[float]
    cutoff_ratio: eqx.AbstractVar[float]

    def __check_init__(self) -> None:
        check(self.name, positive={name: getattr(self, name) for name in ("onset_ratio", "cutoff_ratio")})
        if not self.onset_ratio < self.cutoff_ratio:
            raise ValueError(
                f"{self.name}(onset_ratio={self.onset_ratio}, cutoff_ratio={self.cutoff_ratio}): the onset must come "
                "before the cutoff."
            )

    @abc.abstractmethod
    def scaled_energy(self, r: Float[Array, ""], s: Float[Array, ""]) -> Float[Array, ""]:
        """`f(r, s)`: the energy of a pair in units of `e`, for distances `r` up to the cutoff."""

    def range_of(self, diameter: Float[Array, "*p"]) -> Float[Array, "*p"]:
        """The cutoff, `cutoff_ratio` times the diameter."""
        return self.cutoff_ratio * diameter

    def pair_energy(self, r: Float[Array, ""], parameters: PyTree) -> Float[Array, ""]:
        """`e f(r, s) S(r)`."""
        s, energy = cast(tuple[Array, Array], parameters)
        x = jnp.minimum(r, self.cutoff_ratio * s)
        return energy * self.scaled_energy(x, s) * xplor(x, self.onset_ratio * s, self.cutoff_ratio * s)
