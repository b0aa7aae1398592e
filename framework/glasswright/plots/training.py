"""The figure of a training run: loss, values, design variables, and the final packing."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int
from matplotlib.axes import Axes

from ..physics.configuration import Configuration
from .packing import draw_packing
from .style import COLOURS, new_figure, png, usual_range

# A line of metrics, as it is read from `metrics.jsonl`.
Line = Mapping[str, Any]
# A design of more numbers is drawn with thinner lines.
MANY = 12


def training_figure(
    lines: Sequence[Line],
    targets: dict[str, float | None],
    tolerance: float,
    configuration: Configuration | None,
    diameters: np.ndarray | None,
) -> bytes:
    """The figure of a run as a PNG file.

    **Arguments:**

    - `lines`: metrics of all steps.
    - `targets`: the target of each term, None for a term that has no single number for one.
    - `tolerance`: the loss at which the run would stop; zero for never.
    - `configuration`: the final packing, to be drawn; None where packings are not tracked.
    - `diameters`: of each species, in units of length; None if the potential has none.
    """
    figure = new_figure(13.5 if configuration is not None else 7.5, 7.0)
    left: Any = figure
    if configuration is not None:
        halves: Any = figure.subfigures(1, 2)
        left = halves[0]
        draw_packing(halves[1].subplots(), configuration, diameters, legend=True)
    loss_axes, value_axes, design_axes = left.subplots(3, 1, sharex=True)
    steps = np.array([line["step"] for line in lines])
    _draw_losses(loss_axes, steps, lines, tolerance)
    _draw_values(value_axes, steps, lines, targets)
    _draw_design(design_axes, steps, lines)
    return png(figure)


def _draw_losses(axes: Axes, steps: Int[np.ndarray, " s"], lines: Sequence[Line], tolerance: float) -> None:
    """The loss of each step, the tolerance, and the steps at which a packing rearranged."""
    loss = np.array([np.nan if line["loss"] is None else line["loss"] for line in lines])
    positive = np.where(loss > 0, loss, np.nan)
    axes.plot(steps, positive, color=COLOURS[0], linewidth=1.2)
    if np.any(np.isfinite(positive)):
        axes.set_yscale("log")
    if tolerance > 0:
        axes.axhline(tolerance, color="0.6", linewidth=0.9, linestyle="--")
        axes.annotate(
            "tolerance",
            (0.005, tolerance),
            xycoords=("axes fraction", "data"),
            color="0.4",
            fontsize=8,
            xytext=(0, 3),
            textcoords="offset points",
        )
    rearranged = steps[np.array([bool(line["rearranged"]) for line in lines], dtype=bool)]
    plural = "s" if len(rearranged) > 1 else ""
    for k, step in enumerate(rearranged):
        label = f"{len(rearranged)} rearrangement{plural}" if k == 0 else None
        axes.axvline(step, color=COLOURS[1], linewidth=0.6, alpha=0.35, zorder=0, label=label)
    if len(rearranged):
        axes.legend(loc="upper right", fontsize=8, framealpha=0.9)
    axes.set_ylabel("loss")


def _draw_values(
    axes: Axes, steps: Int[np.ndarray, " s"], lines: Sequence[Line], targets: Mapping[str, float | None]
) -> None:
    """The value of each scalar term, and its target."""
    names = [name for name in targets if any(np.ndim(line["terms"].get(name, {}).get("value")) == 0 for line in lines)]
    shown: list[float] = []
    for k, name in enumerate(names):
        colour = COLOURS[k % len(COLOURS)]
        values = np.array([line["terms"].get(name, {}).get("value") for line in lines], dtype=float)
        axes.plot(steps, values, color=colour, linewidth=1.2, label=name.replace("_", " "))
        if np.any(np.isfinite(values)):
            shown.extend(usual_range(values))
        target = targets[name]
        if target is not None:
            shown.append(float(target))
            axes.axhline(target, color=colour, linewidth=0.9, linestyle="--", label="target" if k == 0 else None)
    if shown:
        margin = 0.05 * max(max(shown) - min(shown), 1e-12 * max(map(abs, shown))) or 1.0
        axes.set_ylim(min(shown) - margin, max(shown) + margin)
    if names:
        axes.legend(fontsize=8, framealpha=0.9)
    axes.set_ylabel("value")


def _draw_design(axes: Axes, steps: Int[np.ndarray, " s"], lines: Sequence[Line]) -> None:
    """Each design variable, relative to its start."""
    names = list(lines[0]["design"])
    series = {name: np.array([np.ravel(line["design"][name]) for line in lines]) for name in names}
    width = 0.6 if sum(values.shape[1] for values in series.values()) > MANY else 1.2
    for k, (name, values) in enumerate(series.items()):
        for column, style in zip(values.T, _styles(values.shape[1]), strict=True):
            relative = column / column[0] if column[0] else column
            axes.plot(steps, relative, color=COLOURS[k % len(COLOURS)], linestyle=style, linewidth=width)
        axes.plot([], [], color=COLOURS[k % len(COLOURS)], label=name.replace("_", " "))
    axes.legend(fontsize=8, framealpha=0.9)
    axes.set_ylabel("design / start")
    axes.set_xlabel("training step")


def _styles(count: int) -> list[str]:
    """Line styles for this many lines."""
    cycle = ["-", "--", ":", "-."]
    return [cycle[k % 4] for k in range(count)]
