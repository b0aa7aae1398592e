"""What the studies of one paper share."""

import abc
from collections.abc import Mapping
from typing import TYPE_CHECKING

import glasswright as gw
from glasswright.components.study import Scale
from glasswright.plots.options import PlotOptions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SOURCE = "M. Zu and C. P. Goodrich, Commun. Mater. 5 (2024), doi 10.1038/s43246-024-00583-4"
HEIGHT = 3.4


class AbstractDrawnStudy(gw.AbstractStudy):
    """A study that draws on a figure of the usual size."""

    @abc.abstractmethod
    def draw(self, figure: "Figure", scale: Scale, runs: Mapping[str, gw.StudyRun]) -> None:
        """Draw the figure of the publication on an empty one, with published values marked."""

    def figure(self, scale: Scale, runs: Mapping[str, gw.StudyRun], options: PlotOptions) -> "Figure":
        """The figure of the publication."""
        from glasswright.plots.style import drawing, new_figure

        with drawing(options):
            figure = new_figure(options, HEIGHT)
            self.draw(figure, scale, runs)
        return figure
