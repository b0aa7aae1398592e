import abc
from collections.abc import Sequence

import equinox as eqx


class AbstractSampler(eqx.Module):
    """Which configurations a training step looks at, by index.

    The index is all a configuration is known by: its random start is drawn from the run's seed and the index, so that
    results do not depend on devices, chunks or restarts. A configuration that the previous step looked at too is
    followed (`AbstractProtocol.follow`), any other is prepared from its random start.

    **Attributes:**

    - `size`: how many configurations a step looks at.
    - `is_population`: True if the sampled packings are all there is to train (estimators are then plain means), False
      if they stand for an ensemble that is never seen whole.
    """

    size: eqx.AbstractVar[int]
    is_population: eqx.AbstractClassVar[bool]

    @abc.abstractmethod
    def indices(self, step: int) -> Sequence[int]:
        """Indices of the configurations that `step` looks at, `size` of them."""
