"""The figure of predictiveness: predicted and measured changes of each property over the length of the step."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .._types import JSON
from .options import PlotOptions
from .style import ACCENT, COLOURS, drawing, in_words, is_narrow, letter, new_figure


def predictiveness_figure(report: Mapping[str, Mapping[str, JSON]], options: PlotOptions) -> Figure:
    """A double-logarithmic plot for each property.

    **Arguments:**

    - `report`: the section `predictiveness` of `analysis.json`, by property.
    """
    names = list(report)
    with drawing(options):
        columns = 1 if is_narrow(options) else min(max(len(names), 1), 2)
        rows = -(-max(len(names), 1) // columns)
        figure = new_figure(options, 2.9 * rows)
        panels = list(np.ravel(figure.subplots(rows, columns, squeeze=False)))
        for unused in panels[len(names) :]:
            unused.set_axis_off()
        for name, axes in zip(names, panels, strict=False):
            _draw(axes, name, report[name])
        letter(panels[: len(names)])
    return figure


def _draw(axes: Axes, name: str, report: Mapping[str, JSON]) -> None:
    """The changes of one property."""
    lines = [line for line in report["steps"] if line["found"] is not None]
    words = in_words(name)
    axes.set_title(words)
    axes.set_xlabel(r"step of the design $|\Delta\theta|$, scaled")
    axes.set_ylabel(f"change of {words}, scaled")
    if not lines or not report["slope"] > 0.0:
        axes.text(0.5, 0.5, "no gradient to follow", ha="center", va="center", transform=axes.transAxes)
        return
    step = np.array([line["step"] for line in lines])
    predicted = np.array([line["predicted"] for line in lines])
    change = np.array([line["found"] for line in lines])
    rearranged = np.maximum.accumulate([bool(line["rearranged"]) for line in lines])
    axes.loglog(step, predicted, color="0.55", linewidth=1.2, label="predicted", zorder=1)
    for same, marker, label in ((~rearranged, "o", "found"), (rearranged, "s", "found, after a rearrangement")):
        for sign, filled, text in ((1.0, COLOURS[0], ""), (-1.0, "white", ", opposite sign")):
            points = same & (np.sign(change) == sign)
            if np.any(points):
                axes.loglog(
                    step[points],
                    np.abs(change[points]),
                    marker,
                    color=COLOURS[0],
                    markerfacecolor=filled,
                    linestyle="none",
                    label=label + text,
                )
    error = np.abs(change - predicted)
    positive = error > 0.0
    axes.loglog(step[positive], error[positive], "x", color=ACCENT, linestyle="none", label="error", markersize=5)
    if np.any(positive):
        first_step, first_error = step[positive][0], error[positive][0]
        # The slope of an error of second order, through the shortest step.
        axes.loglog(step, first_error * (step / first_step) ** 2, color=ACCENT, linestyle=":", linewidth=0.8)
        highest = max(np.max(np.abs(change)), np.max(predicted))
        axes.set_ylim(0.3 * float(np.min(error[positive])), 4.0 * float(highest))
    if report["holds_to"] is not None:
        axes.axvline(report["holds_to"], color="0.7", linestyle="--", linewidth=0.8, label="right to 10 % up to here")
    axes.legend(fontsize=8, framealpha=0.9, loc="lower right")
