import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, PyTree

from ..components.protocol import Prepared
from ..run.checkpoint import Checkpoint, unpack
from .experiment import Experiment


class TrainingState(eqx.Module):
    """All that the next step depends on.

    **Attributes:**

    - `step`: number of the next step.
    - `values`: the design variables by name.
    - `optimizer`: the optimiser's state.
    - `prepared`: the configurations of the last step that the next one follows, by index.
    - `lengths`: typical length of a configuration's gradient of each term, from the steps so far; not a number before.
    - `combination`: the state of how terms are combined.
    - `factors`: those that the terms had in the last step, for its metrics alone.
    """

    step: int
    values: dict[str, Array]
    optimizer: optax.OptState
    prepared: dict[int, Prepared]
    lengths: dict[str, np.ndarray]
    combination: PyTree = ()
    factors: dict[str, float] = dataclasses.field(default_factory=dict)


def initial_state(experiment: Experiment) -> TrainingState:
    """The state before the first step."""
    values = _strong(experiment.problem.initial_values)
    unknown = {name: np.asarray(np.nan) for name in experiment.terms}
    combination = () if experiment.combination is None else experiment.combination.start(list(experiment.terms))
    return TrainingState(0, values, _strong(experiment.optimizer.init(values)), {}, unknown, combination)


def _strong(tree: Any) -> Any:
    """Arrays without JAX's weak types, which the first update would lose: everything would be compiled twice."""
    return jax.tree.map(lambda x: jnp.asarray(x, dtype=x.dtype) if eqx.is_array(x) else x, tree)


def restore(experiment: Experiment, checkpoint: Checkpoint) -> TrainingState:
    """The training state that a checkpoint holds; `ValueError` if it is of another experiment."""
    start = initial_state(experiment)
    content = checkpoint.content
    values = unpack(content["values"], start.values)
    model = experiment.problem.at(values)
    shape = model.system.start(jax.random.key(0))
    prepared = {}
    for index, one in content["prepared"].items():
        configuration = unpack(one["configuration"], shape)
        memory = None
        if one["memory"] is not None:
            # What is remembered now has the structure of what was remembered then.
            like = model.protocol.remember(model.potential, configuration)
            if like is None:
                name = type(model.protocol).__name__
                raise ValueError(f"the protocol {name} keeps a memory and has no `remember` to make it anew")
            memory = unpack(one["memory"], like)
        prepared[int(index)] = Prepared(configuration, one["outcome"], one["statistics"], memory)
    return TrainingState(
        checkpoint.step,
        values,
        unpack(content["optimizer"], start.optimizer),
        prepared,
        unpack(content["lengths"], start.lengths),
        # Checkpoints of earlier versions, which knew the sum alone, have none.
        unpack(content["combination"], start.combination) if "combination" in content else start.combination,
    )
