"""A value as small as possible."""

from typing import ClassVar

from ._extremum import AbstractExtremum


class Minimize(AbstractExtremum):
    """As small as possible: the loss is the mean value itself, divided by a scale.

    There is no best value: give the design bounds that hold it, or another term that pulls the other way.

    **Arguments:**

    - `scale`: what counts as one, in the property's units.
    """

    scale: float = 1.0

    sign: ClassVar[float] = 1.0
