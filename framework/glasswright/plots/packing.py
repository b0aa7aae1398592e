"""Drawing a packing, with displacements or bonds on it."""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Int
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection, LineCollection

from ..physics.configuration import Configuration
from .style import COLOURS

# Everything is drawn with its periodic images, so that it is cut at the edges of the box and not missing beyond them.
SHIFTS = np.array([(x, y) for x in (-1, 0, 1) for y in (-1, 0, 1)])
MOST_SPECIES_IN_LEGEND = 8


@dataclasses.dataclass(frozen=True)
class ParticleStyle:
    """How particles are drawn."""

    edge_colour: str
    line_width: float
    opacity: float


SOLID = ParticleStyle(edge_colour="white", line_width=0.6, opacity=0.85)
# A background for displacements and bonds.
PALE = ParticleStyle(edge_colour="0.4", line_width=0.3, opacity=0.22)


def draw_packing(
    axes: Axes,
    configuration: Configuration,
    diameters: np.ndarray | None,
    style: ParticleStyle = SOLID,
    *,
    legend: bool = False,
) -> Bool[np.ndarray, " n"]:
    """Draw the particles as discs. In three dimensions, draw the discs in which the middle plane cuts the spheres.

    **Arguments:**

    - `diameters`: of each species, in units of length; None or too few: 0.9 times the mean spacing for all.
    - `style`: how the particles are drawn.
    - `legend`: whether to add a title and the diameter of each species.

    **Returns:** which particles are shown.
    """
    plane, in_plane, height = _projected(configuration)
    species = np.asarray(configuration.species)
    n_species = int(species.max()) + 1
    if diameters is None or len(diameters) < n_species:
        diameters = np.full(n_species, 0.9 * mean_spacing(configuration))
    sizes = np.asarray(diameters)[species]
    shown = np.ones(len(species), dtype=bool)
    if height is not None:
        shown = np.abs(height) < 0.5 * sizes
        sizes = np.sqrt(np.maximum(sizes**2 - 4.0 * height**2, 0.0))
    sizes = np.repeat(sizes[shown], len(SHIFTS))
    axes.add_collection(
        EllipseCollection(
            sizes,
            sizes,
            np.zeros_like(sizes),
            units="xy",
            offsets=images(in_plane[shown], plane),
            offset_transform=axes.transData,
            facecolors=np.array(COLOURS)[np.repeat(species[shown], len(SHIFTS)) % len(COLOURS)],
            edgecolors=style.edge_colour,
            linewidths=style.line_width,
            alpha=style.opacity,
        )
    )
    corners = plane @ np.array([[0.0, 1.0, 0.0, 1.0], [0.0, 0.0, 1.0, 1.0]])
    axes.set_xlim(corners[0].min(), corners[0].max())
    axes.set_ylim(corners[1].min(), corners[1].max())
    if np.max(np.abs(plane * (1.0 - np.eye(2)))) > 1e-9 * np.max(plane):
        # The edges of the picture are not those of the box.
        axes.plot(*corners[:, [0, 1, 3, 2, 0]], color="0.3", linewidth=0.8, zorder=4)
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])
    if legend:
        for k in range(min(n_species, MOST_SPECIES_IN_LEGEND)):
            axes.plot([], [], "o", color=COLOURS[k], label=f"species {k}: diameter {diameters[k]:.3f}")
        title = f"{configuration.n_particles} particles"
        axes.set_title(title if configuration.dimension == 2 else f"a cut through {title}")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.01), ncols=2, fontsize=9, frameon=False)
    return shown


def _directions(box: Float[np.ndarray, "d d"]) -> Float[np.ndarray, "d 2"]:
    """Two directions of space as columns: those of the picture, in the plane of the first two lattice vectors."""
    if len(box) == 2:
        return np.eye(2)
    first = box[:, 0] / np.linalg.norm(box[:, 0])
    second = box[:, 1] - (box[:, 1] @ first) * first
    return np.stack([first, second / np.linalg.norm(second)], axis=1)


def _projected(
    configuration: Configuration,
) -> tuple[Float[np.ndarray, "2 2"], Float[np.ndarray, "n 2"], Float[np.ndarray, " n"] | None]:
    """What is drawn: the lattice vectors of the picture as columns, positions in units of them, and heights.

    Heights are above the middle plane of the box, towards which positions are projected at right angles; None in two
    dimensions.
    """
    box, fractional = np.asarray(configuration.box), np.asarray(configuration.fractional) % 1.0
    directions = _directions(box)
    plane = directions.T @ box[:, :2]
    if configuration.dimension == 2:
        return plane, fractional, None
    above = fractional[:, 2] - 0.5
    drift = np.linalg.solve(plane, directions.T @ box[:, 2])
    return plane, fractional[:, :2] + above[:, None] * drift, above / np.linalg.norm(np.linalg.inv(box)[2])


def mean_spacing(configuration: Configuration) -> float:
    """`(V/N)^(1/d)`, in units of length."""
    spacing: float = (float(configuration.volume) / configuration.n_particles) ** (1.0 / configuration.dimension)
    return spacing


def images(fractional: Float[np.ndarray, "n 2"], plane: Float[np.ndarray, "2 2"]) -> Float[np.ndarray, "_ 2"]:
    """Points of the plane with all their periodic images; the images of a point follow each other."""
    points: np.ndarray = (fractional[:, None] + SHIFTS[None]).reshape(-1, 2) @ plane.T
    return points


def draw_displacement(
    axes: Axes,
    configuration: Configuration,
    displacement: Float[np.ndarray, "n d"],
    shown: Bool[np.ndarray, " n"],
) -> None:
    """Draw the displacements of the particles that are shown as arrows, the longest 1.5 mean spacings long."""
    plane, in_plane, _ = _projected(configuration)
    arrows = (
        displacement
        @ _directions(np.asarray(configuration.box))
        * 1.5
        * mean_spacing(configuration)
        / max(float(np.max(np.linalg.norm(displacement, axis=1))), 1e-300)
    )
    points, arrows = images(in_plane[shown], plane), np.repeat(arrows[shown], len(SHIFTS), axis=0)
    axes.quiver(*points.T, *arrows.T, angles="xy", scale_units="xy", scale=1.0, color="black", width=0.0025, zorder=3)


def draw_bonds(
    axes: Axes,
    configuration: Configuration,
    i: Int[np.ndarray, " b"],
    j: Int[np.ndarray, " b"],
    width: Float[np.ndarray, " b"],
    colour: np.ndarray,
) -> None:
    """Draw each bond as a line between the nearest images of its particles `i` and `j`, with its width and colour."""
    plane = np.asarray(configuration.box)[:2, :2]
    fractional = np.asarray(configuration.fractional)[:, :2]
    start = fractional[i] % 1.0
    vector = fractional[j] - fractional[i]
    vector -= np.round(vector)
    ends = np.stack([images(start, plane), images(start + vector, plane)], axis=1)
    # A width and a colour for each periodic image.
    widths, colours = (np.repeat(values, len(SHIFTS)).tolist() for values in (width, colour))
    axes.add_collection(LineCollection(list(ends), linewidths=widths, colors=colours, capstyle="round", zorder=3))
