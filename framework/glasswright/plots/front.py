"""The figure of a front: several runs by what they have reached of two wishes, and those that none is better than."""

import itertools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from .options import PlotOptions
from .style import ACCENT, COLOURS, drawing, in_words, is_narrow, letter, new_figure


def on_front(points: Float[np.ndarray, "n k"]) -> Bool[np.ndarray, " n"]:
    """Whether each point is on the Pareto front: no other is as small in everything and smaller in something."""
    smaller = np.all(points[None] <= points[:, None], axis=2) & np.any(points[None] < points[:, None], axis=2)
    front: np.ndarray = ~np.any(smaller, axis=1)
    return front


def _number_decades(axis: Axis, decades: float) -> None:
    """The numbers at a logarithmic axis: more of them where it has few decades."""
    if decades < 3.0:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def front_figure(
    names: Sequence[str], points: Float[np.ndarray, "n k"], labels: Sequence[str], options: PlotOptions
) -> Figure:
    """A panel for each pair of numbers that are to be small, with the runs on the front filled and named.

    **Arguments:**

    - `names`: what the columns of the points are.
    - `labels`: names of the runs.
    """
    pairs = list(itertools.combinations(range(len(names)), 2))
    with drawing(options):
        columns = 1 if is_narrow(options) or len(pairs) == 1 else 2
        rows = -(-len(pairs) // columns)
        width = min(options.inches, 4.5) if len(pairs) == 1 else options.inches
        figure = new_figure(options, 0.78 * rows * width / columns, width)
        panels = list(np.ravel(figure.subplots(rows, columns, squeeze=False)))
        for unused in panels[len(pairs) :]:
            unused.set_axis_off()
        for axes, (x, y) in zip(panels, pairs, strict=False):
            best = on_front(points[:, [x, y]])
            axes.plot(
                *points[~best][:, [x, y]].T, "o", color="white", markeredgecolor="0.5", markersize=4, label="other runs"
            )
            order = np.argsort(points[best][:, x])
            front = points[best][order][:, [x, y]]
            axes.step(*front.T, where="post", color=ACCENT, linewidth=0.8, linestyle="--", zorder=1)
            axes.plot(*front.T, "D", color=COLOURS[0], markersize=5, label="on the front")
            for label, (right, up) in zip(np.asarray(labels)[best][order], front, strict=True):
                axes.annotate(label, (right, up), xytext=(4, 3), textcoords="offset points", fontsize=6)
            for axis, column in ((axes.xaxis, x), (axes.yaxis, y)):
                if np.all(points[:, column] > 0.0):
                    axes.set(**{f"{axis.axis_name}scale": "log"})
                    _number_decades(axis, float(np.ptp(np.log10(points[:, column]))))
                axis.set_label_text(f"loss of {in_words(names[column])}")
            axes.legend()
        letter(panels[: len(pairs)])
    return figure
