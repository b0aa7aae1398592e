"""The state of a training between two steps, and its content in a checkpoint."""

import dataclasses
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, PyTree

from .._types import Plain
from ..components.protocol import Prepared
from ..evaluation.model import Model
from ..execution.executor import Executor
from ..physics.configuration import Configuration
from ..run.checkpoint import Checkpoint, pack, unpack
from .best import Best, pack_best, unpack_best
from .experiment import Experiment

Tree = TypeVar("Tree")


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
    - `prepared_values`: the design variables that `prepared` was prepared with; None if they are not known.
    - `best`: the best step so far; None where there is none.
    """

    step: int
    values: dict[str, Array]
    optimizer: optax.OptState
    prepared: dict[int, Prepared]
    lengths: dict[str, np.ndarray]
    combination: PyTree = ()
    factors: dict[str, float] = dataclasses.field(default_factory=dict)
    prepared_values: dict[str, Array] | None = None
    best: Best | None = None


def initial_state(experiment: Experiment) -> TrainingState:
    """The state before the first step."""
    values = _strong(experiment.problem.initial_values)
    unknown = {name: np.asarray(np.nan) for name in experiment.terms}
    combination = () if experiment.combination is None else experiment.combination.start(list(experiment.terms))
    return TrainingState(0, values, _strong(experiment.optimizer.init(values)), {}, unknown, combination)


def _strong(tree: Tree) -> Tree:
    """Arrays without JAX's weak types, which the first update would lose: everything would be compiled twice."""
    strong: Tree = jax.tree.map(lambda x: jnp.asarray(x, dtype=x.dtype) if eqx.is_array(x) else x, tree)
    return strong


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


def _has_become_worse(old: object, new: object) -> bool:
    """Whether a number is not finite that was, or was another one."""
    if not eqx.is_inexact_array_like(new):
        return False
    numbers = np.asarray(new)
    if np.all(np.isfinite(numbers)):
        return False
    before = np.zeros(()) if old is None else np.asarray(old)
    same = np.isclose(numbers, before, rtol=0.0, atol=0.0, equal_nan=True) if before.shape == numbers.shape else False
    return not bool(np.all(np.isfinite(numbers) | same))


def to_checkpoint(experiment: Experiment, state: TrainingState, executor: Executor) -> Checkpoint:
    """The checkpoint of a state, with the followed configurations of all processes: all of them have to call it."""
    model = None if state.prepared_values is None else experiment.problem.at(state.prepared_values)
    followed = executor.gather(
        {index: _pack_prepared(model, item, executor.fetch(item.memory)) for index, item in state.prepared.items()}
    )
    content = {
        "values": pack(state.values),
        "optimizer": pack(state.optimizer),
        "lengths": pack(state.lengths),
        "combination": pack(state.combination),
        "prepared": followed,
        "prepared_values": None if state.prepared_values is None else pack(state.prepared_values),
        "best": pack_best(experiment, executor, state.best),
    }
    return Checkpoint(state.step, content)


def _pack_prepared(model: Model | None, prepared: Prepared, cache: PyTree) -> dict[str, Plain]:
    """A followed configuration for a checkpoint: of its cache only what makes the same cache again, where that is less.

    `model` is the one that it was prepared with.
    """
    packed: dict[str, Plain] = {
        "outcome": int(prepared.outcome),
        "statistics": {name: np.asarray(number).item() for name, number in prepared.statistics.items()},
        "configuration": pack(prepared.configuration),
        "memory": None,
    }
    if cache is None:
        return packed
    if model is not None:
        compressed = model.protocol.compress(cache)
        if compressed is not cache:
            again = model.protocol.expand(model.potential, prepared.configuration, compressed)
            if _same_bits(again, cache):
                return packed | {"compressed": pack(compressed)}
    return packed | {"memory": pack(cache)}


def _same_bits(first: PyTree, second: PyTree) -> bool:
    """Whether two trees hold the same numbers to the last bit."""
    ours, others = jax.tree.leaves(first), jax.tree.leaves(second)
    return len(ours) == len(others) and all(
        np.array_equal(np.asarray(a), np.asarray(b)) for a, b in zip(ours, others, strict=True)
    )


def from_checkpoint(experiment: Experiment, checkpoint: Checkpoint) -> TrainingState:
    """The state that a checkpoint holds; `ValueError` if it is of another experiment."""
    start = initial_state(experiment)
    content = checkpoint.content
    values = unpack(content["values"], start.values)
    _check_shapes(values, start.values)
    # Checkpoints of earlier versions, which could only sum the terms, have no state of a combination, and no best step.
    combination = unpack(content["combination"], start.combination) if "combination" in content else start.combination
    before = content.get("prepared_values")
    prepared_values = None if before is None else unpack(before, start.values)
    model = experiment.problem.at(values if prepared_values is None else prepared_values)
    like = model.system.start(jax.random.key(0))
    return TrainingState(
        checkpoint.step,
        values,
        unpack(content["optimizer"], start.optimizer),
        {int(index): _unpack_prepared(model, packed, like) for index, packed in content["prepared"].items()},
        unpack(content["lengths"], start.lengths),
        combination,
        prepared_values=prepared_values,
        best=unpack_best(content.get("best"), start.values),
    )


def _check_shapes(given: PyTree, expected: PyTree) -> None:
    """Raise `ValueError` if arrays that an experiment determines are not of its shapes."""
    shapes = [[np.shape(leaf) for leaf in jax.tree.leaves(tree)] for tree in (given, expected)]
    for shape, needed in zip(*shapes, strict=True):
        if shape != needed:
            raise ValueError(f"made by another experiment: an array of shape {shape} where one of {needed} belongs")


def _unpack_prepared(model: Model, packed: dict[str, Plain], like: Configuration) -> Prepared:
    """A followed configuration from a checkpoint, with the structure of `like`."""
    configuration = unpack(packed["configuration"], like)
    _check_shapes(configuration, like)
    protocol, compressed = model.protocol, packed.get("compressed")
    cache = None
    if packed["memory"] is not None or compressed is not None:
        # A cache that is computed now has the structure of the one in the checkpoint.
        structure = protocol.remember(model.potential, configuration)
        if structure is None:
            name = type(protocol).__name__
            raise ValueError(f"the protocol {name} keeps a memory and has no `remember` to make it anew")
        if compressed is None:
            cache = unpack(packed["memory"], structure)
        else:
            kept = unpack(compressed, protocol.compress(structure))
            cache = protocol.expand(model.potential, configuration, kept)
    return Prepared(configuration, packed["outcome"], packed["statistics"], cache)
