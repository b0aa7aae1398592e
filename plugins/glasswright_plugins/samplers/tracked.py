"""The same packings at every step."""

import glasswright as gw


class Tracked(gw.AbstractSampler):
    """The same packings at every step, followed as the design moves: the paper's single configuration training.

    **Arguments:**

    - `size`: number of packings that are trained together.
    """

    size: int = 1
    is_population = True

    def __check_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"tracked(size={self.size}): needs at least one packing.")

    def indices(self, step: int) -> range:
        """Always the first `size` configurations."""
        return range(self.size)
