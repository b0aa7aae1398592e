"""Pictures without a window: an empty figure to draw on, and what it becomes."""

import io

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def new_figure(width: float, height: float) -> Figure:
    """A figure of that size in inches, which no global state of matplotlib knows of."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def png(figure: Figure, dpi: int = 130) -> bytes:
    """The figure as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


# Okabe and Ito's palette: told apart by everybody.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")


def usual_range(values: np.ndarray) -> tuple[float, float]:
    """Where nearly all values are, with room: a few that are far away would leave nothing to be seen of the others."""
    low, high = np.nanpercentile(values, (2.0, 98.0))
    room = 1.5 * max(high - low, 1e-12)
    return max(low - room, float(np.nanmin(values))), min(high + room, float(np.nanmax(values)))
