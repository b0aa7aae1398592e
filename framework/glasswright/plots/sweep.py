"""The figure of a sweep: losses and values of its runs over each number in which they differ."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .options import PlotOptions
from .style import ACCENT, COLOURS, Quantity, drawing, integer_ticks, is_narrow, letter, new_figure

# Panels of one axis of a sweep: the loss, and the first values.
MOST_PANELS = 4


def sweep_figure(
    axes: Mapping[str, Float[np.ndarray, " n"]],
    columns: Mapping[str, Float[np.ndarray, " n"]],
    quantities: Mapping[str, Quantity],
    options: PlotOptions,
) -> Figure:
    """Every run as a point, and the mean of those with the same number, for each axis and each column.

    **Arguments:**

    - `axes`: what was varied, by its key; not a number for runs that have none there.
    - `columns`: what was reached: `loss`, and values by term.
    - `quantities`: what the terms measure, by name.
    """
    shown = list(columns)[:MOST_PANELS]
    pairs = [(key, name) for key in axes for name in shown]
    with drawing(options):
        n_columns = 1 if is_narrow(options) else min(len(shown), 3)
        n_rows = -(-len(pairs) // n_columns)
        figure = new_figure(options, 2.3 * n_rows)
        panels = list(np.ravel(figure.subplots(n_rows, n_columns, squeeze=False)))
        for unused in panels[len(pairs) :]:
            unused.set_axis_off()
        for panel, (key, name) in zip(panels, pairs, strict=False):
            _draw(panel, axes[key], columns[name], None if name == "loss" else quantities.get(name, Quantity(name)))
            panel.set_xlabel(key)
        letter(panels[: len(pairs)])
    return figure


def _draw(axes: Axes, x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"], quantity: Quantity | None) -> None:
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    axes.plot(x, y, "o", color="white", markeredgecolor=COLOURS[0], markersize=4, label="a run")
    places = np.unique(x)
    if len(places) < len(x):
        means = np.array([np.mean(y[x == place]) for place in places])
        counts = np.array([np.sum(x == place) for place in places])
        spread = np.array([np.std(y[x == place], ddof=1) if np.sum(x == place) > 1 else 0.0 for place in places])
        axes.errorbar(
            places, means, spread / np.sqrt(counts), fmt="D-", color=COLOURS[0], markersize=4, capsize=2, label="mean"
        )
    if quantity is None:
        axes.set_ylabel("loss $L$")
        if len(y) and np.all(y > 0.0):
            axes.set_yscale("log")
    else:
        axes.set_ylabel(quantity.label)
        if quantity.target is not None:
            axes.axhline(quantity.target, color=ACCENT, linestyle="--", linewidth=1.0, label="target")
    if len(places) and np.all(places == np.round(places)):
        integer_ticks(axes, int(places[0]), int(places[-1]))
    if len(places) > 1 and np.all(places > 0.0) and places[-1] / places[0] >= 30.0:
        axes.set_xscale("log")
    axes.legend()
