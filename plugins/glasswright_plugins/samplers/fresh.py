import glasswright as gw


class Fresh(gw.AbstractSampler):
    """New random packings at every step: the design is trained for the ensemble, of which each step sees a sample.

    Source: Zu & Goodrich, Commun. Mater. 5 (2024), Fig. 4 and Methods.

    **Arguments:**

    - `size`: how many packings a step looks at.
    """

    size: int = 8
    is_population = False

    def __check_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"fresh(size={self.size}): needs at least one packing.")

    def indices(self, step):
        """The next `size` configurations that no step has seen."""
        return range(step * self.size, (step + 1) * self.size)
