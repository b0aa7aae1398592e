"""The figure of the bonds: the distributions of their contributions to the moduli, and where the largest are."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ..physics.bonds import BondContributions
from ..physics.configuration import Configuration
from .packing import PALE, draw_bonds, draw_packing
from .style import COLOURS, new_figure, png

SIGNS = ((1.0, COLOURS[0], "positive"), (-1.0, COLOURS[1], "negative"))
# The distributions are logarithmic, and begin at this share of the largest contribution.
SMALLEST = 1e-6
N_BINS = 36


def bonds_figure(
    contributions: BondContributions,
    largest: Mapping[str, Int[np.ndarray, " b"]],
    configuration: Configuration,
    diameters: np.ndarray | None,
) -> bytes:
    """The distributions and, in two dimensions, the largest contributions on the packing, as a PNG file.

    **Arguments:**

    - `contributions`: those of all bonds.
    - `largest`: the entries of the pair list that are drawn on the packing, by modulus.
    - `configuration`, `diameters`: the packing, and the diameter of each species in units of length.
    """
    has_packing = configuration.dimension == 2
    figure = new_figure(13.0, 11.8 if has_packing else 6.4)
    axes = figure.subplots(1 + has_packing, 2, squeeze=False, height_ratios=[1.0, 1.5] if has_packing else [1.0])
    symbols = {"bulk_modulus": "K", "shear_modulus": "G"}
    for column, (name, values) in enumerate(moduli(contributions).items()):
        _draw_distribution(axes[0, column], values[np.asarray(contributions.mask)], symbols[name])
        if has_packing:
            draw_packing(axes[1, column], configuration, diameters, PALE)
            _draw_largest(axes[1, column], configuration, contributions, values, largest[name], symbols[name])
    return png(figure, dpi=110)


def moduli(contributions: BondContributions) -> dict[str, Float[np.ndarray, " p"]]:
    """The contributions by the name of their modulus."""
    return {"bulk_modulus": np.asarray(contributions.bulk), "shear_modulus": np.asarray(contributions.shear)}


def _draw_distribution(axes: Axes, contribution: Float[np.ndarray, " b"], symbol: str) -> None:
    """The distribution of the contributions of bonds, positive and negative ones apart."""
    top = float(np.max(np.abs(contribution)))
    bins = np.geomspace(SMALLEST * top, top * (1.0 + 1e-12), N_BINS + 1)
    for sign, colour, label in SIGNS:
        sizes = sign * contribution[sign * contribution > 0.0]
        # Relative to all bonds: the area under both curves together is one.
        heights = np.histogram(sizes, bins)[0] / (len(contribution) * np.diff(bins))
        occupied = heights > 0.0
        centres = np.sqrt(bins[1:] * bins[:-1])
        axes.loglog(centres[occupied], heights[occupied], "o-", color=colour, markersize=4, linewidth=1.0, label=label)
    axes.set_xlabel(rf"$|{symbol}_{{ij}}|$")
    axes.set_ylabel(rf"$P({symbol}_{{ij}})$")
    axes.set_title(f"{len(contribution)} bonds, {symbol} = {np.sum(contribution):.4g}", fontsize=11)
    axes.legend(fontsize=9, framealpha=0.9)


def _draw_largest(
    axes: Axes,
    configuration: Configuration,
    contributions: BondContributions,
    contribution: Float[np.ndarray, " p"],
    which: Int[np.ndarray, " b"],
    symbol: str,
) -> None:
    """The largest contributions to a modulus, as bonds that are the wider the larger they are."""
    strength = np.abs(contribution[which])
    width = 2.0 + 6.0 * strength / max(float(np.max(strength)), 1e-300)
    colours = np.where(contribution[which] > 0.0, SIGNS[0][1], SIGNS[1][1])
    draw_bonds(
        axes, configuration, np.asarray(contributions.i)[which], np.asarray(contributions.j)[which], width, colours
    )
    share = np.sum(contribution[which]) / np.sum(contribution)
    axes.set_title(rf"the {len(which)} largest $|{symbol}_{{ij}}|$: {share:.1%} of {symbol}", fontsize=11)
    lines = [Line2D([], [], color=colour, linewidth=4.0, label=label) for _, colour, label in SIGNS]
    axes.legend(handles=lines, loc="upper center", bbox_to_anchor=(0.5, -0.01), ncols=2, fontsize=9, frameon=False)
