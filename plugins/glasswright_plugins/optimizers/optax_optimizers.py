"""Optimizers of optax under their own names: those that take a plain `learning_rate` first."""

import functools
import inspect

import optax


def _showing_its_rate(function):
    """The same optimizer with its present learning rate in its state, where the metrics find it."""
    others = [name for name in inspect.signature(function).parameters if name != "learning_rate"]

    @functools.wraps(function)
    def make(*arguments, **parameters):
        return optax.inject_hyperparams(function, static_args=others)(*arguments, **parameters)

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
OPTIMIZERS = {name: _showing_its_rate(getattr(optax, name)) for name in NAMES}
