"""The figure of a training run: loss, values, design variables, and a packing."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from matplotlib.lines import Line2D

from .._types import JSON
from ..physics.configuration import Configuration
from .options import PlotOptions
from .packing import draw_packing
from .style import (
    ACCENT,
    COLOURS,
    DASHES,
    Quantity,
    component_names,
    drawing,
    in_words,
    integer_ticks,
    is_narrow,
    letter,
    new_figure,
    usual_range,
)

# A line of metrics, as it is read from `metrics.jsonl`.
Line = Mapping[str, JSON]
# Of a design with more numbers only the variables are named in the legend, and lines are thinner.
MANY = 10


def training_figure(
    lines: Sequence[Line],
    quantities: Mapping[str, Quantity],
    tolerance: float,
    configuration: Configuration | None,
    diameters: np.ndarray | None,
    n_species: int,
    options: PlotOptions,
) -> Figure:
    """The figure of a run.

    **Arguments:**

    - `lines`: metrics of all steps.
    - `quantities`: what the terms measure, by name.
    - `tolerance`: the loss at which the run would stop; zero for never.
    - `configuration`: the packing that is drawn; None where packings are not followed.
    - `diameters`: of each species, in units of length; None if the potential has none.
    - `n_species`: by which the entries of a design variable are named.
    """
    with drawing(options):
        narrow, has_packing = is_narrow(options), configuration is not None
        curves = 1.55 * 3 if narrow else 4.4
        square = options.inches if narrow else 0.0
        figure = new_figure(options, curves + (square if has_packing else 0.0))
        parts: list[FigureBase] = [figure]
        if has_packing:
            shape = {"nrows": 2, "height_ratios": [curves, square]} if narrow else {"ncols": 2}
            parts = list(np.ravel(figure.subfigures(**shape)))
        panels: list[Axes] = list(parts[0].subplots(3, 1, sharex=True))
        steps = np.array([line["step"] for line in lines])
        _draw_losses(panels[0], steps, lines, tolerance)
        _draw_values(panels[1], steps, lines, quantities)
        _draw_design(panels[2], steps, lines, n_species, columns=2 if narrow else 3)
        if configuration is not None:
            panels.append(parts[1].subplots())
            draw_packing(panels[3], configuration, diameters, legend=True)
        letter(panels)
    return figure


def _draw_losses(axes: Axes, steps: Int[np.ndarray, " s"], lines: Sequence[Line], tolerance: float) -> None:
    """The loss of each step, the tolerance, and the steps at which a packing rearranged."""
    loss = np.array([np.nan if line["loss"] is None else line["loss"] for line in lines])
    positive = np.where(loss > 0, loss, np.nan)
    measured = np.isfinite(positive)
    axes.plot(steps, positive if np.any(measured) else loss, color=COLOURS[0], marker=_marker(len(steps)))
    if np.any(measured):
        axes.set_yscale("log")
    if tolerance > 0:
        axes.axhline(tolerance, color="0.45", linewidth=0.8, linestyle="--", label="tolerance")
    rearranged = steps[np.array([bool(line.get("rearranged")) for line in lines], dtype=bool)]
    plural = "s" if len(rearranged) > 1 else ""
    for k, step in enumerate(rearranged):
        label = f"{len(rearranged)} rearrangement{plural}" if k == 0 else None
        axes.axvline(step, color=ACCENT, linewidth=0.6, alpha=0.45, zorder=0, label=label)
    if tolerance > 0 or len(rearranged):
        axes.legend(loc="upper right")
    axes.set_ylabel("loss $L$")


def _draw_values(
    axes: Axes, steps: Int[np.ndarray, " s"], lines: Sequence[Line], quantities: Mapping[str, Quantity]
) -> None:
    """The value of each scalar term, and its target."""
    scalar = {
        name: quantity
        for name, quantity in quantities.items()
        if any(np.ndim(line["terms"].get(name, {}).get("value")) == 0 for line in lines)
    }
    shown: list[float] = []
    for k, (name, quantity) in enumerate(scalar.items()):
        colour = COLOURS[k % len(COLOURS)]
        values = np.array([line["terms"].get(name, {}).get("value") for line in lines], dtype=float)
        axes.plot(
            steps,
            values,
            color=colour,
            linestyle=DASHES[k % len(DASHES)],
            marker=_marker(len(steps)),
            label=quantity.label if len(scalar) > 1 else None,
        )
        if np.any(np.isfinite(values)):
            shown.extend(usual_range(values))
        if quantity.target is not None:
            shown.append(quantity.target)
            axes.axhline(quantity.target, color=colour, linewidth=0.8, linestyle=(0, (1, 2)))
    if shown:
        margin = 0.05 * max(max(shown) - min(shown), 1e-12 * max(map(abs, shown))) or 1.0
        axes.set_ylim(min(shown) - margin, max(shown) + margin)
    handles, labels = axes.get_legend_handles_labels()
    if any(quantity.target is not None for quantity in scalar.values()):
        handles.append(Line2D([], [], color="0.3", linewidth=0.8, linestyle=(0, (1, 2))))
        labels.append("target")
    if handles:
        axes.legend(handles, labels)
    axes.set_ylabel(next(iter(scalar.values())).label if len(scalar) == 1 else "value")


def _draw_design(axes: Axes, steps: Int[np.ndarray, " s"], lines: Sequence[Line], n_species: int, columns: int) -> None:
    """Each number of the design, relative to its start; the legend has this many columns."""
    first = lines[0]["design"]
    series = {name: np.array([np.ravel(line["design"][name]) for line in lines]) for name in first}
    many = sum(values.shape[1] for values in series.values()) > MANY
    for k, (name, values) in enumerate(series.items()):
        colour = COLOURS[k % len(COLOURS)]
        labels = component_names(name, np.shape(first[name]), n_species)
        for n, (entry, label) in enumerate(zip(values.T, labels, strict=True)):
            axes.plot(
                steps,
                entry / entry[0] if entry[0] else entry,
                color=colour,
                linestyle=DASHES[n % len(DASHES)],
                linewidth=0.5 if many else None,
                marker=_marker(len(steps)),
                label=None if many else label,
            )
        if many:
            axes.plot([], [], color=colour, label=f"{in_words(name.rpartition('.')[2])} ({len(labels)})")
    if series:
        # Below the panel: in it there is no room that no line needs.
        axes.legend(
            loc="upper center",
            bbox_to_anchor=(0.45, -0.42),
            ncols=columns,
            frameon=False,
            columnspacing=1.2,
            handlelength=2.2,
        )
    axes.set_ylabel("design / initial")
    axes.set_xlabel("training step")
    integer_ticks(axes, int(steps[0]), int(steps[-1]))


def _marker(n_steps: int) -> str | None:
    """A line through a single point would not be seen."""
    return "o" if n_steps == 1 else None
