"""Drawing a packing, with displacements or bonds on it."""

import dataclasses
import itertools

import numpy as np
from jaxtyping import Bool, Float, Int
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection, LineCollection
from matplotlib.colors import to_rgb

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


SOLID = ParticleStyle(edge_colour="white", line_width=0.3, opacity=0.9)
# A background for displacements and bonds.
PALE = ParticleStyle(edge_colour="0.4", line_width=0.25, opacity=0.22)
# From where a packing in three dimensions is seen: angles to the first axis and above the plane, in degrees.
AZIMUTH, ELEVATION = 28.0, 20.0
# The colour of particles at the back goes over into white by this share.
HAZE = 0.55


def draw_packing(
    axes: Axes,
    configuration: Configuration,
    diameters: np.ndarray | None,
    *,
    legend: bool = False,
) -> None:
    """Draw the particles: in two dimensions as discs, in three as spheres in their box, seen from outside.

    **Arguments:**

    - `diameters`: of each species, in units of length; None or too few: 0.9 times the mean spacing for all.
    - `legend`: whether to add a title and the diameter of each species.
    """
    known = _diameters(configuration, diameters)
    if configuration.dimension == 3:
        _draw_spheres(axes, configuration, known)
    else:
        draw_cut(axes, configuration, diameters, SOLID)
    if legend:
        for k in range(min(len(known), MOST_SPECIES_IN_LEGEND)):
            label = f"species {k}" if diameters is None else f"species {k}: diameter {known[k]:.3f}"
            axes.plot([], [], "o", color=COLOURS[k % len(COLOURS)], label=label)
        axes.set_title(f"{configuration.n_particles} particles")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.01), ncols=2, frameon=False)


def draw_cut(
    axes: Axes, configuration: Configuration, diameters: np.ndarray | None, style: ParticleStyle = PALE
) -> Bool[np.ndarray, " n"]:
    """Draw the particles as discs. In three dimensions, draw the discs in which the middle plane cuts the spheres.

    **Returns:** which particles are shown.
    """
    plane, in_plane, height = _projected(configuration)
    species = np.asarray(configuration.species)
    sizes = _diameters(configuration, diameters)[species]
    shown = np.ones(len(species), dtype=bool)
    if height is not None:
        shown = np.abs(height) < 0.5 * sizes
        sizes = np.sqrt(np.maximum(sizes**2 - 4.0 * height**2, 0.0))
    colours = _species_colours(species[shown])
    points, which = _images_in_sight(in_plane[shown], plane, 0.5 * sizes[shown])
    _draw_discs(axes, points, sizes[shown][which], colours[which], style)
    _frame(axes, plane)
    return shown


def _species_colours(species: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n 3"]:
    """The colour of each particle."""
    colours: np.ndarray = np.array([to_rgb(colour) for colour in COLOURS])[species % len(COLOURS)]
    return colours


def _draw_discs(
    axes: Axes,
    points: Float[np.ndarray, "n 2"],
    sizes: Float[np.ndarray, " n"],
    colours: Float[np.ndarray, "n 3"],
    style: ParticleStyle,
) -> None:
    axes.add_collection(
        EllipseCollection(
            sizes,
            sizes,
            np.zeros_like(sizes),
            units="xy",
            offsets=points,
            offset_transform=axes.transData,
            facecolors=colours,
            edgecolors=style.edge_colour,
            linewidths=style.line_width,
            alpha=style.opacity,
        )
    )


def _corners(plane: Float[np.ndarray, "2 2"]) -> Float[np.ndarray, "2 4"]:
    """The corners of the box in the plane, as columns."""
    corners: np.ndarray = plane @ np.array([[0.0, 1.0, 0.0, 1.0], [0.0, 0.0, 1.0, 1.0]])
    return corners


def _frame(axes: Axes, plane: Float[np.ndarray, "2 2"]) -> None:
    """The box in the plane as the frame of the picture."""
    corners = _corners(plane)
    axes.set_xlim(corners[0].min(), corners[0].max())
    axes.set_ylim(corners[1].min(), corners[1].max())
    if np.max(np.abs(plane * (1.0 - np.eye(2)))) > 1e-9 * np.max(plane):
        # The edges of the picture are not those of the box.
        axes.plot(*corners[:, [0, 1, 3, 2, 0]], color="0.3", linewidth=0.8, zorder=4)
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])


def _diameters(configuration: Configuration, diameters: np.ndarray | None) -> np.ndarray:
    """The diameter of each species; 0.9 times the mean spacing where they are not known."""
    n_species = int(np.asarray(configuration.species).max()) + 1
    if diameters is None or len(diameters) < n_species:
        return np.full(n_species, 0.9 * mean_spacing(configuration))
    return np.asarray(diameters)


def _draw_spheres(axes: Axes, configuration: Configuration, diameters: np.ndarray) -> None:
    """Draw the box with its spheres, those behind first and paler, each with a highlight."""
    box = np.asarray(configuration.box)
    species = np.asarray(configuration.species)
    centred = (np.asarray(configuration.fractional) % 1.0 - 0.5) @ box.T @ _view().T
    order = np.argsort(centred[:, 2])
    points, depth, sizes = centred[order, :2], centred[order, 2], np.asarray(diameters)[species[order]]
    corners = (np.array(list(itertools.product((0.0, 1.0), repeat=3))) - 0.5) @ box.T @ _view().T
    edges = [(i, j) for i, j in itertools.combinations(range(8), 2) if bin(i ^ j).count("1") == 1]
    behind = int(np.argmin(corners[:, 2]))
    for in_front in (False, True):
        chosen = [corners[[i, j], :2] for i, j in edges if (behind in (i, j)) != in_front]
        # The three edges that meet at the back are behind the spheres.
        axes.add_collection(LineCollection(chosen, colors="0.45", linewidths=0.6, zorder=3 if in_front else 0))
    low, high = float(depth.min()), float(depth.max())
    haze = HAZE * (high - depth) / max(high - low, 1e-300)
    colours = _species_colours(species[order])
    colours = colours + (1.0 - colours) * haze[:, None]
    # Spheres and their highlights in turn: one in front covers the highlight of one behind.
    highlight = colours + (1.0 - colours) * 0.45
    twice = np.stack([points, points + 0.14 * sizes[:, None] * np.array([-1.0, 1.0])], axis=1).reshape(-1, 2)
    both = np.stack([sizes, 0.42 * sizes], axis=1).reshape(-1)
    shades = np.stack([colours, highlight], axis=1).reshape(-1, 3)
    collection = EllipseCollection(
        both,
        both,
        np.zeros_like(both),
        units="xy",
        offsets=twice,
        offset_transform=axes.transData,
        facecolors=shades,
        edgecolors=np.tile(["0.25", "none"], len(points)).tolist(),
        linewidths=SOLID.line_width,
        alpha=1.0,
        zorder=1,
    )
    axes.add_collection(collection)
    reach = max(float(np.max(np.abs(points) + 0.5 * sizes[:, None])), float(np.max(np.abs(corners[:, :2]))))
    axes.set_xlim(-1.02 * reach, 1.02 * reach)
    axes.set_ylim(-1.02 * reach, 1.02 * reach)
    axes.set_aspect("equal")
    axes.set_axis_off()


def _view() -> Float[np.ndarray, "3 3"]:
    """The rotation to the coordinates of the picture: to the right, upwards, and towards the eye."""
    azimuth, elevation = np.radians(AZIMUTH), np.radians(ELEVATION)
    eye = np.array([np.cos(elevation) * np.sin(azimuth), -np.cos(elevation) * np.cos(azimuth), np.sin(elevation)])
    right = np.array([np.cos(azimuth), np.sin(azimuth), 0.0])
    return np.stack([right, np.cross(eye, right), eye])


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


def _images_in_sight(
    fractional: Float[np.ndarray, "n 2"], plane: Float[np.ndarray, "2 2"], radius: Float[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, "m 2"], Int[np.ndarray, " m"]]:
    """The images of discs that reach into the frame, and the disc that each is an image of."""
    points, which = images(fractional, plane), np.repeat(np.arange(len(fractional)), len(SHIFTS))
    reach = radius[which][:, None]
    corners = _corners(plane)
    inside = np.all((points > corners.min(axis=1) - reach) & (points < corners.max(axis=1) + reach), axis=1)
    return points[inside], which[inside]


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
    points, which = _images_in_sight(in_plane[shown], plane, np.linalg.norm(arrows[shown], axis=1))
    arrows = arrows[shown][which]
    axes.quiver(*points.T, *arrows.T, angles="xy", scale_units="xy", scale=1.0, color="black", width=0.0025, zorder=3)


def draw_bonds(
    axes: Axes,
    configuration: Configuration,
    i: Int[np.ndarray, " b"],
    j: Int[np.ndarray, " b"],
    width: Float[np.ndarray, " b"],
    colour: np.ndarray,
    dotted: Bool[np.ndarray, " b"],
) -> None:
    """Draw each bond as a line between the nearest images of its particles `i` and `j`, with its width and colour."""
    plane = np.asarray(configuration.box)[:2, :2]
    fractional = np.asarray(configuration.fractional)[:, :2]
    start = fractional[i] % 1.0
    vector = fractional[j] - fractional[i]
    vector -= np.round(vector)
    ends = np.stack([images(start, plane), images(start + vector, plane)], axis=1)
    # A width, a colour and a dash for each periodic image.
    widths, colours = (np.repeat(values, len(SHIFTS)).tolist() for values in (width, colour))
    dashes = [(0.0, (0.5, 0.6)) if dots else "solid" for dots in np.repeat(dotted, len(SHIFTS))]
    axes.add_collection(LineCollection(list(ends), linewidths=widths, colors=colours, linestyles=dashes, zorder=3))
