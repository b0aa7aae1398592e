"""Configurations: positions, species and periodic box of particles."""

import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._errors import RequestError
from .._jax import is_concrete
from .lattice import widest_basis

# Boxes that only rounding makes too narrow are wide enough.
_ROUNDING = 1e-9


class Configuration(eqx.Module):
    """Particles in a periodic box: positions and species, without interactions.

    A strain changes `box` at fixed `fractional` positions. Elastic constants, pressure and density are derivatives of
    this one kind.

    **Attributes:**

    - `fractional`: positions in units of the lattice vectors, shape `(n, d)`; not wrapped, any real number is legal.
    - `box`: lattice vectors as *columns*, shape `(d, d)`, in units of length; a point is at `box @ fractional`.
    - `species`: species index of each particle, shape `(n,)`.
    - `disorder`: fields of quenched disorder by name, arrays with leading axis `n`, drawn once per configuration.
    """

    fractional: Float[Array, "n d"]
    box: Float[Array, "d d"]
    species: Int[Array, " n"]
    disorder: dict[str, Array] = dataclasses.field(default_factory=dict)

    def __repr__(self) -> str:
        parts = (self.box, self.species)
        if not all(isinstance(part, jax.Array | np.ndarray) and is_concrete(part) for part in parts):
            return eqx.tree_pformat(self)
        if self.species.ndim != 1:  # many in one
            return eqx.tree_pformat(self)
        species = np.bincount(np.asarray(self.species)).tolist()
        disorder = f", disorder {', '.join(self.disorder)}" if self.disorder else ""
        box = np.array2string(np.asarray(self.box), precision=6, separator=", ").replace("\n", "")
        return f"Configuration({self.n_particles} particles of species {species}, box {box}{disorder})"

    @property
    def n_particles(self) -> int:
        """Number of particles, `n`."""
        return self.fractional.shape[0]

    @property
    def dimension(self) -> int:
        """Number of dimensions of space, `d`."""
        return self.fractional.shape[1]

    @property
    def volume(self) -> Float[Array, ""]:
        """Volume of the box `V = |det box|`, its area in two dimensions."""
        return jnp.abs(jnp.linalg.det(self.box))

    @property
    def position(self) -> Float[Array, "n d"]:
        """Positions `box @ fractional` of all particles, in units of length."""
        return self.fractional @ self.box.T

    def displacement(self, i: Int[Array | np.ndarray, " p"], j: Int[Array | np.ndarray, " p"]) -> Float[Array, "p d"]:
        """Vectors `r_i - r_j` between the nearest images of pairs, in units of length.

        The nearest image is found in fractional coordinates. It is the nearest one in space for every pair that is
        closer than half the width of the box (`box_width`), and so for all that interact if `2 cutoff <= box_width`.

        **Arguments:**

        - `i`, `j`: particle indices of each pair.

        **Returns:** a vector for each pair, shape `(p, d)`.
        """
        difference = self.fractional[i] - self.fractional[j]
        # The derivative of round is zero, which is exact: the choice of the image is piecewise constant.
        difference = difference - jax.lax.stop_gradient(jnp.round(difference))
        # Written out: a product with such a small matrix costs far more than its arithmetic.
        columns = [difference[:, b, None] * self.box[:, b][None] for b in range(self.dimension)]
        return functools.reduce(jnp.add, columns)

    def strained(self, strain: Float[Array, "d d"]) -> "Configuration":
        """The configuration after the affine deformation `r -> (1 + strain) r` of the box and all positions."""
        identity = jnp.eye(self.dimension, dtype=self.box.dtype)
        return dataclasses.replace(self, box=(identity + strain) @ self.box)

    def moved(self, displacement: Float[Array, "n d"]) -> "Configuration":
        """The configuration after each particle was displaced by `displacement`, in units of length."""
        return dataclasses.replace(self, fractional=self.fractional + displacement @ jnp.linalg.inv(self.box).T)


def box_width(box: Float[Array, "d d"]) -> Float[Array, ""]:
    """Smallest distance between opposite faces of a box, the diameter of the largest sphere that fits into it.

    **Arguments:**

    - `box`: lattice vectors as columns, in units of length.
    """
    return 1.0 / jnp.max(jnp.linalg.norm(jnp.linalg.inv(box), axis=1))


def check_box_width(
    boxes: Float[Array | np.ndarray, "*b d d"], cutoffs: Float[Array | np.ndarray, "*b"], given: str
) -> None:
    """Refuse a box that is narrower than twice the cutoff, where a particle would meet another one twice.

    Raises `RequestError`, which begins with what was `given`. On the host, and therefore with NumPy.
    """
    boxes, cutoffs = np.asarray(boxes), np.asarray(cutoffs)
    widths = 1.0 / np.max(np.linalg.norm(np.linalg.inv(boxes), axis=-1), axis=-1)
    too_narrow = 2.0 * cutoffs > widths * (1.0 + _ROUNDING)
    if not np.any(too_narrow):
        return
    box, width, cutoff = boxes[too_narrow][0], float(widths[too_narrow][0]), float(cutoffs[too_narrow][0])
    advice = "take more particles, a lower density or a shorter range"
    wider = float(box_width(jnp.asarray(box @ widest_basis(box))))
    if 2.0 * cutoff <= wider * (1.0 + _ROUNDING):
        advice = f"another basis of the same lattice, box @ widest_basis(box), makes a box that is {wider:.6g} wide"
    raise RequestError(
        f"{given}: the box is {width:.6g} wide, less than twice the cutoff {cutoff:.6g} of the potential; {advice}"
    )
