import abc
import builtins
from typing import Any, ClassVar

import equinox as eqx
import numpy as np
from jaxtyping import Array, Bool, Float

from .property import AbstractProperty
from .sampler import AbstractSampler


class AbstractObjective(eqx.Module):
    """What is wanted of a property: a loss over its values in all configurations of a step.

    `least_is_zero` says whether the loss of the best values is zero. If not, no loss means success, a training does not
    stop before its last step, and optimizers that need to know the least loss are refused.
    """

    least_is_zero: ClassVar[bool] = True

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

    def check_property(self, measured: AbstractProperty, shape: tuple[int, ...]) -> None:
        """Raise a `ValueError` before the run if values of this property, which have this shape, cannot be judged."""


class Term(eqx.Module):
    """One wish: a property, what is wanted of it, and how much it weighs in the total loss.

    **Arguments:**

    - `property`, `objective`: what is measured, and the loss of its values.
    - `weight`: factor of the loss in the total.
    - `scale`: what counts as one, in the property's units; the loss, a squared distance, is divided by its square.
    """

    property: AbstractProperty
    objective: AbstractObjective
    weight: float = 1.0
    scale: float = 1.0

    # The field of that name hides the built-in one.
    @builtins.property
    def share(self) -> float:
        """Factor of the loss in the total: the weight over the scale squared."""
        return self.weight / self.scale**2

    def __check_init__(self) -> None:
        if not 0.0 < self.scale < float("inf"):
            raise ValueError(f"Term(scale={self.scale}): must be positive and finite.")
        if not 0.0 <= self.weight < float("inf"):
            raise ValueError(f"Term(weight={self.weight}): must be finite and not negative.")


def target_of(term: Any) -> float | None:
    """The number that is wanted of a property, if its objective has one."""
    target = getattr(term.objective, "target", None)
    return float(target) if target is not None and np.ndim(target) == 0 else None
