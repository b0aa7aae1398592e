"""The pictures of a run as files, in every format that was asked for."""

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

from ..plots.options import FORMATS, PlotOptions
from .files import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Every picture that a run may leave.
PICTURES = ("training", "validation", "tunability", "predictiveness", "bonds", "vibrations", "front", "figure")


def picture_files(*pictures: str) -> list[str]:
    """The names of the files of these pictures, in all formats."""
    return [f"{picture}.{format}" for picture, format in itertools.product(pictures, FORMATS)]


def write_picture(folder: Path, name: str, figure: "Figure", options: PlotOptions) -> list[Path]:
    """Write a figure as `NAME.FORMAT` for each format; returns the paths."""
    # It imports matplotlib, which is slow.
    from ..plots.style import rendered

    paths = [folder / f"{name}.{format}" for format in options.format]
    for path, format in zip(paths, options.format, strict=True):
        write_atomically(path, rendered(figure, format, options))
    return paths
