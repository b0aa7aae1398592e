"""What the studies of one paper share."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from glasswright.plots.options import PlotOptions

if TYPE_CHECKING:
    from matplotlib.figure import Figure


SOURCE = "M. Zu and C. P. Goodrich, Commun. Mater. 5 (2024), doi 10.1038/s43246-024-00583-4"


def drawn(draw: "Callable[[Figure], None]", options: PlotOptions) -> "Figure":
    """The figure that a function draws on an empty one."""
    from glasswright.plots.style import drawing, new_figure

    with drawing(options):
        figure = new_figure(options, 3.4)
        draw(figure)
    return figure
