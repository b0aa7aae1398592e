"""Repulsion of overlapping spheres."""

from typing import cast

import equinox as eqx
import glasswright as gw
import jax.numpy as jnp
from glasswright.neighbors import PairIndex
from jaxtyping import Array, Float, PyTree

from ._parameters import PerPair, PerSpecies, check, species_parameters
from ._species import AbstractSpeciesPotential


class SoftSphere(AbstractSpeciesPotential):
    """Finite repulsion of overlapping spheres: `V = e / alpha (1 - r/s)^alpha` for `r < s`, zero beyond.

    `alpha = 2` are harmonic spheres, `alpha = 5/2` Hertzian ones. Particles without contact are rattlers.

    Source: O'Hern et al., Phys. Rev. E 68, 011306 (2003), Eq. 1.

    **Arguments:**

    - `n_species`: number of species; left out, that of the numbers in `diameter`, or two.
    - `diameter`: of each species, in units of length; a scalar applies to all. Default: 0.8 for the first half of the
      species, 1.0 for the others. A pair has the mean of both.
    - `binding_energy`: `e`, in units of energy, of each pair of species: a scalar, a symmetric matrix, or the packed
      upper triangle.
    - `exponent`: `alpha`, at least 2.
    - `pair_diameter`: in place of `diameter`, sizes `s` that are no means: of each pair of species, in units of length,
      as a scalar, a symmetric matrix, or the packed upper triangle.
    """

    diameter: Float[Array, " s"] | None
    pair_diameter: Float[Array, " t"] | None
    binding_energy: Float[Array, " t"]
    # It decides which formula there is, so it must not be traced.
    exponent: float = eqx.field(static=True)

    def __init__(
        self,
        n_species: int | None = None,
        diameter: PerSpecies | None = None,
        binding_energy: PerPair = 1.0,
        exponent: float = 2.0,
        pair_diameter: PerPair | None = None,
    ):
        self.diameter, self.pair_diameter, self.binding_energy = species_parameters(
            self.name, n_species, diameter, binding_energy, pair_diameter
        )
        self.exponent = float(exponent)

    def __check_init__(self) -> None:
        check(self.name, positive={"exponent": self.exponent})
        if self.exponent < 2.0:
            raise ValueError(f"soft_sphere(exponent={self.exponent}): must be at least 2, or forces jump at contact.")

    def range_of(self, diameter: Float[Array, "*p"]) -> Float[Array, "*p"]:
        """The cutoff of pairs of this diameter."""
        return diameter

    def pair_parameters(
        self, configuration: gw.Configuration, i: PairIndex, j: PairIndex
    ) -> tuple[Float[Array, " p"], Float[Array, " p"]]:
        """Diameter and energy of each pair."""
        return self.diameter_and_energy(configuration, i, j)

    def pair_energy(self, r: Float[Array, ""], parameters: PyTree) -> Float[Array, ""]:
        s, energy = cast(tuple[Array, Array], parameters)
        overlap = jnp.maximum(1.0 - r / s, 0.0)
        if self.exponent == 2.0:
            return 0.5 * energy * overlap**2
        # The power of a zero has no derivative to speak of.
        touching = overlap > 0.0
        return jnp.where(touching, energy / self.exponent * jnp.where(touching, overlap, 1.0) ** self.exponent, 0.0)
