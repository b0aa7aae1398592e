"""The figure of a validation: the distribution of each property before and after training."""

from collections.abc import Mapping, Sequence
from typing import NotRequired, TypedDict

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .._types import JSON
from .options import PlotOptions
from .style import ACCENT, COLOURS, Quantity, drawing, is_narrow, letter, new_figure, usual_range


class Fill(TypedDict):
    """How a histogram is filled."""

    facecolor: str
    edgecolor: str
    hatch: NotRequired[str]


# How the histogram of each ensemble is filled, in the order of drawing: apart also without colours.
FILLS: Mapping[str, Fill] = {
    "untrained": {"facecolor": "0.85", "edgecolor": "0.45", "hatch": "//////"},
    "trained": {"facecolor": f"{COLOURS[0]}99", "edgecolor": COLOURS[0]},
}
MOST_BINS = 60


def validation_figure(
    lines: Mapping[str, Sequence[Mapping[str, JSON]]], quantities: Mapping[str, Quantity], options: PlotOptions
) -> Figure:
    """A histogram for each scalar property, in the same bins for both ensembles.

    **Arguments:**

    - `lines`: the measured samples of each ensemble, `untrained` and `trained`.
    - `quantities`: what the terms measure, by name.
    """
    values = {
        ensemble: [line["values"] for line in samples if line["values"] is not None]
        for ensemble, samples in lines.items()
    }
    accepted = [sample for samples in values.values() for sample in samples]
    names = [name for name in quantities if accepted and isinstance(accepted[0].get(name), float)]
    with drawing(options):
        columns = 1 if is_narrow(options) else min(max(len(names), 1), 2)
        rows = -(-max(len(names), 1) // columns)
        figure = new_figure(options, 2.6 * rows)
        panels = list(np.ravel(figure.subplots(rows, columns, squeeze=False)))
        for unused in panels[max(len(names), 1) :]:
            unused.set_axis_off()
        for name, axes in zip(names, panels, strict=False):
            of_property = {ensemble: [sample[name] for sample in samples] for ensemble, samples in values.items()}
            _draw(axes, quantities[name], of_property)
        if not names:
            panels[0].text(0.5, 0.5, "no scalar property was measured", ha="center", va="center")
            panels[0].set_axis_off()
        letter(panels[: len(names)])
    return figure


def _draw(axes: Axes, quantity: Quantity, samples: Mapping[str, list[float]]) -> None:
    """The histogram of one property in each ensemble, and its target."""
    present = {name: np.asarray(samples[name], dtype=float) for name in FILLS if samples.get(name)}
    edges = common_bins(list(present.values()))
    for ensemble, values in present.items():
        fill = FILLS[ensemble]
        inside = values[(values >= edges[0]) & (values <= edges[-1])]
        heights = np.histogram(inside, edges)[0] / (len(values) * np.diff(edges))
        axes.stairs(heights, edges, fill=True, label=_label(ensemble, values, len(values) - len(inside)), **fill)
        axes.axvline(values.mean(), color=fill["edgecolor"], linewidth=1.2)
    if quantity.target is not None:
        axes.axvline(quantity.target, color=ACCENT, linestyle="--", linewidth=1.2, label=f"target {quantity.target:g}")
    axes.set_xlabel(quantity.label)
    axes.set_ylabel("probability density" + (f" ({quantity.inverse_units})" if quantity.inverse_units else ""))
    # Room for the legend above the bars.
    axes.set_ylim(0.0, (1.2 + 0.12 * (len(present) + 1)) * axes.get_ylim()[1])
    axes.legend(loc="upper left")


def common_bins(ensembles: Sequence[Float[np.ndarray, " _"]]) -> Float[np.ndarray, " e"]:
    """Edges of bins of one width for several ensembles: as fine as suits the one that needs the finest."""
    ranges = [usual_range(values) for values in ensembles]
    low, high = min(first for first, _ in ranges), max(last for _, last in ranges)
    if not high > low:
        return np.array([low - 0.5, low + 0.5]) if low == 0.0 else np.sort(np.array([0.99 * low, 1.01 * low]))
    widths = [
        (last - first) / min(max(int(np.sqrt(len(values))), 6), 40)
        for values, (first, last) in zip(ensembles, ranges, strict=True)
        if last > first
    ]
    return np.linspace(low, high, min(max(round((high - low) / min(widths, default=high - low)), 6), MOST_BINS) + 1)


def _label(ensemble: str, values: Float[np.ndarray, " n"], n_outside: int) -> str:
    """Mean and standard error of an ensemble, and how many samples there are, of which `n_outside` are not drawn."""
    text = f"{ensemble}: {values.mean():.4f}"
    if len(values) > 1:
        text += f" ± {values.std(ddof=1) / np.sqrt(len(values)):.4f}"
    text = f"{text}, {len(values)} packings"
    return f"{text} ({n_outside} not drawn)" if n_outside else text
