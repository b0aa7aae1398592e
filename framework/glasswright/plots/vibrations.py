"""The figure of the vibrations: density of states, participation ratios, and the softest mode on the packing."""

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure, FigureBase

from ..physics.configuration import Configuration
from ..physics.vibrations import density_of_states
from .options import PlotOptions
from .packing import PALE, draw_cut, draw_displacement
from .style import ACCENT, COLOURS, drawing, is_narrow, letter, new_figure

FREQUENCY = r"frequency $\omega$ (energy$^{1/2}$ / length)"


def vibrations_figure(
    frequency: Float[np.ndarray, " m"],
    participation_ratio: Float[np.ndarray, " m"],
    softest: Float[np.ndarray, "n d"] | None,
    configuration: Configuration | None,
    diameters: np.ndarray | None,
    options: PlotOptions,
) -> Figure:
    """The figure of a spectrum.

    **Arguments:**

    - `frequency`, `participation_ratio`: of the modes, in ascending order, without zero modes.
    - `softest`, `configuration`, `diameters`: the displacements of the softest mode, and the packing; None for a
      figure without them.
    """
    with drawing(options):
        narrow, has_mode = is_narrow(options), softest is not None and configuration is not None
        curves = 3.4
        figure = new_figure(options, curves + (options.inches if narrow and has_mode else 0.0))
        parts: list[FigureBase] = [figure]
        if has_mode:
            shape = {"nrows": 2, "height_ratios": [curves, options.inches]} if narrow else {"ncols": 2}
            parts = list(np.ravel(figure.subfigures(**shape)))
        density, participation = panels = list(parts[0].subplots(2, 1, sharex=True))
        edges, heights = density_of_states(frequency)
        density.stairs(heights, edges, fill=True, facecolor=f"{COLOURS[0]}99", edgecolor=COLOURS[0])
        density.set_ylabel("density of states $D(\\omega)$\n(length / energy$^{1/2}$)")
        participation.plot(frequency, participation_ratio, ".", color=COLOURS[0], markersize=3, alpha=0.6)
        participation.plot(
            frequency[:1], participation_ratio[:1], "D", color=ACCENT, markersize=5, label="softest mode"
        )
        participation.set_ylim(0.0, None)
        participation.set_xlim(0.0, None)
        participation.set_ylabel("participation ratio $P$")
        participation.set_xlabel(FREQUENCY)
        participation.legend()
        if softest is not None and configuration is not None:
            axes = parts[1].subplots()
            shown = draw_cut(axes, configuration, diameters, PALE)
            draw_displacement(axes, configuration, softest, shown)
            where = "" if configuration.dimension == 2 else "\na cut, arrows projected on it"
            axes.set_title(rf"softest mode: $\omega$ = {frequency[0]:.4g}, $P$ = {participation_ratio[0]:.3f}{where}")
            panels = [*panels, axes]
        letter(panels)
    return figure
