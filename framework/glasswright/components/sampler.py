"""Samplers: which configurations a training step uses."""

import abc
from collections.abc import Sequence

import equinox as eqx


class AbstractSampler(eqx.Module):
    """Chooses the configurations of a training step, by index.

    An index identifies a configuration: its random start is drawn from the run's seed and the index, so that results
    do not depend on devices, chunks or restarts. A configuration that the previous step used too is followed
    (`AbstractProtocol.follow`); any other is prepared from its random start.

    **Attributes:**

    - `size`: how many configurations a step uses.
    - `is_population`: True if the sampled packings are all there is to train (estimators are then plain means), False
      if they are a sample of an ensemble.
    """

    size: eqx.AbstractVar[int]
    is_population: eqx.AbstractClassVar[bool]

    @abc.abstractmethod
    def indices(self, step: int) -> Sequence[int]:
        """Indices of the configurations of a step, `size` of them."""
