"""The figure of a validation: the distribution of each property before and after training."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from ..components.objective import Term
from .style import COLOURS, new_figure, png, usual_range

# Colour and opacity of each ensemble, in the order of drawing.
STYLES = {"untrained": ("0.6", 0.55), "trained": (COLOURS[0], 0.7)}


def validation_figure(lines: Mapping[str, Sequence[Mapping[str, Any]]], terms: Mapping[str, Term]) -> bytes:
    """A histogram for each scalar property, as a PNG file.

    **Arguments:**

    - `lines`: the measured samples of each ensemble, `untrained` and `trained`.
    - `terms`: the terms of the loss by name.
    """
    values = {
        ensemble: [line["values"] for line in samples if line["values"] is not None]
        for ensemble, samples in lines.items()
    }
    accepted = [sample for samples in values.values() for sample in samples]
    names = [name for name in terms if accepted and isinstance(accepted[0][name], float)]
    columns = min(max(len(names), 1), 3)
    rows = -(-max(len(names), 1) // columns)
    figure = new_figure(6.0 * columns, 4.2 * rows)
    axes = np.ravel(figure.subplots(rows, columns, squeeze=False))
    for unused in axes[max(len(names), 1) :]:
        unused.set_axis_off()
    for name, plot in zip(names, axes, strict=False):
        of_property = {ensemble: [sample[name] for sample in samples] for ensemble, samples in values.items()}
        _draw(plot, name, of_property, terms[name])
    if not names:
        axes[0].text(0.5, 0.5, "no scalar property was measured", ha="center", va="center")
        axes[0].set_axis_off()
    return png(figure)


def _draw(axes: Axes, name: str, samples: Mapping[str, list[float]], term: Term) -> None:
    """The histogram of one property in each ensemble, and its target."""
    for ensemble, (colour, alpha) in STYLES.items():
        values = np.asarray(samples.get(ensemble, []), dtype=float)
        if not len(values):
            continue
        limits = usual_range(values)
        inside = values[(values >= limits[0]) & (values <= limits[1])]
        bins = min(max(int(np.sqrt(len(values))), 6), 40)
        label = _label(ensemble, values, len(values) - len(inside))
        axes.hist(inside, bins=bins, density=True, color=colour, alpha=alpha, label=label)
        axes.axvline(values.mean(), color=colour, linewidth=1.4)
    target = term.target
    if target is not None:
        axes.axvline(target, color=COLOURS[1], linestyle="--", linewidth=1.4, label=f"target {target:g}")
    axes.set_xlabel(name.replace("_", " "))
    axes.set_ylabel("probability density")
    # Room for the legend above the bars.
    axes.set_ylim(0.0, 1.35 * axes.get_ylim()[1])
    axes.legend(loc="upper left", fontsize=8, framealpha=0.9)


def _label(ensemble: str, values: Float[np.ndarray, " n"], n_outside: int) -> str:
    """Mean and standard error of an ensemble, and how many samples there are, of which `n_outside` are not drawn."""
    text = f"{ensemble}: {values.mean():.4f}"
    if len(values) > 1:
        text += f" ± {values.std(ddof=1) / np.sqrt(len(values)):.4f}"
    text = f"{text}, {len(values)} packings"
    return f"{text} ({n_outside} beyond what is drawn)" if n_outside else text
