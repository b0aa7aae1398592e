"""A packing in pale colours, with something drawn on it: displacements, or bonds."""

from typing import Any

import numpy as np
from matplotlib.collections import EllipseCollection, LineCollection

from ..physics.configuration import Configuration
from .style import COLOURS

# Periodic images on which things are drawn, so that those at the edges are cut and not missing.
SHIFTS = np.array([(x, y) for x in (-1, 0, 1) for y in (-1, 0, 1)])


def draw_plain_packing(axes: Any, configuration: Configuration, diameters: np.ndarray | None) -> np.ndarray:
    """Draw the particles, or those that the middle plane of a three-dimensional box cuts; returns which are shown."""
    plane = np.asarray(configuration.box)[:2, :2]
    fractional = np.asarray(configuration.fractional) % 1.0
    species = np.asarray(configuration.species)
    if diameters is None or len(diameters) <= int(species.max()):
        spacing = (float(configuration.volume) / configuration.n_particles) ** (1.0 / configuration.dimension)
        sizes = np.full(len(species), 0.9 * spacing)
    else:
        sizes = np.asarray(diameters)[species]
    shown = np.ones(len(species), dtype=bool)
    if configuration.dimension == 3:
        height = (fractional[:, 2] - 0.5) / np.linalg.norm(np.linalg.inv(np.asarray(configuration.box))[2])
        shown = np.abs(height) < 0.5 * sizes
        sizes = np.sqrt(np.maximum(sizes**2 - 4.0 * height**2, 0.0))
    sizes = np.repeat(sizes[shown], len(SHIFTS))
    axes.add_collection(
        EllipseCollection(
            sizes,
            sizes,
            np.zeros_like(sizes),
            units="xy",
            offsets=images(fractional[shown, :2], plane),
            offset_transform=axes.transData,
            facecolors=np.array(COLOURS)[np.repeat(species[shown], len(SHIFTS)) % len(COLOURS)],
            edgecolors="0.4",
            linewidths=0.3,
            alpha=0.22,
        )
    )
    axes.set_xlim(0.0, plane[0].sum())
    axes.set_ylim(0.0, plane[1].sum())
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])
    return shown


def images(fractional: np.ndarray, plane: np.ndarray) -> np.ndarray:
    """Points of the plane with their periodic images, the images of each point in a row."""
    return (fractional[:, None] + SHIFTS[None]).reshape(-1, 2) @ plane.T


def draw_displacement(axes: Any, configuration: Configuration, displacement: np.ndarray, shown: np.ndarray) -> None:
    """Arrows along the displacements of the particles that are shown, the longest as long as 1.5 spacings."""
    plane = np.asarray(configuration.box)[:2, :2]
    fractional = (np.asarray(configuration.fractional) % 1.0)[shown, :2]
    spacing = (float(configuration.volume) / configuration.n_particles) ** (1.0 / configuration.dimension)
    arrows = displacement[:, :2] * 1.5 * spacing / max(float(np.max(np.linalg.norm(displacement, axis=1))), 1e-300)
    points, arrows = images(fractional, plane), np.repeat(arrows[shown], len(SHIFTS), axis=0)
    axes.quiver(*points.T, *arrows.T, angles="xy", scale_units="xy", scale=1.0, color="black", width=0.0025, zorder=3)


def draw_bonds(axes: Any, configuration: Configuration, i: Any, j: Any, width: Any, colour: Any) -> None:
    """Lines between the particles `i` and `j` of each bond, by the shortest way; a width and a colour for each."""
    plane = np.asarray(configuration.box)[:2, :2]
    fractional = np.asarray(configuration.fractional)[:, :2]
    start = fractional[i] % 1.0
    way = fractional[j] - fractional[i]
    way -= np.round(way)
    ends = np.stack([images(start, plane), images(start + way, plane)], axis=1)
    widths, colours = (np.repeat(one, len(SHIFTS)).tolist() for one in (width, colour))
    axes.add_collection(LineCollection(list(ends), linewidths=widths, colors=colours, capstyle="round", zorder=3))
