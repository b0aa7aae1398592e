"""Optimizers of optax under their own names: those that take a plain `learning_rate` first."""

import functools
import inspect

import optax


def _showing_its_rate(name: str):
    """An optimizer with its present learning rate in its state, where the metrics find it."""
    function = getattr(optax, name)
    signature = inspect.signature(function)
    others = [name for name in signature.parameters if name != "learning_rate"]

    # Some are partial functions, which know neither their names nor their types.
    @functools.wraps(getattr(function, "func", function))
    def make(*arguments, **parameters):
        return optax.inject_hyperparams(function, static_args=others)(*arguments, **parameters)

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
OPTIMIZERS = {name: _showing_its_rate(name) for name in NAMES}
