"""Packings of a run as text, with what their interactions say about them."""

from ..physics.configuration import Configuration
from ..physics.potential import AbstractPotential
from ..physics.summary import energy_and_stress, particle_diameters
from ..run.extxyz import write_configuration


def packing_text(
    potential: AbstractPotential,
    configuration: Configuration,
    described: str | None = None,
    **comment: float,
) -> str:
    """A packing as extended XYZ, with energy, stress and the sizes of its particles.

    **Arguments:**

    - `potential`: the interactions.
    - `described`: their description that the packing carries, if it does.
    - `comment`: further numbers for the comment line.
    """
    energy, stress = energy_and_stress(potential, configuration)
    return write_configuration(
        configuration,
        potential=described,
        diameters=particle_diameters(potential, configuration),
        stress=stress,
        labels=None,
        energy=energy,
        **comment,
    )
