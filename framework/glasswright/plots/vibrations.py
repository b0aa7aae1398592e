"""The figure of the vibrations: density of states, participation ratios, and the softest mode on the packing."""

from typing import Any

import numpy as np

from ..physics.configuration import Configuration
from ..physics.vibrations import Spectrum, density_of_states
from .packing import PALE, draw_displacement, draw_packing
from .style import COLOURS, new_figure, png


def vibrations_figure(spectrum: Spectrum, configuration: Configuration, diameters: np.ndarray | None) -> bytes:
    """The figure of a spectrum and of its softest mode as a PNG file."""
    figure = new_figure(13.0, 6.6)
    halves: Any = figure.subfigures(1, 2)
    left, right = halves
    density, participation = left.subplots(2, 1, sharex=True)
    edges, heights = density_of_states(spectrum.frequency)
    density.stairs(heights, edges, fill=True, color=COLOURS[0], alpha=0.7)
    density.set_ylabel(r"density of states $D(\omega)$")
    participation.plot(spectrum.frequency, spectrum.participation_ratio, ".", color=COLOURS[0], markersize=4, alpha=0.6)
    participation.plot(
        spectrum.frequency[:1],
        spectrum.participation_ratio[:1],
        "o",
        color=COLOURS[1],
        markersize=7,
        label="softest mode",
    )
    participation.set_ylim(0.0, None)
    participation.set_xlim(0.0, None)
    participation.set_ylabel("participation ratio")
    participation.set_xlabel(r"frequency $\omega$")
    participation.legend(fontsize=9, framealpha=0.9)
    axes: Any = right.subplots()
    shown = draw_packing(axes, configuration, diameters, PALE)
    draw_displacement(axes, configuration, spectrum.softest, shown)
    where = "" if configuration.dimension == 2 else ", a cut, arrows projected on it"
    numbers = rf"$\omega$ = {spectrum.frequency[0]:.4g}, participation ratio {spectrum.participation_ratio[0]:.3f}"
    axes.set_title(f"softest mode: {numbers}{where}", fontsize=10)
    return png(figure)
