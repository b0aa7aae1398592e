"""Optimizers of optax under their own names: those whose first argument is `learning_rate`."""

import functools
import inspect
from collections.abc import Callable

import optax


def _with_rate_in_state(name: str) -> Callable[..., optax.GradientTransformation]:
    """An optimizer that keeps its present learning rate in its state, where the metrics read it."""
    function = getattr(optax, name)
    signature = inspect.signature(function)
    others = [name for name in signature.parameters if name != "learning_rate"]

    # Some are partial functions, which have neither a name nor annotations.
    @functools.wraps(getattr(function, "func", function))
    def make(*arguments: object, **parameters: object) -> optax.GradientTransformation:
        optimizer: optax.GradientTransformation = optax.inject_hyperparams(function, static_args=others)(
            *arguments, **parameters
        )
        return optimizer

    vars(make)["__signature__"] = signature
    make.__module__, make.__name__, make.__qualname__ = "optax", name, name
    return make


NAMES = (
    "adabelief",
    "adagrad",
    "adam",
    "adamax",
    "adamw",
    "amsgrad",
    "lion",
    "nadam",
    "nadamw",
    "radam",
    "rmsprop",
    "sgd",
    "yogi",
)
OPTIMIZERS = {name: _with_rate_in_state(name) for name in NAMES}
