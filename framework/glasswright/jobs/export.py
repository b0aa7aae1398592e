"""Writing packings and their interactions in the formats of other programs."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..exchange.gsd import write_gsd
from ..exchange.lammps_data import lammps_data
from ..exchange.lammps_script import input_script
from ..exchange.lammps_table import check_tabulated, pair_tables, table_file
from ..exchange.packing import Packing, describe_packing
from ..physics.configuration import Configuration
from ..physics.pair_potential import AbstractPairPotential
from ..physics.potential import AbstractPotential
from ..run.extxyz import species_labels, write_configuration
from ..run.files import make_folder, write_atomically

TABLES, SCRIPT = "interactions.table", "in.measure"


def export(
    configurations: Sequence[Configuration],
    potential: AbstractPotential,
    formats: Sequence[str],
    folder: Path,
    described: str | None = None,
) -> list[str]:
    """Write packings and their interactions into a folder; returns the names of the files.

    **Arguments:**

    - `configurations`: the packings, at minima of the potential.
    - `formats`: some of `exchange.formats.FORMATS`.
    - `described`: the description of the potential that extended XYZ carries.

    Raises `RequestError`, before anything is written, if a format cannot say what the interactions are.
    """
    n_species = 1 + max(int(np.max(np.asarray(configuration.species))) for configuration in configurations)
    labels = tuple(species_labels(n_species))
    packings = [describe_packing(potential, configuration, labels) for configuration in configurations]
    if "lammps" in formats:
        check_tabulated(potential, packings)
    make_folder(folder)
    written: list[str] = []
    if "extxyz" in formats:
        write_atomically(folder / "packings.extxyz", "".join(_as_extxyz(packing, described) for packing in packings))
        written.append("packings.extxyz")
    if "gsd" in formats:
        write_gsd(folder / "packings.gsd", packings)
        written.append("packings.gsd")
    if "lammps" in formats:
        assert isinstance(potential, AbstractPairPotential)
        written += _write_lammps(folder, potential, packings)
    return written


def _as_extxyz(packing: Packing, described: str | None) -> str:
    return write_configuration(
        packing.configuration,
        potential=described,
        diameters=packing.diameters,
        stress=packing.stress,
        labels=packing.labels,
        energy=packing.energy,
    )


def _write_lammps(folder: Path, potential: AbstractPairPotential, packings: Sequence[Packing]) -> list[str]:
    width = len(str(len(packings) - 1))
    names = [f"packing_{k:0{width}d}.data" for k in range(len(packings))]
    for name, packing in zip(names, packings, strict=True):
        write_atomically(folder / name, lammps_data(packing))
    tables, labels = pair_tables(potential, packings), packings[0].labels
    write_atomically(folder / TABLES, table_file(tables, labels))
    dimension = packings[0].configuration.dimension
    write_atomically(folder / SCRIPT, input_script(SCRIPT, names, TABLES, tables, labels, dimension))
    return [*names, TABLES, SCRIPT]
