"""What all figures share: the canvas, the PNG file, colours and axes."""

import io

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches, without a window and outside of matplotlib's global state."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def png(figure: Figure, dpi: int = 130) -> bytes:
    """The figure as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


# The palette of Okabe and Ito, which people with any colour vision can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")


def usual_range(values: np.ndarray) -> tuple[float, float]:
    """A range for an axis that holds nearly all values with a margin, and leaves far outliers out."""
    low, high = np.nanpercentile(values, (2.0, 98.0))
    margin = 1.5 * max(high - low, 1e-12 * max(abs(low), abs(high)))
    return max(low - margin, float(np.nanmin(values))), min(high + margin, float(np.nanmax(values)))
