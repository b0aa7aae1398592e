"""Packings as GSD, which HOOMD-blue, OVITO and freud read.

The format has positions and the box in single precision. Files that are written here have them in double precision as
well, as quantities that are logged (`log/particles/glasswright/fractional` and `log/glasswright/box`), beside energy
and stress.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .._errors import RequestError, RunError
from .._types import Untyped
from .packing import Packing, in_standard_form

# Logged quantities: the positions in units of the lattice vectors, the lattice vectors as columns, and others.
FRACTIONAL, BOX = "particles/glasswright/fractional", "glasswright/box"
ENERGY, STRESS = "glasswright/energy", "glasswright/stress"


def write_gsd(path: Path, packings: Sequence[Packing]) -> None:
    """Write packings as the frames of a file, whole or not at all.

    Raises `RequestError` if the package `gsd` is not installed.
    """
    try:
        import gsd.hoomd as gsd
    except ImportError as error:
        raise RequestError("format gsd: needs the package gsd; pip install 'glasswright[files]'") from error
    temporary = path.with_name(f".{path.name}.partial")
    try:
        with gsd.open(str(temporary), "w") as file:
            for packing in packings:
                file.append(_frame(gsd.Frame(), in_standard_form(packing)))
        os.replace(temporary, path)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from error


def _frame(frame: Untyped, packing: Packing) -> Untyped:
    """The frame of a packing in standard form; `frame` is an empty one of gsd's."""
    configuration = packing.configuration
    n, d = configuration.fractional.shape
    box, fractional = np.asarray(configuration.box), np.asarray(configuration.fractional)
    # The origin is in the middle of the box.
    centred = fractional - np.floor(fractional) - 0.5
    position = np.zeros((n, 3))
    position[:, :d] = centred @ box.T
    full = np.eye(3)
    full[:d, :d] = box
    tilts = [full[0, 1] / full[1, 1], full[0, 2] / full[2, 2], full[1, 2] / full[2, 2]]
    frame.configuration.dimensions = d
    frame.configuration.box = [*np.diagonal(full), *tilts]
    frame.particles.N = n
    frame.particles.types = list(packing.labels)
    frame.particles.typeid = np.asarray(configuration.species, dtype=np.uint32)
    frame.particles.position = position.astype(np.float32)
    if packing.diameters is not None:
        frame.particles.diameter = packing.diameters.astype(np.float32)
    frame.log[FRACTIONAL] = fractional
    frame.log[BOX] = box
    frame.log[ENERGY] = np.asarray([packing.energy])
    frame.log[STRESS] = packing.stress
    for name, field in configuration.disorder.items():
        frame.log[f"particles/glasswright/{name}"] = np.asarray(field)
    return frame
