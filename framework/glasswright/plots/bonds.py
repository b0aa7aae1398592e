"""The figure of the bonds: the distributions of their contributions to the moduli, and where the largest are."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..physics.configuration import Configuration
from .options import PlotOptions
from .packing import PALE, draw_bonds, draw_cut
from .style import ACCENT, COLOURS, drawing, is_narrow, letter, new_figure

# The sign of a contribution, its colour, the marker and dashes of its curve, and its name.
SIGNS = ((1.0, COLOURS[0], "o", "-", "positive"), (-1.0, ACCENT, "s", "--", "negative"))
# The distributions are logarithmic, and begin at this share of the largest contribution.
SMALLEST = 1e-6
N_BINS = 36
# Bonds that are drawn.
LARGEST = 10
SYMBOLS = {"bulk_modulus": "K", "shear_modulus": "G"}


def bonds_figure(
    i: Int[np.ndarray, " b"],
    j: Int[np.ndarray, " b"],
    moduli: Mapping[str, Float[np.ndarray, " b"]],
    configuration: Configuration | None,
    diameters: np.ndarray | None,
    options: PlotOptions,
) -> Figure:
    """The distributions and, in two dimensions, the largest contributions on the packing.

    **Arguments:**

    - `i`, `j`: the particles of each bond.
    - `moduli`: the contributions of the bonds, by the name of the modulus.
    - `configuration`, `diameters`: the packing, and the diameter of each species in units of length.
    """
    with drawing(options):
        has_packing, narrow = configuration is not None and configuration.dimension == 2, is_narrow(options)
        columns = 1 if narrow else len(moduli)
        width = options.inches / columns
        heights = [0.8 * width] * (len(moduli) // columns)
        if has_packing:
            heights += [1.05 * width] * (len(moduli) // columns)
        figure = new_figure(options, sum(heights))
        panels: list[Axes] = list(
            np.ravel(figure.subplots(len(heights), columns, squeeze=False, height_ratios=heights))
        )
        for k, (name, values) in enumerate(moduli.items()):
            symbol = SYMBOLS.get(name, "M")
            _draw_distribution(panels[k], values, symbol)
            if has_packing and configuration is not None:
                axes = panels[len(moduli) + k]
                draw_cut(axes, configuration, diameters, PALE)
                _draw_largest(axes, configuration, i, j, values, symbol)
        letter(panels)
    return figure


def _draw_distribution(axes: Axes, contribution: Float[np.ndarray, " b"], symbol: str) -> None:
    """The distribution of the contributions of bonds, positive and negative ones apart."""
    top = float(np.max(np.abs(contribution)))
    bins = np.geomspace(SMALLEST * top, top * (1.0 + 1e-12), N_BINS + 1)
    for sign, colour, marker, dashes, label in SIGNS:
        sizes = sign * contribution[sign * contribution > 0.0]
        # Relative to all bonds: the area under both curves together is one.
        heights = np.histogram(sizes, bins)[0] / (len(contribution) * np.diff(bins))
        occupied = heights > 0.0
        centres = np.sqrt(bins[1:] * bins[:-1])
        axes.loglog(
            centres[occupied],
            heights[occupied],
            marker=marker,
            linestyle=dashes,
            color=colour,
            markersize=3,
            linewidth=0.8,
            label=label,
        )
    axes.set_xlabel(rf"contribution of a bond $|{symbol}_{{ij}}|$ (energy / volume)")
    axes.set_ylabel(rf"$P({symbol}_{{ij}})$ (volume / energy)")
    axes.set_title(f"{len(contribution)} bonds, ${symbol}$ = {np.sum(contribution):.4g}")
    axes.legend()


def _draw_largest(
    axes: Axes,
    configuration: Configuration,
    i: Int[np.ndarray, " b"],
    j: Int[np.ndarray, " b"],
    contribution: Float[np.ndarray, " b"],
    symbol: str,
) -> None:
    """The largest contributions to a modulus, as bonds that are the wider the larger they are."""
    which = np.argsort(-np.abs(contribution))[:LARGEST]
    strength = np.abs(contribution[which])
    width = 1.2 + 3.6 * strength / max(float(np.max(strength)), 1e-300)
    colours = np.where(contribution[which] > 0.0, SIGNS[0][1], SIGNS[1][1])
    draw_bonds(axes, configuration, i[which], j[which], width, colours, contribution[which] < 0.0)
    share = np.sum(contribution[which]) / np.sum(contribution)
    axes.set_title(rf"the {len(which)} largest $|{symbol}_{{ij}}|$: {share:.1%} of ${symbol}$")
    lines = [
        Line2D([], [], color=colour, linewidth=2.5, linestyle="-" if sign > 0.0 else (0, (0.5, 0.6)), label=label)
        for sign, colour, _, _, label in SIGNS
    ]
    axes.legend(handles=lines, loc="upper center", bbox_to_anchor=(0.5, -0.01), ncols=2, frameon=False)
