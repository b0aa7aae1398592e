"""The figure of tunability: the singular values of the Jacobian, and their directions."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .._types import JSON
from .options import PlotOptions
from .style import COLOURS, drawing, in_words, is_narrow, letter, new_figure

# Numbers are written into the cells of heat maps of at most this many columns.
MOST_WRITTEN = 12


def tunability_figure(report: Mapping[str, JSON], options: PlotOptions) -> Figure:
    """The scaled Jacobian, its singular values, and both sets of directions.

    **Arguments:**

    - `report`: the section `tunability` of `analysis.json`.
    """
    properties, design = report["properties"], report["design"]
    sigma = np.asarray(report["singular_values"])
    scale = np.asarray(report["design_scale"]) / np.asarray(report["property_scale"])[:, None]
    jacobian = np.asarray(report["jacobian"][report["average"]]) * scale
    with drawing(options):
        height = min(max(1.5 + 0.28 * len(properties), 2.0), 6.0)
        if is_narrow(options):
            figure = new_figure(options, 4.0 * height)
            bars, top, left, right = panels = list(np.ravel(figure.subplots(4, 1)))
        else:
            figure = new_figure(options, 2.0 * height + 0.3)
            # A cell for each column and room for the names.
            ratio = [1.5 + min(len(properties), 8), 1.5 + min(len(design), 16)]
            share = np.clip(ratio[0] / sum(ratio), 0.33, 0.5)
            grid = figure.subplots(2, 2, width_ratios=[share, 1.0 - share])
            bars, top, left, right = panels = list(np.ravel(grid))
        _bars(bars, sigma, report)
        _heat_map(top, jacobian, properties, design, "scaled Jacobian")
        modes = [f"direction {k}" for k in range(len(sigma))]
        _heat_map(left, np.asarray(report["property_directions"]), modes, properties, "what changes", limit=1.0)
        _heat_map(
            right, np.asarray(report["design_directions"]), modes, design, "how the design moves for it", limit=1.0
        )
        packings = (
            "one packing" if report["converged"] == 1 else f"the {report['average']} of {report['converged']} packings"
        )
        figure.suptitle(f"Tunability of {packings}")
        letter(panels)
    return figure


def _bars(axes: Axes, sigma: Float[np.ndarray, " k"], report: Mapping[str, JSON]) -> None:
    """The singular values, with those of the other averages over packings."""
    errors = report["standard_error"]
    axes.bar(np.arange(len(sigma)), sigma, yerr=errors, color=COLOURS[0], capsize=3, width=0.7, ecolor="0.2")
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
            axes.annotate(f"{value:.3g}", (k, high), ha="center", xytext=(0, 3), textcoords="offset points")
    if report["converged"] > 1:
        others = [name for name in report["singular_values_by_average"] if name != report["average"]]
        for name, marker, colour in zip(others, "ov", COLOURS[1:], strict=False):
            values = report["singular_values_by_average"][name]
            axes.plot(
                np.arange(len(sigma)),
                values,
                marker,
                color=colour,
                label=name,
                markersize=5,
                markeredgecolor="0.2",
                linestyle="none",
            )
        axes.legend()
    axes.set_xticks(np.arange(len(sigma)), [str(k) for k in range(len(sigma))])
    axes.set_xlabel("direction $k$")
    axes.set_ylabel(r"singular value $\sigma_k$ (1 / cost)")


def _heat_map(
    axes: Axes, matrix: Float[np.ndarray, "r c"], rows: list[str], columns: list[str], title: str, limit: float = 0.0
) -> None:
    """A matrix with labels; colours go from `-limit` to `limit`, by default the largest absolute value."""
    limit = limit or float(np.max(np.abs(matrix))) or 1.0
    image = axes.imshow(matrix, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
    bar = axes.figure.colorbar(image, ax=axes, pad=0.02, fraction=0.05)
    bar.outline.set_linewidth(0.4)
    axes.set_yticks(np.arange(len(rows)), [in_words(row) for row in rows])
    if len(columns) <= 3 * MOST_WRITTEN:
        labels = [in_words(column) for column in columns]
        axes.set_xticks(np.arange(len(columns)), labels, rotation=35, ha="right", rotation_mode="anchor")
    else:
        axes.set_xlabel("design variable")
    axes.set_title(title)
    if len(columns) > MOST_WRITTEN:
        return
    for row, column in np.ndindex(matrix.shape):
        value = matrix[row, column]
        colour = "white" if abs(value) > 0.6 * limit else "black"
        # The sign is written: in grey, red and blue are the same.
        axes.text(column, row, f"{value:+.2f}", ha="center", va="center", fontsize=6, color=colour)
