"""The picture of a training run: loss and values, design variables, and the packing it ended with."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.collections import EllipseCollection

from ..physics.configuration import Configuration
from .style import COLOURS, new_figure, png, usual_range


def training_figure(
    lines: Sequence[dict[str, Any]],
    targets: dict[str, float | None],
    tolerance: float,
    configuration: Configuration | None,
    diameters: np.ndarray | None,
) -> bytes:
    """PNG of a run from its metrics lines; the packing is drawn where one is followed."""
    figure = new_figure(13.5 if configuration is not None else 7.5, 7.0)
    left: Any = figure
    if configuration is not None:
        halves: Any = figure.subfigures(1, 2)
        left = halves[0]
        _draw_packing(halves[1].subplots(), configuration, diameters)
    loss_axes, value_axes, design_axes = left.subplots(3, 1, sharex=True)
    steps = np.array([line["step"] for line in lines])
    _draw_losses(loss_axes, steps, lines, tolerance)
    _draw_values(value_axes, steps, lines, targets)
    _draw_design(design_axes, steps, lines)
    return png(figure)


def _draw_losses(axes, steps, lines, tolerance) -> None:
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
    many = "s" if len(rearranged) > 1 else ""
    for k, step in enumerate(rearranged):
        label = f"{len(rearranged)} rearrangement{many}" if k == 0 else None
        axes.axvline(step, color=COLOURS[1], linewidth=0.6, alpha=0.35, zorder=0, label=label)
    if len(rearranged):
        axes.legend(loc="upper right", fontsize=8, framealpha=0.9)
    axes.set_ylabel("loss")


def _draw_values(axes, steps, lines, targets) -> None:
    names = [name for name in targets if any(np.ndim(line["terms"].get(name, {}).get("value")) == 0 for line in lines)]
    shown: list[float] = []
    for k, name in enumerate(names):
        colour = COLOURS[k % len(COLOURS)]
        values = np.array([line["terms"].get(name, {}).get("value") for line in lines], dtype=float)
        axes.plot(steps, values, color=colour, linewidth=1.2, label=name.replace("_", " "))
        if np.any(np.isfinite(values)):
            shown.extend(usual_range(values))
        if targets[name] is not None:
            shown.append(float(targets[name]))
        if targets[name] is not None:
            axes.axhline(targets[name], color=colour, linewidth=0.9, linestyle="--", label="target" if k == 0 else None)
    if shown:
        margin = 0.05 * max(max(shown) - min(shown), 1e-12)
        axes.set_ylim(min(shown) - margin, max(shown) + margin)
    if names:
        axes.legend(fontsize=8, framealpha=0.9)
    axes.set_ylabel("value")


def _draw_design(axes, steps, lines) -> None:
    names = list(lines[0]["design"])
    series = {name: np.array([np.ravel(line["design"][name]) for line in lines]) for name in names}
    many = sum(values.shape[1] for values in series.values()) > 12
    for k, (name, values) in enumerate(series.items()):
        for column, style in zip(values.T, _styles(values.shape[1]), strict=True):
            relative = column / column[0] if column[0] else column
            axes.plot(steps, relative, color=COLOURS[k % len(COLOURS)], linestyle=style, linewidth=0.6 if many else 1.2)
        axes.plot([], [], color=COLOURS[k % len(COLOURS)], label=name.replace("_", " "))
    axes.legend(fontsize=8, framealpha=0.9)
    axes.set_ylabel("design / start")
    axes.set_xlabel("training step")


def _styles(count: int) -> list[str]:
    cycle = ["-", "--", ":", "-."]
    return [cycle[k % 4] for k in range(count)]


def _draw_packing(axes, configuration: Configuration, diameters: np.ndarray | None) -> None:
    box = np.asarray(configuration.box)
    fractional = np.asarray(configuration.fractional) % 1.0
    species = np.asarray(configuration.species)
    title = f"{configuration.n_particles} particles"
    if diameters is None:
        spacing = (float(configuration.volume) / configuration.n_particles) ** (1.0 / configuration.dimension)
        diameters = np.full(int(species.max()) + 1, 0.9 * spacing)
    sizes = np.asarray(diameters)[species]
    if configuration.dimension == 3:
        # A cut: the circles in which the middle plane meets the spheres.
        height = (fractional[:, 2] - 0.5) / np.linalg.norm(np.linalg.inv(box)[2])
        cut = np.abs(height) < 0.5 * sizes
        sizes = np.sqrt(sizes[cut] ** 2 - 4.0 * height[cut] ** 2)
        fractional, species, title = fractional[cut], species[cut], f"a cut through {title}"
    # Periodic images, so that circles are cut at the edges and not missing beyond them.
    shifts = np.array([(x, y) for x in (-1, 0, 1) for y in (-1, 0, 1)])
    plane = box[:2, :2]
    points = ((fractional[:, None, :2] + shifts[None]).reshape(-1, 2)) @ plane.T
    kinds = np.repeat(species, len(shifts))
    sizes = np.repeat(sizes, len(shifts))
    palette = np.array(COLOURS)[kinds % len(COLOURS)]
    axes.add_collection(
        EllipseCollection(
            sizes,
            sizes,
            np.zeros_like(sizes),
            units="xy",
            offsets=points,
            offset_transform=axes.transData,
            facecolors=palette,
            edgecolors="white",
            linewidths=0.6,
            alpha=0.85,
        )
    )
    axes.set_xlim(0.0, plane[0].sum())
    axes.set_ylim(0.0, plane[1].sum())
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])
    for k in range(int(np.asarray(configuration.species).max()) + 1):
        if k < 8:
            label = f"species {k}: diameter {diameters[k]:.3f}"
            axes.plot([], [], "o", color=COLOURS[k % len(COLOURS)], label=label)
    axes.set_title(title)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.01), ncols=2, fontsize=9, frameon=False)
