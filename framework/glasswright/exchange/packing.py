"""What other programs are told about a packing, and the form of its box that they understand."""

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..physics.configuration import Configuration
from ..physics.potential import AbstractPotential
from ..physics.summary import energy_and_stress, particle_diameters


@dataclasses.dataclass(frozen=True)
class Packing:
    """A packing, with what its interactions say about it.

    **Attributes:**

    - `configuration`: the particles and their box.
    - `labels`: the name of each species.
    - `diameters`: of each particle, in units of length; None if particles have no size.
    - `energy`: potential energy `U`.
    - `stress`: `(1/V) dU/de`, positive under tension, in energy per volume.
    """

    configuration: Configuration
    labels: tuple[str, ...]
    diameters: Float[np.ndarray, " n"] | None
    energy: float
    stress: Float[np.ndarray, "d d"]


def describe_packing(potential: AbstractPotential, configuration: Configuration, labels: tuple[str, ...]) -> Packing:
    """The packing under its interactions."""
    energy, stress = energy_and_stress(potential, configuration)
    return Packing(configuration, labels, particle_diameters(potential, configuration), energy, stress)


def in_standard_form(packing: Packing) -> Packing:
    """The same packing, turned so that the first lattice vector is along x and the second in the plane of x and y.

    The matrix of lattice vectors is then upper triangular with a positive diagonal, which is the only form that HOOMD
    and LAMMPS know. If the lattice vectors are left-handed, the first two of them are exchanged.
    """
    configuration = packing.configuration
    box, fractional = np.asarray(configuration.box), np.asarray(configuration.fractional)
    if np.linalg.det(box) < 0.0:
        order = [1, 0, 2][: configuration.dimension]
        box, fractional = box[:, order], fractional[:, order]
    stress = packing.stress
    if not (np.array_equal(box, np.triu(box)) and np.all(np.diagonal(box) > 0.0)):
        rotation, box = np.linalg.qr(box)
        sign = np.sign(np.diagonal(box))
        rotation, box = rotation * sign, np.triu(box * sign[:, None])
        stress = rotation.T @ stress @ rotation
    turned = dataclasses.replace(configuration, fractional=jnp.asarray(fractional), box=jnp.asarray(box))
    return dataclasses.replace(packing, configuration=turned, stress=stress)
