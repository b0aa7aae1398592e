"""The Morse potential."""

from typing import cast

import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ._parameters import PerPair, PerSpecies, check, morse_onset, morse_range, species_parameters, xplor
from ._species import AbstractTwoParameterPotential


class Morse(AbstractTwoParameterPotential):
    """Morse, smoothed to zero by XPLOR: `V = e (exp(-2a(r - s)) - 2 exp(-a(r - s))) S(r)`.

    The smoothing goes from `s + 5/a` to `s + 9.9/a`.

    Source: Morse, Phys. Rev. 34, 57 (1929).

    **Arguments:**

    - `n_species`: number of species; left out, that of the numbers in `diameter`, or two.
    - `diameter`: of each species, in units of length; a scalar applies to all. Default: 0.8 for the first half of the
      species, 1.0 for the others. A pair has the mean of both.
    - `binding_energy`: depth `e` of the minimum, in units of energy, of each pair of species: a scalar, a symmetric
      matrix, or the packed upper triangle.
    - `inverse_range`: `a`, in units of inverse length.
    """

    diameter: Float[Array, " s"]
    binding_energy: Float[Array, " t"]
    inverse_range: float

    def __init__(
        self,
        n_species: int | None = None,
        diameter: PerSpecies | None = None,
        binding_energy: PerPair = 0.1,
        inverse_range: float = 5.0,
    ):
        self.diameter, self.binding_energy = species_parameters(self.name, n_species, diameter, binding_energy)
        self.inverse_range = float(inverse_range)

    def __check_init__(self) -> None:
        check(self.name, positive={"inverse_range": self.inverse_range})

    def range_of(self, diameter: Float[Array, "*p"]) -> Float[Array, "*p"]:
        """The cutoff of pairs of this mean diameter."""
        return morse_range(diameter, self.inverse_range)

    def pair_energy(self, r: Float[Array, ""], parameters: PyTree) -> Float[Array, ""]:
        s, energy = cast(tuple[Array, Array], parameters)
        a = self.inverse_range
        onset, cutoff = morse_onset(s, a), morse_range(s, a)
        x = jnp.minimum(r, cutoff)
        decay = jnp.exp(-a * (x - s))
        return energy * decay * (decay - 2.0) * xplor(x, onset, cutoff)
