"""The picture of predictiveness: predicted and found changes of each property, by length of the step."""

from typing import Any

import numpy as np

from .style import COLOURS, new_figure, png


def predictiveness_figure(report: dict[str, Any]) -> bytes:
    """PNG with a double-logarithmic plot for each property."""
    names = list(report)
    columns = min(max(len(names), 1), 3)
    rows = -(-max(len(names), 1) // columns)
    figure = new_figure(5.2 * columns, 4.4 * rows)
    axes = np.ravel(figure.subplots(rows, columns, squeeze=False))
    for one in axes[len(names) :]:
        one.set_axis_off()
    for name, one in zip(names, axes, strict=False):
        _draw(one, name, report[name])
    return png(figure)


def _draw(axes: Any, name: str, one: dict[str, Any]) -> None:
    lines = [line for line in one["steps"] if line["found"] is not None]
    axes.set_title(name.replace("_", " "), fontsize=11)
    axes.set_xlabel("step of the design, scaled")
    axes.set_ylabel("change")
    if not lines or not one["slope"] > 0.0:
        axes.text(0.5, 0.5, "no gradient to follow", ha="center", va="center", transform=axes.transAxes)
        return
    step = np.array([line["step"] for line in lines])
    predicted = np.array([line["predicted"] for line in lines])
    found = np.array([line["found"] for line in lines])
    rearranged = np.maximum.accumulate([bool(line["rearranged"]) for line in lines])
    axes.loglog(step, predicted, color="0.55", linewidth=1.2, label="predicted", zorder=1)
    for same, marker, label in ((~rearranged, "o", "found"), (rearranged, "s", "found, after a rearrangement")):
        for sign, filled, text in ((1.0, COLOURS[0], ""), (-1.0, "white", ", opposite sign")):
            some = same & (np.sign(found) == sign)
            if np.any(some):
                axes.loglog(
                    step[some],
                    np.abs(found[some]),
                    marker,
                    color=COLOURS[0],
                    markerfacecolor=filled,
                    linestyle="none",
                    label=label + text,
                )
    error = np.abs(found - predicted)
    some = error > 0.0
    axes.loglog(step[some], error[some], "x", color=COLOURS[1], linestyle="none", label="error", markersize=5)
    if np.any(some):
        # The slope of an error of second order, through the shortest step.
        axes.loglog(step, error[some][0] * (step / step[some][0]) ** 2, color=COLOURS[1], linestyle=":", linewidth=0.9)
        axes.set_ylim(0.3 * float(np.min(error[some])), 4.0 * float(max(np.max(np.abs(found)), np.max(predicted))))
    if one["holds_to"] is not None:
        axes.axvline(one["holds_to"], color="0.7", linestyle="--", linewidth=0.9, label="right to 10 % up to here")
    axes.legend(fontsize=8, framealpha=0.9, loc="lower right")
