"""Treatments: what is done to a configuration between its random start and the last quench."""

import abc
from collections.abc import Iterable, Iterator, Mapping

import equinox as eqx
import jax
from jaxtyping import Array, ArrayLike, Key, PRNGKeyArray

from ..physics.configuration import Configuration
from ..physics.potential import AbstractPotential


class Treated(eqx.Module):
    """A configuration after a treatment.

    **Attributes:**

    - `configuration`: where the treatment left it, without derivative.
    - `statistics`: numbers about the treatment, which are added to those of the search.
    """

    configuration: Configuration
    statistics: Mapping[str, ArrayLike] = eqx.field(default_factory=dict)


class AbstractTreatment(eqx.Module):
    """A part of a preparation: from a configuration to a configuration, with the same particles.

    A treatment is ordinary Python and is never differentiated: after the quench that follows it, a packing depends on
    a temperature or an amplitude through the choice of its basin only. All randomness comes from the key, so that a
    configuration of a run is the same wherever it is computed.
    """

    @abc.abstractmethod
    def apply(self, potential: AbstractPotential, configuration: Configuration, *, key: PRNGKeyArray) -> Treated:
        """Treat one configuration, which may be a random start or what another treatment has left.

        **Arguments:**

        - `potential`: the interactions.
        - `configuration`: the particles. Their box has to be the same at the end.
        - `key`: the random key; the same key gives the same result.
        """

    def apply_many(
        self, potential: AbstractPotential, configurations: Configuration, *, keys: Key[Array, " b"]
    ) -> Treated | None:
        """Treat many configurations at once: for accelerators.

        Every array of `configurations` has a leading axis over configurations, and so has every array of the result.
        None, the default, says that this treatment takes one at a time.
        """
        return None


class Treatments(Mapping[str, AbstractTreatment]):
    """Treatments by name, in the order in which they are applied. JAX would sort the keys of a dictionary."""

    def __init__(self, treatments: Mapping[str, AbstractTreatment] | Iterable[tuple[str, AbstractTreatment]] = ()):
        self._items = dict(treatments)

    def __getitem__(self, name: str) -> AbstractTreatment:
        return self._items[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(tuple(self._items.items()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Treatments) and list(self._items.items()) == list(other._items.items())

    def __repr__(self) -> str:
        return repr(self._items)


def _flatten_with_keys(treatments: Treatments) -> tuple[list[tuple[jax.tree_util.DictKey, object]], tuple[str, ...]]:
    return [(jax.tree_util.DictKey(name), treatment) for name, treatment in treatments.items()], tuple(treatments)


def _flatten(treatments: Treatments) -> tuple[list[object], tuple[str, ...]]:
    return list(treatments.values()), tuple(treatments)


jax.tree_util.register_pytree_with_keys(
    Treatments,
    _flatten_with_keys,
    lambda names, treatments: Treatments(zip(names, treatments, strict=True)),
    _flatten,
)
