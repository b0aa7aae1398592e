"""The state of a training between two steps, and its content in a checkpoint."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, PyTree

from ..components.protocol import Prepared
from ..evaluation.model import Model
from ..execution.executor import Executor
from ..physics.configuration import Configuration
from ..run.checkpoint import Checkpoint, pack, unpack
from .experiment import Experiment


class TrainingState(eqx.Module):
    """All that the next step depends on.

    **Attributes:**

    - `step`: number of the next step.
    - `values`: the design variables by name.
    - `optimizer`: the optimizer's state.
    - `prepared`: the configurations of the last step that the next one follows, by index.
    - `lengths`: typical length of a configuration's gradient of each term, from the steps so far; NaN before.
    - `combination`: the state of the combination of terms.
    - `factors`: the factors of the terms in the last step, which only its metrics need.
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


def _strong(tree: PyTree) -> Any:
    """Arrays without JAX's weak types, which the first update would lose: everything would be compiled twice."""
    return jax.tree.map(lambda x: jnp.asarray(x, dtype=x.dtype) if eqx.is_array(x) else x, tree)


def first_not_finite(before: TrainingState, after: TrainingState) -> str | None:
    """What an update has made not finite: design variables, or arrays of the optimizer or the combination.

    States may begin with infinities, such as the best loss so far: only what has become worse counts.
    """
    broken = [name for name, value in after.values.items() if not np.all(np.isfinite(np.asarray(value)))]
    if broken:
        return f"the design ({', '.join(broken)})"
    for what, old, new in (
        ("the state of the optimizer", before.optimizer, after.optimizer),
        ("the state of the combination", before.combination, after.combination),
    ):
        known = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(old)}
        for path, leaf in jax.tree_util.tree_leaves_with_path(new):
            name = jax.tree_util.keystr(path)
            if _has_become_worse(known.get(name), leaf):
                return f"{what} ({name.lstrip('.')})"
    return None


def _has_become_worse(old: Any, new: Any) -> bool:
    """Whether a number is not finite that was, or was another one."""
    if not eqx.is_inexact_array_like(new):
        return False
    numbers = np.asarray(new)
    if np.all(np.isfinite(numbers)):
        return False
    before = np.zeros(()) if old is None else np.asarray(old)
    same = np.isclose(numbers, before, rtol=0.0, atol=0.0, equal_nan=True) if before.shape == numbers.shape else False
    return not bool(np.all(np.isfinite(numbers) | same))


def to_checkpoint(state: TrainingState, executor: Executor) -> Checkpoint:
    """The checkpoint of a state, with the followed configurations of all processes: all of them have to call it."""
    followed = executor.gather(
        {
            index: {
                "outcome": int(prepared.outcome),
                "statistics": {name: np.asarray(number).item() for name, number in prepared.statistics.items()},
                "configuration": pack(prepared.configuration),
                "memory": None if prepared.memory is None else pack(prepared.memory),
            }
            for index, prepared in state.prepared.items()
        }
    )
    content = {
        "values": pack(state.values),
        "optimizer": pack(state.optimizer),
        "lengths": pack(state.lengths),
        "combination": pack(state.combination),
        "prepared": followed,
    }
    return Checkpoint(state.step, content)


def from_checkpoint(experiment: Experiment, checkpoint: Checkpoint) -> TrainingState:
    """The state that a checkpoint holds; `ValueError` if it is of another experiment."""
    start = initial_state(experiment)
    content = checkpoint.content
    values = unpack(content["values"], start.values)
    model = experiment.problem.at(values)
    like = model.system.start(jax.random.key(0))
    return TrainingState(
        checkpoint.step,
        values,
        unpack(content["optimizer"], start.optimizer),
        {int(index): _unpack_prepared(model, packed, like) for index, packed in content["prepared"].items()},
        unpack(content["lengths"], start.lengths),
        # Checkpoints of earlier versions, which could only sum the terms, have no state of a combination.
        unpack(content["combination"], start.combination) if "combination" in content else start.combination,
    )


def _unpack_prepared(model: Model, packed: dict[str, Any], like: Configuration) -> Prepared:
    """A followed configuration from a checkpoint, with the structure of `like`."""
    configuration = unpack(packed["configuration"], like)
    cache = None
    if packed["memory"] is not None:
        # A cache that is computed now has the structure of the one in the checkpoint.
        structure = model.protocol.remember(model.potential, configuration)
        if structure is None:
            name = type(model.protocol).__name__
            raise ValueError(f"the protocol {name} keeps a memory and has no `remember` to make it anew")
        cache = unpack(packed["memory"], structure)
    return Prepared(configuration, packed["outcome"], packed["statistics"], cache)
