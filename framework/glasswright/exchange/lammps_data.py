"""Packings as data files of LAMMPS."""

import numpy as np

from .packing import Packing, in_standard_form


def lammps_data(packing: Packing) -> str:
    """The text of a data file: `atom_style atomic`, masses of one, positions with 17 digits.

    In two dimensions the box is one unit of length high and all particles are in its middle.
    """
    packing = in_standard_form(packing)
    configuration = packing.configuration
    n, d = configuration.fractional.shape
    box = np.eye(3)
    box[:d, :d] = np.asarray(configuration.box)
    fractional = np.asarray(configuration.fractional)
    position = np.zeros((n, 3))
    position[:, :d] = (fractional - np.floor(fractional)) @ np.asarray(configuration.box).T
    low = -0.5 if d == 2 else 0.0
    lines = [
        "Packing by glasswright; types: "
        + ", ".join(f"{k} = {name}" for k, name in enumerate(packing.labels, start=1)),
        "",
        f"{n} atoms",
        f"{len(packing.labels)} atom types",
        "",
        f"0.0 {box[0, 0]:.17g} xlo xhi",
        f"0.0 {box[1, 1]:.17g} ylo yhi",
        f"{low} {box[2, 2] + low:.17g} zlo zhi",
        f"{box[0, 1]:.17g} {box[0, 2]:.17g} {box[1, 2]:.17g} xy xz yz",
        "",
        "Masses",
        "",
        *(f"{k} 1.0  # {name}" for k, name in enumerate(packing.labels, start=1)),
        "",
        "Atoms  # atomic",
        "",
    ]
    types = np.asarray(configuration.species) + 1
    lines += [
        f"{k} {kind} {x:.17g} {y:.17g} {z:.17g}"
        for k, (kind, (x, y, z)) in enumerate(zip(types, position, strict=True), start=1)
    ]
    return "\n".join(lines) + "\n"
