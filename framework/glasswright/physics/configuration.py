import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


class Configuration(eqx.Module):
    """Where the particles are, of which species, in what periodic box: data, without interactions.

    A strain changes `box` at fixed `fractional` positions, so elasticity, pressure and density are one mechanism.

    **Attributes:**

    - `fractional`: positions in units of the lattice vectors, shape `(n, d)`; not wrapped, any real number is legal.
    - `box`: lattice vectors as *columns*, shape `(d, d)`, in units of length; a point is at `box @ fractional`.
    - `species`: species index of each particle, shape `(n,)`.
    - `disorder`: quenched per-particle fields drawn once per configuration, name → array with leading axis `n`.
    """

    fractional: Float[Array, "n d"]
    box: Float[Array, "d d"]
    species: Int[Array, " n"]
    disorder: dict[str, Array] = dataclasses.field(default_factory=dict)

    @property
    def n_particles(self) -> int:
        return self.fractional.shape[0]

    @property
    def dimension(self) -> int:
        return self.fractional.shape[1]

    @property
    def volume(self) -> Float[Array, ""]:
        """Volume of the box (its area in two dimensions)."""
        return jnp.abs(jnp.linalg.det(self.box))

    @property
    def position(self) -> Float[Array, "n d"]:
        """Positions in units of length, `box @ fractional` for each particle."""
        return self.fractional @ self.box.T

    def displacement(self, i: Int[Array, " p"], j: Int[Array, " p"]) -> Float[Array, "p d"]:
        """Minimum-image vectors `r_i - r_j`.

        The nearest image in fractional coordinates is the nearest one in space for every pair closer than half the
        narrowest width of the box (`box_width`), which is what `2 cutoff <= box_width` guarantees.
        """
        difference = self.fractional[i] - self.fractional[j]
        # round has derivative zero, which is exact: which image is nearest does not depend on the parameters.
        difference = difference - jax.lax.stop_gradient(jnp.round(difference))
        # Written out: for so thin matrices a product costs far more than its arithmetic.
        columns = [difference[:, b, None] * self.box[:, b][None] for b in range(self.dimension)]
        return functools.reduce(jnp.add, columns)

    def strained(self, strain: Float[Array, "d d"]) -> "Configuration":
        """The configuration after the affine deformation `r -> (1 + strain) r`."""
        identity = jnp.eye(self.dimension, dtype=self.box.dtype)
        return dataclasses.replace(self, box=(identity + strain) @ self.box)

    def moved(self, displacement: Float[Array, "n d"]) -> "Configuration":
        """The configuration after each particle moved by `displacement` (units of length)."""
        return dataclasses.replace(self, fractional=self.fractional + displacement @ jnp.linalg.inv(self.box).T)


def box_width(box: Float[Array, "d d"]) -> Float[Array, ""]:
    """Smallest distance between opposite faces of the box: the diameter of the largest sphere that fits."""
    return 1.0 / jnp.max(jnp.linalg.norm(jnp.linalg.inv(box), axis=1))
