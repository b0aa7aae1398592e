"""The picture of a validation: how the properties are distributed, before and after training."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..components.objective import target_of
from .style import COLOURS, new_figure, png, usual_range

# Drawn in this order: what was trained in front.
STYLES = {"untrained": ("0.6", 0.55), "trained": (COLOURS[0], 0.7)}


def validation_figure(lines: Mapping[str, list[dict[str, Any]]], terms: Mapping[str, Any]) -> bytes:
    """PNG with a histogram for each scalar property, from the lines of each ensemble by name."""
    values = {
        ensemble: [line["values"] for line in some if line["values"] is not None] for ensemble, some in lines.items()
    }
    accepted = [row for rows in values.values() for row in rows]
    names = [name for name in terms if accepted and isinstance(accepted[0][name], float)]
    columns = min(max(len(names), 1), 3)
    rows = -(-max(len(names), 1) // columns)
    figure = new_figure(6.0 * columns, 4.2 * rows)
    axes = np.ravel(figure.subplots(rows, columns, squeeze=False))
    for one in axes[max(len(names), 1) :]:
        one.set_axis_off()
    for name, one in zip(names, axes, strict=False):
        _draw(one, name, {ensemble: [row[name] for row in rows] for ensemble, rows in values.items()}, terms[name])
    if not names:
        axes[0].text(0.5, 0.5, "no scalar property was measured", ha="center", va="center")
        axes[0].set_axis_off()
    return png(figure)


def _draw(axes: Any, name: str, samples: Mapping[str, list[float]], term: Any) -> None:
    for ensemble, (colour, alpha) in STYLES.items():
        some = np.asarray(samples.get(ensemble, []), dtype=float)
        if not len(some):
            continue
        limits = usual_range(some)
        inside = some[(some >= limits[0]) & (some <= limits[1])]
        bins = min(max(int(np.sqrt(len(some))), 6), 40)
        label = _label(ensemble, some, len(some) - len(inside))
        axes.hist(inside, bins=bins, density=True, color=colour, alpha=alpha, label=label)
        axes.axvline(some.mean(), color=colour, linewidth=1.4)
    target = target_of(term)
    if target is not None:
        axes.axvline(target, color=COLOURS[1], linestyle="--", linewidth=1.4, label=f"target {target:g}")
    axes.set_xlabel(name.replace("_", " "))
    axes.set_ylabel("probability density")
    # Room above the bars, so that the legend hides none.
    axes.set_ylim(0.0, 1.35 * axes.get_ylim()[1])
    axes.legend(loc="upper left", fontsize=8, framealpha=0.9)


def _label(ensemble: str, some: np.ndarray, beyond: int) -> str:
    text = f"{ensemble}: {some.mean():.4f}"
    if len(some) > 1:
        text += f" ± {some.std(ddof=1) / np.sqrt(len(some)):.4f}"
    text = f"{text}, {len(some)} packings"
    return f"{text} ({beyond} beyond what is drawn)" if beyond else text
