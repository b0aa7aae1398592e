import abc
import re

import equinox as eqx
import glasswright as gw
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._parameters import check, pair_index, xplor


class AbstractSpeciesPotential(gw.AbstractPairPotential):
    """Pairs whose energy depends on the mean diameter of their particles, and on an energy of each pair of species.

    Both kinds of quenched disorder enter here: a particle's own diameter, and a bond's own energy.

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
        """What messages call it: `harmonic_morse` for `HarmonicMorse`."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", type(self).__name__).lower()

    @abc.abstractmethod
    def range_of(self, diameter: Float[Array, "*p"]) -> Float[Array, "*p"]:
        """Distance beyond which pairs of this mean diameter do not interact."""

    @property
    def cutoff(self) -> Float[Array, ""]:
        return self.range_of(jnp.max(self.diameter))

    def reach(self, configuration):
        """The cutoff of the largest particles."""
        factor = gw.diameter_factor(configuration)
        return self.cutoff if factor is None else self.range_of(jnp.max(self.diameter[configuration.species] * factor))

    def knows_disorder(self, field):
        """Polydispersity and heterogeneity."""
        return field in ("diameter_factor", "bond_seed", "bond_spread")

    def diameter_and_energy(self, configuration, i, j) -> tuple[Float[Array, " p"], Float[Array, " p"]]:
        """Mean diameter and energy of each pair."""
        a, b = configuration.species[i], configuration.species[j]
        energy = self.binding_energy[pair_index(a, b, self.diameter.shape[0])]
        diameter, bond = gw.diameter_factor(configuration), gw.bond_factor(configuration, i, j)
        energy = energy if bond is None else energy * bond
        if diameter is None:
            return 0.5 * (self.diameter[a] + self.diameter[b]), energy
        own = self.diameter[configuration.species] * diameter
        return 0.5 * (own[i] + own[j]), energy


class AbstractScaledPotential(AbstractSpeciesPotential):
    """Energies of a distance in diameters, `V = e f(r, s) S(r)`, smoothed to zero by XPLOR at a multiple of `s`.

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
        """`f`: the energy of a pair of mean diameter `s` at distance `r` up to its cutoff, in units of its own."""

    def range_of(self, diameter):
        """Where the energy ends."""
        return self.cutoff_ratio * diameter

    def pair_parameters(self, configuration, i, j):
        """Mean diameter and energy of each pair."""
        return self.diameter_and_energy(configuration, i, j)

    def pair_energy(self, r, parameters):
        s, energy = parameters
        x = jnp.minimum(r, self.cutoff_ratio * s)
        return energy * self.scaled_energy(x, s) * xplor(x, self.onset_ratio * s, self.cutoff_ratio * s)
