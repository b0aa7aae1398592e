import abc

import equinox as eqx
from jaxtyping import Array, Bool, Float

from ._property import AbstractProperty
from ._sampler import AbstractSampler


class AbstractObjective(eqx.Module):
    """What is wanted of a property: a loss over its values in all configurations of a step."""

    @abc.abstractmethod
    def loss(
        self, values: Float[Array, "batch *shape"], accepted: Bool[Array, " batch"], sampling: AbstractSampler
    ) -> Float[Array, ""]:
        """The loss, differentiable in `values`; not a number if too few configurations were accepted to know it.

        Rows with `accepted` False hold no value (zeros) and must not count; at least one row is accepted. `sampling` is
        the sampler, whose `is_population` says whether the values are all there is or a sample of an ensemble.
        """

    def floor(
        self, values: Float[Array, "batch *shape"], accepted: Bool[Array, " batch"], sampling: AbstractSampler
    ) -> Float[Array, ""] | None:
        """What the plain loss of such a sample would come to on average if the ensemble itself were on target.

        A loss below it is luck. None, the default, where nobody knows.
        """
        return None

    def check(self, sampling: AbstractSampler) -> None:
        """Raise a `ValueError` before the run if this sampler cannot serve the objective; by default all can."""


class Term(eqx.Module):
    """One wish: a property, what is wanted of it, and how much it weighs in the total loss."""

    property: AbstractProperty
    objective: AbstractObjective
    weight: float = 1.0

    def __check_init__(self) -> None:
        if not 0.0 <= self.weight < float("inf"):
            raise ValueError(f"Term(weight={self.weight}): must be finite and not negative.")
