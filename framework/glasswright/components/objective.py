"""Objectives: what is wanted of a property. A term of the loss is a property with its objective and its weight."""

import abc
import builtins
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from .._jax import readable
from .property import AbstractProperty
from .sampler import AbstractSampler


class AbstractObjective(eqx.Module):
    """What is wanted of a property: a loss over its values in all configurations of a step.

    `least_is_zero` says whether the smallest possible loss is zero. If not, no loss means success, a training does not
    stop before its last step, and optimizers that need to know the smallest loss are refused.
    """

    least_is_zero: ClassVar[bool] = True

    def __repr__(self) -> str:
        return readable(self)

    @abc.abstractmethod
    def loss(
        self, values: Float[Array, " batch *shape"], accepted: Bool[Array, " batch"], sampling: AbstractSampler
    ) -> Float[Array, ""]:
        """The loss, differentiable in `values`; not a number if too few configurations were accepted to know it.

        Rows with `accepted` False hold no value (zeros) and must not count; at least one row is accepted. `sampling` is
        the sampler, whose `is_population` says whether the values are all there is or a sample of an ensemble.
        """

    def floor(
        self, values: Float[Array, " batch *shape"], accepted: Bool[Array, " batch"], sampling: AbstractSampler
    ) -> Float[Array, ""] | None:
        """The sampling floor: the average loss of such a sample if the ensemble itself were on target.

        A loss below it is luck. None, the default, where the sampling floor is not known.
        """
        return None

    def check(self, sampling: AbstractSampler) -> None:
        """Raise a `ValueError` before the run if this sampler cannot serve the objective; by default all can."""

    def check_property(self, measured: AbstractProperty, shape: tuple[int, ...]) -> None:
        """Raise a `ValueError` before the run if the objective has no loss for values of this property and shape."""


class NoObjective(AbstractObjective):
    """Nothing is wanted of the property: it is only measured."""

    def loss(
        self, values: Float[Array, " batch *shape"], accepted: Bool[Array, " batch"], sampling: AbstractSampler
    ) -> Float[Array, ""]:
        """Zero."""
        return jnp.zeros(())


class Term(eqx.Module):
    """One term of the loss: a property, what is wanted of it, and how much it weighs in the total.

    **Arguments:**

    - `property`, `objective`: what is measured, and the loss of its values.
    - `weight`: factor of the loss in the total.
    - `scale`: unit in which the property is measured; the loss, a squared distance, is divided by its square.
    """

    property: AbstractProperty
    objective: AbstractObjective
    weight: float = 1.0
    scale: float = 1.0

    # The field `property` hides the built-in decorator, here and below.
    @builtins.property
    def is_trained(self) -> bool:
        """Whether something is wanted of the property, so that it needs a derivative."""
        return self.weight > 0.0 and not isinstance(self.objective, NoObjective)

    @builtins.property
    def share(self) -> float:
        """Factor of the loss in the total: the weight over the scale squared."""
        return self.weight / self.scale**2

    @builtins.property
    def target(self) -> float | None:
        """The number that the objective wants, if it wants one; None for arrays, intervals, maxima and the like."""
        target = getattr(self.objective, "target", None)
        return float(target) if target is not None and np.ndim(target) == 0 else None

    def __check_init__(self) -> None:
        if not 0.0 < self.scale < float("inf"):
            raise ValueError(f"Term(scale={self.scale}): must be positive and finite.")
        if not 0.0 <= self.weight < float("inf"):
            raise ValueError(f"Term(weight={self.weight}): must be finite and not negative.")
