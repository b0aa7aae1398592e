import abc
import enum
from typing import Any, ClassVar

import equinox as eqx
import numpy as np
from jaxtyping import PRNGKeyArray

from ..physics.configuration import Configuration
from ..physics.potential import AbstractPotential
from ..physics.state import State


class Outcome(enum.IntEnum):
    """How the preparation of one configuration ended. Everything but `converged` is a rejection, and counted."""

    converged = 0
    max_steps = 1
    unstable = 2
    overflow = 3
    nonfinite = 4


def _as_arrays(numbers) -> dict[str, np.ndarray]:
    # NumPy's: these are numbers of the host, and making device arrays of them would cost more than a force evaluation.
    return {name: np.asarray(number) for name, number in numbers.items()}


class Prepared(eqx.Module):
    """What a preparation found.

    **Attributes:**

    - `configuration`: the prepared configuration, without derivative.
    - `outcome`: how the search ended, an `Outcome`.
    - `statistics`: numbers about the search (evaluations, `rearranged`, …); they are summed into the metrics.
    - `memory`: anything the protocol wants to find again in `attach` and `follow`, such as a factored Hessian.
    """

    configuration: Configuration
    outcome: Any = eqx.field(converter=np.asarray)
    statistics: dict[str, Any] = eqx.field(converter=_as_arrays, default_factory=dict)
    memory: Any = None

    @property
    def accepted(self) -> bool:
        """Whether the configuration counts (not for use under `jit`)."""
        return int(self.outcome) == Outcome.converged


class AbstractProtocol(eqx.Module):
    """How one configuration is prepared, and how the result depends on the design.

    The search (`prepare`, `follow`) is ordinary Python: it may loop on the host, and is never differentiated. The
    derivative belongs to the protocol: `attach` returns the same state as a differentiable function of the potential.
    """

    provides: ClassVar[type[State]] = State

    @abc.abstractmethod
    def prepare(self, potential: AbstractPotential, start: Configuration, *, key: PRNGKeyArray) -> Prepared:
        """Prepare one configuration from a start."""

    @abc.abstractmethod
    def attach(self, potential: AbstractPotential, prepared: Prepared) -> State:
        """The prepared state, carrying its derivative with respect to `potential`. Pure, and called under `jit`."""

    def follow(self, potential: AbstractPotential, previous: Prepared, *, key: PRNGKeyArray) -> Prepared:
        """Prepare again after a small change of the potential, staying with the same packing where possible.

        Protocols that can do better than starting anew from the previous configuration override this.
        """
        return self.prepare(potential, previous.configuration, key=key)

    def remember(self, potential: AbstractPotential, configuration: Configuration) -> Any:
        """The `memory` of an accepted configuration, made anew.

        Needed where a memory was not kept, because there are too many or because it comes from a checkpoint.
        Protocols that keep one override this.
        """
        return None

    def prepare_many(self, potential: AbstractPotential, starts: Configuration, *, width: int) -> Prepared | None:
        """Prepare many configurations at once, at most `width` of them at a time: for accelerators.

        Every array of `starts` has a leading axis over configurations, and so has every array of the result. None, the
        default, says that this protocol prepares one configuration at a time only.
        """
        return None
