"""Reports on one packing of an analysis: the contributions of its bonds, and the spectrum of its vibrations."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

import equinox as eqx
import numpy as np

from .._errors import RunError
from .._types import Untyped
from ..components.protocol import AbstractProtocol, Prepared
from ..evaluation.model import Model
from ..physics.bonds import BondContributions
from ..physics.potential import AbstractPotential
from ..physics.state import Equilibrium
from ..physics.vibrations import VibrationalModes, spectrum
from ..plots.options import PlotOptions
from ..run.files import write_atomically
from ..run.pictures import write_picture

# Bonds that are named and drawn.
LARGEST = 10


class Bond(TypedDict):
    """One bond, and its contribution to a modulus."""

    i: int
    j: int
    distance: float
    contribution: float
    share: float


class BondsReport(TypedDict):
    """The contributions of all bonds to one modulus."""

    sum: float
    n_bonds: int
    n_negative: int
    share_of_ten: float
    largest: list[Bond]


class VibrationsReport(TypedDict):
    """The spectrum of the Hessian."""

    lowest_frequency: float
    lowest_eigenvalue: float
    participation_ratio_of_softest: float
    n_modes: int
    n_zero_modes: int
    n_unstable_modes: int
    frequency: np.ndarray
    participation_ratio: np.ndarray


def report_bonds(model: Model, prepared: Prepared, folder: Path | None, options: PlotOptions) -> dict[str, BondsReport]:
    """What each bond contributes to the moduli; writes the picture `bonds` and `bonds.npz`."""
    bonds = _bond_contributions(model.protocol, model.potential, prepared)
    contributions = {"bulk_modulus": np.asarray(bonds.bulk), "shear_modulus": np.asarray(bonds.shear)}
    largest = {name: np.argsort(-np.abs(values))[:LARGEST] for name, values in contributions.items()}
    mask = np.asarray(bonds.mask)
    if folder is not None:
        # Drawing needs matplotlib, which is slow to import.
        from ..plots.bonds import bonds_figure

        columns = {"i": bonds.i, "j": bonds.j, "distance": bonds.distance, **contributions}
        rows = {name: np.asarray(column)[mask] for name, column in columns.items()}
        figure = bonds_figure(
            rows["i"],
            rows["j"],
            {name: rows[name] for name in contributions},
            prepared.configuration,
            diameters_of(model.potential),
            options,
        )
        write_picture(folder, "bonds", figure, options)
        write_atomically(folder / "bonds.npz", _compressed(rows))
    return {name: _report_modulus(bonds, values, mask, largest[name]) for name, values in contributions.items()}


def _report_modulus(
    bonds: BondContributions, contributions: np.ndarray, mask: np.ndarray, largest: np.ndarray
) -> BondsReport:
    total = float(np.sum(contributions))
    return {
        "sum": total,
        "n_bonds": int(np.sum(mask)),
        "n_negative": int(np.sum(contributions[mask] < 0.0)),
        "share_of_ten": float(np.sum(contributions[largest])) / total,
        "largest": [
            {
                "i": int(bonds.i[k]),
                "j": int(bonds.j[k]),
                "distance": float(bonds.distance[k]),
                "contribution": float(contributions[k]),
                "share": float(contributions[k]) / total,
            }
            for k in largest
        ],
    }


def _compressed(columns: Mapping[str, np.ndarray]) -> bytes:
    """Columns as an npz file."""
    buffer = io.BytesIO()
    # The annotations of NumPy count its option `allow_pickle` among the columns.
    arrays: dict[str, Untyped] = dict(columns)
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def report_vibrations(model: Model, prepared: Prepared, folder: Path | None, options: PlotOptions) -> VibrationsReport:
    """The spectrum of the Hessian; writes the picture `vibrations`, and the softest mode in `vibrations.npz`."""
    modes = spectrum(_vibrational_modes(model.protocol, model.potential, prepared))
    if not len(modes.frequency):
        raise RunError("vibrations: every mode of this packing is a zero mode")
    if folder is not None:
        from ..plots.vibrations import vibrations_figure

        figure = vibrations_figure(
            modes.frequency,
            modes.participation_ratio,
            modes.softest,
            prepared.configuration,
            diameters_of(model.potential),
            options,
        )
        write_picture(folder, "vibrations", figure, options)
        write_atomically(folder / "vibrations.npz", _compressed({"softest": np.asarray(modes.softest)}))
    return {
        "lowest_frequency": modes.frequency[0],
        "lowest_eigenvalue": modes.frequency[0] ** 2,
        "participation_ratio_of_softest": modes.participation_ratio[0],
        "n_modes": len(modes.frequency),
        "n_zero_modes": modes.n_zero_modes,
        "n_unstable_modes": modes.n_unstable_modes,
        "frequency": modes.frequency,
        "participation_ratio": modes.participation_ratio,
    }


def diameters_of(potential: AbstractPotential) -> np.ndarray | None:
    """The diameters of the species, where the potential has them: for pictures."""
    diameters = potential.species_diameters
    return None if diameters is None else np.asarray(diameters)


@eqx.filter_jit
def _bond_contributions(
    protocol: AbstractProtocol, potential: AbstractPotential, prepared: Prepared
) -> BondContributions:
    return _equilibrium(protocol, potential, prepared).bond_contributions


@eqx.filter_jit
def _vibrational_modes(
    protocol: AbstractProtocol, potential: AbstractPotential, prepared: Prepared
) -> VibrationalModes:
    return _equilibrium(protocol, potential, prepared).vibrations


def _equilibrium(protocol: AbstractProtocol, potential: AbstractPotential, prepared: Prepared) -> Equilibrium:
    """The state of a protocol that gives equilibria: others have been refused."""
    state = protocol.attach(potential, prepared)
    assert isinstance(state, Equilibrium)
    return state
