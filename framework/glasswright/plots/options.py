"""How pictures are drawn: in which formats, how wide, in which style. Knows no matplotlib."""

import dataclasses
from collections.abc import Sequence

FORMATS = ("png", "pdf", "svg")
# Column widths of journals, in millimetres.
WIDTHS = {"single": 86.0, "double": 178.0}
MILLIMETRES = 25.4
LEAST_WIDTH, MOST_WIDTH = 50.0, 1000.0


@dataclasses.dataclass(frozen=True)
class PlotOptions:
    """How the pictures of a run are drawn.

    **Arguments:**

    - `format`: formats, one file for each: `png`, `pdf`, `svg`.
    - `width`: `single` or `double` column of a journal, or a number of millimetres.
    - `style`: a style of matplotlib by its name, or the path of a style sheet; null for glasswright's own.
    """

    format: Sequence[str] = ("png",)
    width: str | float = "double"
    style: str | None = None

    @property
    def inches(self) -> float:
        """The width in inches."""
        return (WIDTHS[self.width] if isinstance(self.width, str) else self.width) / MILLIMETRES


# How pictures are drawn where nobody says anything.
DEFAULT_PLOTS = PlotOptions()
