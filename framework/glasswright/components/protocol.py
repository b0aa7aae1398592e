"""Protocols: how a packing is prepared, how it depends on the design, and how a preparation can end."""

import abc
import enum
from collections.abc import Mapping
from typing import ClassVar

import equinox as eqx
import numpy as np
from jaxtyping import Array, ArrayLike, Key, PRNGKeyArray, PyTree

from .._jax import readable
from ..physics.configuration import Configuration
from ..physics.potential import AbstractPotential
from ..physics.state import State


class Outcome(enum.IntEnum):
    """How the preparation and measurement of one configuration ended.

    All but `converged` are rejections, which are counted. `not_rigid` is a packing that is no solid where a property
    was asked for that only solids have, such as Poisson's ratio. `narrow_box` is a packing whose box became narrower
    than twice the range of the interactions.
    """

    converged = 0
    max_steps = 1
    unstable = 2
    overflow = 3
    nonfinite = 4
    not_rigid = 5
    narrow_box = 6


def _as_arrays(numbers: Mapping[str, ArrayLike]) -> dict[str, np.ndarray]:
    # NumPy's: these are numbers of the host, and making device arrays of them would cost more than a force evaluation.
    return {name: np.asarray(number) for name, number in numbers.items()}


class Prepared(eqx.Module):
    """The result of a preparation.

    **Attributes:**

    - `configuration`: the prepared configuration, without derivative.
    - `outcome`: how the search ended, an `Outcome`.
    - `statistics`: numbers about the search (evaluations, `rearranged`, …); they are summed into the metrics.
    - `memory`: the protocol's cache: anything it wants to find again in `attach` and `follow`, such as a factored
      Hessian.
    """

    configuration: Configuration
    # An `Outcome`; an array of them where many configurations are stacked.
    outcome: Outcome | Array | np.ndarray = eqx.field(converter=np.asarray)
    statistics: Mapping[str, ArrayLike] = eqx.field(converter=_as_arrays, default_factory=dict)
    # Of the protocol's own choice.
    memory: PyTree = None

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

    def __repr__(self) -> str:
        return readable(self)

    @abc.abstractmethod
    def prepare(self, potential: AbstractPotential, start: Configuration, *, key: PRNGKeyArray) -> Prepared:
        """Prepare one configuration from a start."""

    @abc.abstractmethod
    def attach(self, potential: AbstractPotential, prepared: Prepared) -> State:
        """The prepared state, carrying its derivative with respect to `potential`. Pure, and called under `jit`."""

    def relax(self, potential: AbstractPotential, configuration: Configuration, *, key: PRNGKeyArray) -> Prepared:
        """Take a given packing to rest, as it is to be measured.

        By default a preparation that starts from it. Protocols whose preparation does more than that override it.
        """
        return self.prepare(potential, configuration, key=key)

    def follow(self, potential: AbstractPotential, previous: Prepared, *, key: PRNGKeyArray) -> Prepared:
        """Prepare again after a small change of the potential, staying with the same packing where possible.

        By default a preparation that starts from the previous configuration. Protocols that can do better override it.
        """
        return self.prepare(potential, previous.configuration, key=key)

    @property
    def changes_box(self) -> bool:
        """Whether packings have boxes of their own, which `prepare` finds. By default the box is that of the system."""
        return False

    def remember(self, potential: AbstractPotential, configuration: Configuration) -> PyTree:
        """The cache (`Prepared.memory`) of an accepted configuration, computed again.

        Needed where the cache was dropped, because there are too many or because it comes from a checkpoint. Protocols
        that keep a cache override this.
        """
        return None

    def compress(self, memory: PyTree) -> PyTree:
        """What a checkpoint keeps of a cache, of which `expand` makes the whole cache again. By default all of it."""
        return memory

    def expand(self, potential: AbstractPotential, configuration: Configuration, compressed: PyTree) -> PyTree:
        """The cache that `compress` was given, to the last bit; else the checkpoint keeps all of it.

        `potential` and `configuration` are those that the cache was made for.
        """
        return compressed

    def prepare_many(
        self, potential: AbstractPotential, starts: Configuration, *, width: int, keys: Key[Array, " b"] | None = None
    ) -> Prepared | None:
        """Prepare many configurations at once, at most `width` of them at a time: for accelerators.

        Every array of `starts` has a leading axis over configurations, and so has every array of the result; `keys` are
        the random keys of the searches. None, the default, says that this protocol prepares one configuration at a
        time only.
        """
        return None

    def memory_per_configuration(
        self, potential: AbstractPotential, n_particles: int, largest_particles: Configuration
    ) -> int | None:
        """Bytes of accelerator memory that each configuration of `prepare_many` needs, estimated from above.

        They hold the preparation and then the measurement with its gradient. None, the default, says that it is not
        known: the batches are then small.

        **Arguments:**

        - `n_particles`: number of particles of a configuration.
        - `largest_particles`: particles in the same box that show how far the potential can reach.
        """
        return None
