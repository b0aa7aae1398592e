"""Potentials whose parameters belong to species and to pairs of species."""

import abc
import re
from typing import cast, get_args

import equinox as eqx
import glasswright as gw
import jax
import jax.numpy as jnp
from glasswright.neighbors import PairIndex
from jaxtyping import Array, Float, Int, PyTree

from ._parameters import check, pair_index, species_of_pairs
from ._smoothing import Smoothing, cutoff_polynomial, evaluate_polynomial, xplor


class AbstractSpeciesPotential(gw.AbstractPairPotential):
    """A pair potential of the diameter of a pair, and of an energy for each pair of species.

    The diameter of a pair is the mean of both particles' (`diameter`), or a number for each pair of species
    (`pair_diameter`). Both kinds of quenched disorder are applied here: to the diameter of each particle, and to the
    energy of each bond.

    **Attributes:**

    - `diameter`: of each species, in units of length; None if there are diameters of pairs.
    - `pair_diameter`: of each pair of species, packed, in units of length; None if there are diameters of species.
    - `binding_energy`: of each pair of species, packed, in units of energy.
    """

    diameter: eqx.AbstractVar[Float[Array, " s"] | None]
    pair_diameter: eqx.AbstractVar[Float[Array, " t"] | None]
    binding_energy: eqx.AbstractVar[Float[Array, " t"]]

    def __check_init__(self) -> None:
        energies = {"binding_energy": self.binding_energy}
        sizes = {"diameter": self.diameter, "pair_diameter": self.pair_diameter}
        check(
            self.name,
            positive={name: value for name, value in sizes.items() if value is not None},
            not_negative=energies,
        )

    @property
    def name(self) -> str:
        """The name of the potential in messages: `harmonic_morse` for `HarmonicMorse`."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", type(self).__name__).lower()

    @property
    def species_diameters(self) -> Float[Array, " s"]:
        """`diameter`, or the diameters of pairs of the same species."""
        if self.diameter is not None:
            return self.diameter
        pairs = self._pairs
        same = jnp.arange(self._n_species)
        return pairs[pair_index(same, same, self._n_species)]

    @abc.abstractmethod
    def range_of(self, diameter: Float[Array, "*p"]) -> Float[Array, "*p"]:
        """Distance beyond which pairs of this diameter do not interact, in units of length."""

    @property
    def cutoff(self) -> Float[Array, ""]:
        return self.range_of(jnp.max(self._pairs if self.diameter is None else self.diameter))

    def reach(self, configuration: gw.Configuration) -> Float[Array, ""]:
        """The cutoff of the largest particles."""
        factor = gw.diameter_factor(configuration)
        if factor is None:
            return self.cutoff
        if self.diameter is not None:
            return self.range_of(jnp.max(self.diameter[configuration.species] * factor))
        # Of the largest particle of each species; a species without particles has none.
        n = self._n_species
        largest = jnp.maximum(jax.ops.segment_max(factor, configuration.species, n), 0.0)
        a, b = jnp.triu_indices(n)
        return self.range_of(jnp.max(self._disordered(a, b, largest[a], largest[b])))

    def knows_disorder(self, field: str) -> bool:
        """Polydispersity and heterogeneity are known."""
        return field in ("diameter_factor", "bond_seed", "bond_spread")

    def diameter_and_energy(
        self, configuration: gw.Configuration, i: PairIndex, j: PairIndex
    ) -> tuple[Float[Array, " p"], Float[Array, " p"]]:
        """Diameter and energy of each pair, disorder included."""
        a, b = configuration.species[i], configuration.species[j]
        energy = self.binding_energy[pair_index(a, b, self._n_species)]
        factor, bond = gw.diameter_factor(configuration), gw.bond_factor(configuration, i, j)
        energy = energy if bond is None else energy * bond
        if self.diameter is None:
            if factor is None:
                return self._pairs[pair_index(a, b, self._n_species)], energy
            return self._disordered(a, b, factor[i], factor[j]), energy
        if factor is None:
            return 0.5 * (self.diameter[a] + self.diameter[b]), energy
        own = self.diameter[configuration.species] * factor
        return 0.5 * (own[i] + own[j]), energy

    @property
    def _pairs(self) -> Float[Array, " t"]:
        """The diameters of pairs, where there are any."""
        assert self.pair_diameter is not None
        return self.pair_diameter

    @property
    def _n_species(self) -> int:
        if self.diameter is not None:
            return self.diameter.shape[0]
        return species_of_pairs(self._pairs.shape[0])

    def _disordered(
        self, a: Int[Array, " p"], b: Int[Array, " p"], first: Float[Array, " p"], second: Float[Array, " p"]
    ) -> Float[Array, " p"]:
        """The diameter of pairs of two species whose particles have factors of their own.

        That is the mean of both factors, weighted with the diameters of the species: where the diameter of a pair is
        the mean of its species', so it is with disorder.
        """
        n, own = self._n_species, self.species_diameters
        return self._pairs[pair_index(a, b, n)] * (own[a] * first + own[b] * second) / (own[a] + own[b])


class AbstractSmoothedPotential(AbstractSpeciesPotential):
    """A potential of diameter `s` and energy `e` of a pair that is cut, and ends smoothly there.

    With `xplor` it is `V(r) S(r)`, where `S` goes from 1 at `onset_of(s)` to 0 at the cutoff `range_of(s)`. With
    `polynomial_1`, `polynomial_2` and `polynomial_3` it is `V(r) + P(r)`, where the even polynomial `P` brings the
    energy and one, two or three derivatives to zero at the cutoff.

    **Attributes:**

    - `smoothing`: which of these.
    """

    smoothing: eqx.AbstractVar[Smoothing]

    def __check_init__(self) -> None:
        if self.smoothing not in get_args(Smoothing):
            raise ValueError(
                f"{self.name}(smoothing={self.smoothing!r}): must be one of {', '.join(get_args(Smoothing))}."
            )

    @abc.abstractmethod
    def uncut_energy(
        self, r: Float[Array, "*p"], s: Float[Array, "*p"], energy: Float[Array, "*p"]
    ) -> Float[Array, "*p"]:
        """`V(r)`: the energy of pairs without any cutoff, for distances `r` up to the cutoff."""

    @abc.abstractmethod
    def onset_of(self, diameter: Float[Array, "*p"]) -> Float[Array, "*p"]:
        """Distance at which XPLOR begins for pairs of this diameter, in units of length."""

    def pair_parameters(self, configuration: gw.Configuration, i: PairIndex, j: PairIndex) -> PyTree:
        """Diameter and energy of each pair; with a polynomial, its coefficients too."""
        s, energy = self.diameter_and_energy(configuration, i, j)
        if self.smoothing == "xplor":
            return s, energy
        return s, energy, self.end_polynomial(s, energy)

    def end_polynomial(self, s: Float[Array, " p"], energy: Float[Array, " p"]) -> Float[Array, "p q"]:
        """Coefficients of the polynomial `P(r)` of each pair."""
        return cutoff_polynomial(lambda r: self.uncut_energy(r, s, energy), self.range_of(s), self.smoothing)

    def pair_energy(self, r: Float[Array, ""], parameters: PyTree) -> Float[Array, ""]:
        """`V(r) S(r)`, or `V(r) + P(r)`."""
        s, energy, *polynomial = cast(tuple[Array, ...], parameters)
        cutoff = self.range_of(s)
        x = jnp.minimum(r, cutoff)
        if self.smoothing == "xplor":
            return self.uncut_energy(x, s, energy) * xplor(x, self.onset_of(s), cutoff)
        smooth = self.uncut_energy(x, s, energy) + evaluate_polynomial(polynomial[0], x, cutoff)
        return jnp.where(r < cutoff, smooth, 0.0)


class AbstractScaledPotential(AbstractSmoothedPotential):
    """A potential that is cut, with both distances of its smoothing in units of the diameter of the pair.

    **Attributes:**

    - `onset_ratio`, `cutoff_ratio`: where the smoothing begins and ends, in diameters of the pair.
    """

    onset_ratio: eqx.AbstractVar[float]
    cutoff_ratio: eqx.AbstractVar[float]

    def __check_init__(self) -> None:
        check(self.name, positive={name: getattr(self, name) for name in ("onset_ratio", "cutoff_ratio")})
        if self.smoothing == "xplor" and not self.onset_ratio < self.cutoff_ratio:
            raise ValueError(
                f"{self.name}(onset_ratio={self.onset_ratio}, cutoff_ratio={self.cutoff_ratio}): the onset must come "
                "before the cutoff."
            )

    def range_of(self, diameter: Float[Array, "*p"]) -> Float[Array, "*p"]:
        """The cutoff, `cutoff_ratio` times the diameter."""
        return self.cutoff_ratio * diameter

    def onset_of(self, diameter: Float[Array, "*p"]) -> Float[Array, "*p"]:
        """Where XPLOR begins, `onset_ratio` times the diameter."""
        return self.onset_ratio * diameter
