"""What all figures share: width, formats and style, the canvas, colours, labels and axes."""

import contextlib
import dataclasses
import io
from collections.abc import Iterator, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .._types import Untyped
from .options import PlotOptions

# The palette of Okabe and Ito, which people with any colour vision can tell apart, in an order in which neighbours
# also differ in grey.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000", "#F0E442")
# What stands out: targets, errors, the opposite sign.
ACCENT = "#D55E00"
# The lines of one picture differ in more than their colours.
DASHES: tuple[str | tuple[float, tuple[float, ...]], ...] = (
    "-",
    (0, (4, 1.5)),
    (0, (1, 1)),
    (0, (5, 1, 1, 1)),
    (0, (7, 2)),
    (0, (3, 1, 1, 1, 1, 1)),
)
# Figures wider than this, in inches, have their panels side by side; narrower ones, below each other.
NARROW = 5.0
# Pixels per inch of a PNG file.
RESOLUTION = 220
# Keys are texts, of which annotations of Matplotlib 3.11 know a fixed list.
SETTINGS: dict[Untyped, object] = {
    "font.size": 8.0,
    "axes.titlesize": 8.0,
    "axes.labelsize": 8.0,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "legend.fontsize": 7.0,
    "legend.framealpha": 0.9,
    "legend.handlelength": 2.4,
    "legend.borderaxespad": 0.4,
    "figure.titlesize": 9.0,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "lines.linewidth": 1.1,
    "lines.markersize": 4.0,
    "patch.linewidth": 0.6,
    "hatch.linewidth": 0.5,
    "mathtext.fontset": "dejavusans",
    # Text stays text, which one can search and edit.
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    # Two drawings of the same numbers are the same file.
    "svg.hashsalt": "glasswright",
}


@contextlib.contextmanager
def drawing(options: PlotOptions) -> Iterator[None]:
    """Matplotlib's settings while a figure is drawn or saved: ours, and over them the style that was asked for."""
    # It is slow to import.
    import matplotlib.style

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(SETTINGS)
        if options.style is not None:
            matplotlib.style.use(options.style)
        yield


class ShownFigure(Figure):
    """A figure that a notebook shows, without matplotlib's global state."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=RESOLUTION // 2)
        return buffer.getvalue()


def new_figure(options: PlotOptions, height: float, width: float | None = None) -> Figure:
    """An empty figure, without a window and outside of matplotlib's global state.

    **Arguments:**

    - `height`, `width`: in inches; the width is that of the options unless it is given.
    """
    figure = ShownFigure(figsize=(width or options.inches, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def is_narrow(options: PlotOptions) -> bool:
    """Whether there is room for one panel beside another."""
    return options.inches < NARROW


def rendered(figure: Figure, format: str, options: PlotOptions, *, text_as_paths: bool = False) -> bytes:
    """The figure as a file of a format: `png`, `pdf` or `svg`.

    **Arguments:**

    - `text_as_paths`: whether letters in SVG are drawn, for readers without the font; otherwise they stay text.
    """
    buffer = io.BytesIO()
    # No date: the same numbers give the same file.
    metadata: dict[str, None] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(format, {})
    with drawing(options):
        if text_as_paths:
            matplotlib.rcParams["svg.fonttype"] = "path"
        figure.savefig(buffer, format=format, dpi=RESOLUTION, metadata=metadata)
    return buffer.getvalue()


def letter(panels: Sequence[Axes]) -> None:
    """Mark panels with (a), (b), …, if there is more than one."""
    if len(panels) < 2:
        return
    for k, axes in enumerate(panels):
        axes.set_title(f"({chr(ord('a') + k)})", loc="left", fontweight="bold")


def integer_ticks(axes: Axes, first: int, last: int) -> None:
    """Ticks of the horizontal axis at whole numbers: there is no half step."""
    if last - first < 2:
        axes.set_xlim(first - 1, last + 1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def usual_range(values: np.ndarray) -> tuple[float, float]:
    """A range for an axis that holds nearly all values with a margin, and leaves far outliers out."""
    low, high = np.nanpercentile(values, (2.0, 98.0))
    margin = 1.5 * max(high - low, 1e-12 * max(abs(low), abs(high)))
    return max(low - margin, float(np.nanmin(values))), min(high + margin, float(np.nanmax(values)))


@dataclasses.dataclass(frozen=True)
class Quantity:
    """A property as pictures name it.

    **Attributes:**

    - `name`: of its term.
    - `symbol`: in matplotlib's notation for formulas, without dollar signs; empty for none.
    - `units`: in words; empty if they are unknown.
    - `target`: the number that is wanted of it, if any.
    """

    name: str
    symbol: str = ""
    units: str = ""
    target: float | None = None

    @property
    def title(self) -> str:
        """Its name and symbol."""
        words = in_words(self.name)
        return f"{words} ${self.symbol}$" if self.symbol else words

    @property
    def label(self) -> str:
        """What stands at an axis: name, symbol and units."""
        return self.title if self.units in ("", "dimensionless") else f"{self.title} ({self.units})"

    @property
    def inverse_units(self) -> str:
        """The units of a density of it."""
        if self.units in ("", "dimensionless"):
            return ""
        above, _, below = self.units.partition(" / ")
        return f"{below} / {above}" if below else f"1 / {above}"


def in_words(name: str) -> str:
    """The name of a term or a component as a reader would write it."""
    return name.replace("_", " ").replace("poisson ", "Poisson ")


def component_names(name: str, shape: tuple[int, ...], n_species: int) -> list[str]:
    """What the entries of a design variable are called: by species, by pair of species, or by number."""
    words = in_words(name.rpartition(".")[2])
    count = int(np.prod(shape))
    if shape == ():
        return [words]
    if count == n_species:
        return [f"{words} {k}" for k in range(count)]
    if count == n_species * (n_species + 1) // 2:
        # Packed: the upper triangle, row by row.
        comma = "," if n_species > 10 else ""
        return [f"{words} {i}{comma}{j}" for i in range(n_species) for j in range(i, n_species)]
    return [f"{words} {k}" for k in range(count)]
