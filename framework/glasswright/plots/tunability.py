"""The figure of tunability: the singular values of the Jacobian, and their directions."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from .style import COLOURS, new_figure, png

# Numbers are written into the cells of heat maps of at most this many columns.
MOST_WRITTEN = 20


def tunability_figure(report: Mapping[str, Any]) -> bytes:
    """The scaled Jacobian, its singular values, and both sets of directions, as a PNG file.

    **Arguments:**

    - `report`: the section `tunability` of `analysis.json`.
    """
    properties, design = report["properties"], report["design"]
    sigma = np.asarray(report["singular_values"])
    scale = np.asarray(report["design_scale"]) / np.asarray(report["property_scale"])[:, None]
    jacobian = np.asarray(report["jacobian"][report["average"]]) * scale
    wide = min(max(1.0 + 0.62 * len(design), 4.5), 16.0)
    narrow = min(max(1.0 + 0.8 * len(properties), 3.4), 10.0)
    tall = min(max(1.4 + 0.55 * len(properties), 3.0), 9.0)
    figure = new_figure(wide + narrow + 2.5, 2.0 * tall + 1.2)
    (top_left, top_right), (left, right) = figure.subplots(2, 2, width_ratios=[narrow, wide])
    _bars(top_left, sigma, report)
    _heat_map(top_right, jacobian, properties, design, "scaled Jacobian")
    modes = [f"direction {k}" for k in range(len(sigma))]
    _heat_map(left, np.asarray(report["property_directions"]), modes, properties, "what changes", limit=1.0)
    _heat_map(right, np.asarray(report["design_directions"]), modes, design, "how the design moves for it", limit=1.0)
    packings = (
        "one packing" if report["converged"] == 1 else f"the {report['average']} of {report['converged']} packings"
    )
    figure.suptitle(f"Tunability of {packings}")
    return png(figure)


def _bars(axes: Axes, sigma: Float[np.ndarray, " k"], report: Mapping[str, Any]) -> None:
    """The singular values, with those of the other averages over packings."""
    errors = report["standard_error"]
    axes.bar(np.arange(len(sigma)), sigma, yerr=errors, color=COLOURS[0], capsize=4, width=0.7)
    positive = sigma[sigma > 1e-10 * max(float(np.max(sigma)), 1e-300)]
    if len(positive):
        # The range of the axis holds those of all averages.
        every = np.concatenate([sigma, *map(np.asarray, report["singular_values_by_average"].values())])
        every = every[every > 1e-10 * np.max(every)]
        axes.set_yscale("log")
        axes.set_ylim(0.4 * float(np.min(every)), 3.5 * float(np.max(every)))
    for k, value in enumerate(sigma):
        high = value + (0.0 if errors is None else errors[k])
        if value in positive:
            axes.annotate(f"{value:.3g}", (k, high), ha="center", xytext=(0, 4), textcoords="offset points", fontsize=9)
    if report["converged"] > 1:
        others = [name for name in report["singular_values_by_average"] if name != report["average"]]
        for name, marker, colour in zip(others, "ov", COLOURS[1:], strict=False):
            values = report["singular_values_by_average"][name]
            axes.plot(np.arange(len(sigma)), values, marker, color=colour, label=name, markersize=6, linestyle="none")
        axes.legend(fontsize=8, framealpha=0.9)
    axes.set_xticks(np.arange(len(sigma)), [str(k) for k in range(len(sigma))])
    axes.set_xlabel("direction")
    axes.set_ylabel("singular value (1 / cost)")


def _heat_map(
    axes: Axes, matrix: Float[np.ndarray, "r c"], rows: list[str], columns: list[str], title: str, limit: float = 0.0
) -> None:
    """A matrix with labels; colours go from `-limit` to `limit`, by default the largest absolute value."""
    limit = limit or float(np.max(np.abs(matrix))) or 1.0
    axes.imshow(matrix, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
    axes.set_yticks(np.arange(len(rows)), [row.replace("_", " ") for row in rows], fontsize=9)
    if len(columns) <= 3 * MOST_WRITTEN:
        labels = [column.replace("_", " ") for column in columns]
        axes.set_xticks(np.arange(len(columns)), labels, rotation=35, ha="right", rotation_mode="anchor", fontsize=9)
    else:
        axes.set_xlabel("design variable")
    axes.set_title(title, fontsize=10)
    if len(columns) > MOST_WRITTEN:
        return
    for row, column in np.ndindex(matrix.shape):
        value = matrix[row, column]
        colour = "white" if abs(value) > 0.6 * limit else "black"
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=8, color=colour)
