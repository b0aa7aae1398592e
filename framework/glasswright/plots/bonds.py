"""The picture of the bonds: how their contributions to the moduli are distributed, and where the largest are."""

from typing import Any

import numpy as np
from matplotlib.lines import Line2D

from ..physics.bonds import BondContributions
from ..physics.configuration import Configuration
from .packing import draw_bonds, draw_plain_packing
from .style import COLOURS, new_figure, png

SIGNS = ((1.0, COLOURS[0], "positive"), (-1.0, COLOURS[1], "negative"))
# Contributions smaller than this share of the largest are left out of the distributions, which are logarithmic.
SMALLEST = 1e-6
N_BINS = 36


def bonds_figure(
    found: BondContributions,
    largest: dict[str, np.ndarray],
    configuration: Configuration,
    diameters: np.ndarray | None,
) -> bytes:
    """PNG with the distributions and, in two dimensions, the largest bonds on the packing.

    **Arguments:**

    - `largest`: by modulus, which entries of the pair list are to be drawn.
    """
    flat = configuration.dimension == 2
    figure = new_figure(13.0, 6.4 if not flat else 11.8)
    axes = figure.subplots(1 + flat, 2, squeeze=False, height_ratios=[1.0, 1.5] if flat else [1.0])
    symbols = {"bulk_modulus": "K", "shear_modulus": "G"}
    for column, (name, contribution) in enumerate(moduli(found).items()):
        _draw_distribution(axes[0, column], contribution[np.asarray(found.mask)], symbols[name])
        if flat:
            _draw_largest(axes[1, column], found, contribution, largest[name], configuration, diameters, symbols[name])
    return png(figure, dpi=110)


def moduli(found: BondContributions) -> dict[str, np.ndarray]:
    """The contributions by the name of their modulus."""
    return {"bulk_modulus": np.asarray(found.bulk), "shear_modulus": np.asarray(found.shear)}


def _draw_distribution(axes: Any, contribution: np.ndarray, symbol: str) -> None:
    top = float(np.max(np.abs(contribution)))
    bins = np.geomspace(SMALLEST * top, top * (1.0 + 1e-12), N_BINS + 1)
    for sign, colour, label in SIGNS:
        some = sign * contribution[sign * contribution > 0.0]
        # Of all bonds: both curves together have the area of one.
        heights = np.histogram(some, bins)[0] / (len(contribution) * np.diff(bins))
        seen = heights > 0.0
        centres = np.sqrt(bins[1:] * bins[:-1])
        axes.loglog(centres[seen], heights[seen], "o-", color=colour, markersize=4, linewidth=1.0, label=label)
    axes.set_xlabel(rf"$|{symbol}_{{ij}}|$")
    axes.set_ylabel(rf"$P({symbol}_{{ij}})$")
    axes.set_title(f"{len(contribution)} bonds, {symbol} = {np.sum(contribution):.4g}", fontsize=11)
    axes.legend(fontsize=9, framealpha=0.9)


def _draw_largest(axes: Any, found: BondContributions, contribution, which, configuration, diameters, symbol) -> None:
    draw_plain_packing(axes, configuration, diameters)
    strength = np.abs(contribution[which])
    width = 2.0 + 6.0 * strength / max(float(np.max(strength)), 1e-300)
    # A colour for each periodic image of each bond.
    colours = np.where(contribution[which] > 0.0, SIGNS[0][1], SIGNS[1][1])
    draw_bonds(axes, configuration, np.asarray(found.i)[which], np.asarray(found.j)[which], width, colours)
    share = np.sum(contribution[which]) / np.sum(contribution)
    axes.set_title(rf"the {len(which)} largest $|{symbol}_{{ij}}|$: {share:.1%} of {symbol}", fontsize=11)
    lines = [Line2D([], [], color=colour, linewidth=4.0, label=label) for _, colour, label in SIGNS]
    axes.legend(handles=lines, loc="upper center", bbox_to_anchor=(0.5, -0.01), ncols=2, fontsize=9, frameon=False)
