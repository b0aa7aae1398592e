"""New packings at every step."""

import glasswright as gw


class Fresh(gw.AbstractSampler):
    """New random packings at every step: the design is trained for the ensemble, of which each step sees a sample.

    Source: Zu & Goodrich, Commun. Mater. 5 (2024), Fig. 4 and Methods.

    **Arguments:**

    - `size`: number of packings of a step.
    """

    size: int = 8
    is_population = False

    def __check_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"fresh(size={self.size}): needs at least one packing.")

    def indices(self, step: int) -> range:
        """The next `size` configurations that no step has seen."""
        return range(step * self.size, (step + 1) * self.size)
