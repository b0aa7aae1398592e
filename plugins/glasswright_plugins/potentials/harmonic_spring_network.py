"""Networks of springs."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import equinox as eqx
import glasswright as gw
import jax.numpy as jnp
import numpy as np
from glasswright.neighbors import PairIndex, build_pair_list
from glasswright.run.extxyz import read_configuration
from jaxtyping import Array, Float, Int, PyTree

from ._parameters import check

# In units of the mean spacing of particles: this far reaches the first shell of neighbours, which has more bonds than
# the 2d of each particle that make a network rigid.
DEFAULT_CUTOFF = 1.4


class HarmonicSpringNetwork(gw.AbstractPairPotential):
    """Springs between fixed pairs of particles, `V = k/2 (r - l)²`, each with a stiffness and a rest length of its own.

    The pairs are those that are near each other in a given packing, which is also where every preparation begins. The
    network has no other configurations: `sampler=tracked sampler.size=1`. The number of particles, the dimension and
    the density of the system have to be those of the packing.

    Source: Ellenbroek et al., Phys. Rev. Lett. 114, 135501 (2015).

    **Arguments:**

    - `packing`: an extended-XYZ file, or a run directory with a `final.extxyz`.
    - `cutoff`: pairs of the packing up to this distance are bonds, in units of length; left out, 1.4 times the mean
      spacing `(V/N)^(1/d)`.
    - `stiffness`: `k`, in units of energy per squared length: of each bond, or one number for all.
    - `rest_length`: `l`, in units of length: of each bond, or one number for all. Left out, `rest_ratio` times the
      bond's length in the packing.
    - `rest_ratio`: 1, the default, leaves every bond unstressed; below 1, all bonds start under tension.

    Bonds `(i, j)`, `i < j`, are ordered by `i`, then by `j`.
    """

    packing: str = eqx.field(static=True)
    stiffness: Float[Array, " b"]
    rest_length: Float[Array, " b"]
    # NumPy's, because they are not parameters: only JAX's arrays can be trained.
    first: Int[np.ndarray, " b"]
    second: Int[np.ndarray, " b"]
    longest: Float[np.ndarray, ""]
    fractional: Float[np.ndarray, "n d"]
    box: Float[np.ndarray, "d d"]
    species: Int[np.ndarray, " n"]

    def __init__(
        self,
        packing: Path | str,
        cutoff: float | None = None,
        stiffness: float | Sequence[float] | Array | np.ndarray = 1.0,
        rest_length: float | Sequence[float] | Array | np.ndarray | None = None,
        rest_ratio: float = 1.0,
    ):
        check("harmonic_spring_network", positive={"rest_ratio": rest_ratio})
        path = Path(packing)
        configuration = read_configuration(path / "final.extxyz" if path.is_dir() else path, "potential.packing")
        spacing = float(configuration.volume / configuration.n_particles) ** (1.0 / configuration.dimension)
        cutoff = DEFAULT_CUTOFF * spacing if cutoff is None else cutoff
        check("harmonic_spring_network", positive={"cutoff": cutoff})
        pairs = build_pair_list(configuration, cutoff)
        n_bonds = int(pairs.n_pairs)
        if n_bonds == 0:
            raise ValueError(
                f"harmonic_spring_network(cutoff={cutoff:g}): no two particles of {packing} are that near."
            )
        order = np.lexsort((np.asarray(pairs.j[:n_bonds]), np.asarray(pairs.i[:n_bonds])))
        i, j = np.asarray(pairs.i)[order], np.asarray(pairs.j)[order]
        length = jnp.linalg.norm(configuration.displacement(jnp.asarray(i), jnp.asarray(j)), axis=1)
        self.packing = str(packing)
        self.stiffness = _per_bond("stiffness", stiffness, n_bonds)
        self.rest_length = _per_bond(
            "rest_length", rest_ratio * length if rest_length is None else rest_length, n_bonds
        )
        self.first, self.second = i, j
        self.longest = np.max(np.asarray(length), keepdims=True).reshape(())
        self.fractional = np.asarray(configuration.fractional)
        self.box = np.asarray(configuration.box)
        self.species = np.asarray(configuration.species)

    def __check_init__(self) -> None:
        check(
            "harmonic_spring_network",
            positive={"rest_length": self.rest_length},
            not_negative={"stiffness": self.stiffness},
        )

    @property
    def cutoff(self) -> Float[Array, ""]:
        return jnp.asarray(self.longest)

    @property
    def start(self) -> gw.Configuration:
        """The packing that the bonds were taken from."""
        return gw.Configuration(jnp.asarray(self.fractional), jnp.asarray(self.box), jnp.asarray(self.species))

    def bonds(self, configuration: gw.Configuration) -> tuple[Int[Array, " b"], Int[Array, " b"]]:
        """The same pairs in every configuration."""
        return jnp.asarray(self.first), jnp.asarray(self.second)

    def pair_parameters(
        self, configuration: gw.Configuration, i: PairIndex, j: PairIndex
    ) -> tuple[Float[Array, " b"], Float[Array, " b"]]:
        """Rest length and stiffness of each bond, in the order of `bonds`."""
        return self.rest_length, self.stiffness

    def pair_energy(self, r: Float[Array, ""], parameters: PyTree) -> Float[Array, ""]:
        rest_length, stiffness = cast(tuple[Array, Array], parameters)
        return 0.5 * stiffness * (r - rest_length) ** 2


def _per_bond(name: str, value: float | Sequence[float] | Array | np.ndarray, n_bonds: int) -> Float[Array, " b"]:
    """A parameter of each bond; a scalar applies to all."""
    value = jnp.asarray(value, dtype=float)
    if value.ndim == 0:
        return jnp.full(n_bonds, value)
    if value.shape != (n_bonds,):
        raise ValueError(
            f"harmonic_spring_network({name}=…): {value.size} numbers for {n_bonds} bonds; give one number for all, or "
            "one for each."
        )
    return value
