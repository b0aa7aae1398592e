"""The configurations of a run: identified by index, prepared and measured by an executor."""

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key, PRNGKeyArray

from .._jax import fast_jit
from ..components.protocol import Outcome, Prepared
from ..components.system import AbstractSystem
from ..execution.executor import Executor
from ..execution.task import Result, Task
from ..physics.configuration import Configuration
from .design import DesignValues
from .measurement import (
    Measurement,
    Sample,
    classify,
    in_box,
    measure_many_values,
    measure_many_with_gradients,
    measure_on_host,
    outcome_of_measurement,
)
from .model import Model
from .problem import Problem

Item = TypeVar("Item")
Integer = Int[np.ndarray, ""] | Int[Array, ""]
Indices = Int[np.ndarray, " n"] | Int[Array, " n"]
# Streams of one seed: no configuration of a validation is one of a training.
TRAINING, VALIDATION = 0, 1
# Configurations of a round for each worker: at its end some workers wait for others.
ROUND = 8
# Configurations of a batch on an accelerator where the protocol does not say what one of them costs in memory.
SMALL_BATCH = 32
# Accelerator memory, in bytes, where the device does not say how much it has.
LEAST_MEMORY = 8 * 2**30


def random_start(
    system: AbstractSystem, seed: Integer, stream: Integer, index: Integer, step: Integer
) -> tuple[Configuration, PRNGKeyArray]:
    """The start of a configuration, the same in every step, and the key of its search, which is not."""
    if system.n_configurations is None:
        drawn: tuple[Configuration, PRNGKeyArray] = _random_start(system, seed, stream, index, step)
        return drawn
    start, search = _keys(seed, stream, index, step)
    return system.start(start, int(index)), search


def random_starts(
    system: AbstractSystem, seed: Integer, stream: Integer, indices: Indices, step: Integer
) -> tuple[Configuration, Key[Array, " n"]]:
    """The starts and keys of many configurations; every array has a leading axis over configurations."""
    if system.n_configurations is None:
        drawn: tuple[Configuration, Key[Array, " n"]] = _random_starts(system, seed, stream, indices, step)
        return drawn
    starts = [random_start(system, seed, stream, np.asarray(index), step) for index in np.asarray(indices)]
    stacked: tuple[Configuration, Key[Array, " n"]] = jax.tree.map(lambda *leaves: jnp.stack(leaves), *starts)
    return stacked


@fast_jit
def _keys(seed: Integer, stream: Integer, index: Integer, step: Integer) -> tuple[PRNGKeyArray, PRNGKeyArray]:
    """The keys of the start of a configuration, and of its search in a step."""
    key = jax.random.key(seed)
    key = jax.lax.cond(stream == TRAINING, lambda: key, lambda: jax.random.split(jax.random.fold_in(key, stream), 3)[2])
    start, search = jax.random.split(jax.random.fold_in(key, index))
    return start, jax.random.fold_in(search, step)


@fast_jit
def _random_start(
    system: AbstractSystem, seed: Integer, stream: Integer, index: Integer, step: Integer
) -> tuple[Configuration, PRNGKeyArray]:
    start, search = _keys(seed, stream, index, step)
    return system.start(start, jnp.asarray(index)), search


@fast_jit
def _random_starts(
    system: AbstractSystem, seed: Integer, stream: Integer, indices: Indices, step: Integer
) -> tuple[Configuration, Key[Array, " n"]]:
    starts: tuple[Configuration, Key[Array, " n"]] = jax.vmap(
        lambda index: _random_start(system, seed, stream, index, step)
    )(indices)
    return starts


@dataclasses.dataclass(frozen=True)
class Request:
    """One configuration that an ensemble is asked for.

    **Arguments:**

    - `index`, `step`: which configuration, and in which step of a training.
    - `values`: the design variables.
    - `previous`: follow this one; None draws a new one.
    - `keep`: whether the protocol's cache is wanted, which is large, and which a worker may keep.
    """

    index: int
    step: int
    values: DesignValues
    previous: Prepared | None
    keep: bool


@dataclasses.dataclass(frozen=True)
class Ensemble(Task[Request, Result[Prepared]]):
    """Prepares and measures the configurations of a problem.

    **Arguments:**

    - `problem`: the model, its design variables, and the terms, whose properties are measured.
    - `seed`, `stream`: a configuration is identified by these and its index.
    - `gradients`: whether gradients are wanted.
    - `chunk_size`: how many configurations are in work at a time; None lets memory decide.
    """

    problem: Problem
    seed: int
    stream: int = TRAINING
    gradients: bool = True
    chunk_size: int | None = None

    def samples(
        self,
        executor: Executor,
        values: DesignValues,
        indices: Sequence[int],
        *,
        step: int = 0,
        previous: Mapping[int, Prepared] | None = None,
        keep: Collection[int] = (),
    ) -> list[Sample]:
        """Prepare and measure configurations: follow those in `previous`, draw the others.

        The protocol's cache is kept for those in `keep` only: there may be thousands of configurations.
        """
        indices, known = list(indices), previous or {}
        own_start = self.problem.model.potential.start is not None
        results = None
        if executor.accelerators and not own_start and not any(index in known for index in indices):
            results = self._in_batches(executor, values, indices, step, keep)
        if results is None:
            requests = [Request(index, step, dict(values), known.get(index), index in keep) for index in indices]
            has_cache = any(request.previous is not None or request.keep for request in requests)
            chunks = _chunks(requests, self.chunk_size)
            results = [result for chunk in chunks for result in executor.map(self, chunk, local=has_cache)]
        return [_sample(index, result) for index, result in zip(indices, results, strict=True)]

    def samples_at(
        self, executor: Executor, values: Sequence[DesignValues], indices: Sequence[int], *, step: int = 0
    ) -> list[Sample]:
        """Prepare and measure configurations anew, one at a time, each at its own values of the design variables."""
        pairs = zip(values, indices, strict=True)
        requests = [Request(index, step, dict(at), previous=None, keep=False) for at, index in pairs]
        results = [r for chunk in _chunks(requests, self.chunk_size) for r in executor.map(self, chunk, local=False)]
        return [_sample(index, result) for index, result in zip(indices, results, strict=True)]

    def rounds(self, executor: Executor, values: DesignValues, indices: Sequence[int]) -> Iterator[list[Sample]]:
        """Prepare and measure many configurations in rounds, between which the caller can stop or show progress."""
        for chunk in _chunks(list(indices), self.chunk_size or ROUND * executor.n_workers * executor.n_hosts):
            yield self.samples(executor, values, chunk)

    def __call__(self, request: Request) -> Result[Prepared]:
        """Prepare and measure one configuration."""
        model = self.problem.at(request.values)
        protocol, potential, system = model.protocol, model.potential, model.system
        start, key = random_start(system, *self._numbers(request.index, request.step))
        if request.previous is not None:
            # The box may have changed with the design.
            prepared = protocol.follow(potential, in_box(model, request.previous), key=key)
        else:
            if potential.start is not None:
                start = system.in_box(potential.start)
            prepared = protocol.prepare(potential, start, key=key)
        outcome, measurement = Outcome(int(prepared.outcome)), None
        if prepared.accepted:
            where = f"configuration {request.index}"
            measurement = measure_on_host(self.problem, request.values, prepared, where, gradients=self.gradients)
            outcome = outcome_of_measurement(self.problem, request.values, prepared, measurement)
        kept = prepared.memory if request.keep else None
        prepared = dataclasses.replace(prepared, memory=None)
        statistics = {name: np.asarray(number).item() for name, number in prepared.statistics.items()}
        return dataclasses.replace(_result(int(outcome), statistics, measurement, prepared), kept=kept)

    def _numbers(self, *numbers: int) -> Iterator[np.ndarray]:
        """Seed, stream and further numbers as arrays, which are traced; Python's would be compiled in."""
        return (np.asarray(number) for number in (self.seed, self.stream, *numbers))

    def _in_batches(
        self,
        executor: Executor,
        values: DesignValues,
        indices: list[int],
        step: int,
        keep: Collection[int],
    ) -> list[Result[Prepared]] | None:
        """Prepare and measure on accelerators, a batch at a time on each; None if the protocol cannot."""
        model = self.problem.at(values)
        size = self.chunk_size or batch_size(model, executor.accelerators[0])
        # Every accelerator gets its share, in equal chunks where possible: each size is compiled for.
        share = -(-len(indices) // (len(executor.accelerators) * executor.n_hosts))
        chunks = _chunks(indices, min(size, max(share, 1)))

        def run(item: tuple[int, list[int]]) -> Result[list[Prepared]]:
            number, chunk = item
            with jax.default_device(executor.accelerators[number % len(executor.accelerators)]):
                return self._batch(model, values, chunk, step, keep)

        batches = executor.map(run, list(enumerate(chunks)))
        if any(batch.gathered is None for batch in batches):
            return None
        return [
            Result(gathered, batch.local[k] if batch.local else None)
            for batch in batches
            for k, gathered in enumerate(batch.gathered)
        ]

    def _batch(
        self, model: Model, values: DesignValues, indices: list[int], step: int, keep: Collection[int]
    ) -> Result[list[Prepared]]:
        """Prepare and measure a batch on one accelerator; `Result(None)` if the protocol cannot."""
        seed, stream, at = self._numbers(step)
        starts, keys = random_starts(model.system, seed, stream, np.asarray(indices), at)
        prepared = model.protocol.prepare_many(model.potential, starts, width=len(indices), keys=keys)
        if prepared is None:
            return Result(None)
        bare = dataclasses.replace(prepared, statistics={})
        measure = measure_many_with_gradients if self.gradients else measure_many_values
        measured = jax.device_get(measure(self.problem, dict(values), bare))
        outcomes, statistics = np.asarray(prepared.outcome), jax.device_get(prepared.statistics)
        configurations = jax.device_get(prepared.configuration)
        results = []
        for k, index in enumerate(indices):
            measurement = jax.tree.map(lambda x, k=k: np.asarray(x[k]), measured)
            numbers = {name: np.asarray(number)[k].item() for name, number in statistics.items()}
            outcome = int(outcomes[k])
            if outcome == Outcome.converged:
                sample = jax.tree.map(lambda x, k=k: x[k], bare)
                outcome = int(outcome_of_measurement(self.problem, values, sample, measurement))
            if index in keep:
                kept = jax.tree.map(lambda x, k=k: x[k], prepared)
            else:
                kept = Prepared(jax.tree.map(lambda x, k=k: x[k], configurations), outcomes[k], numbers)
            results.append(_result(outcome, numbers, measurement, kept))
        return Result([result.gathered for result in results], [result.local for result in results if result.local])


def batch_size(model: Model, device: jax.Device) -> int:
    """How many configurations an accelerator's memory holds while they are prepared and measured."""
    cost = model.protocol.memory_per_configuration(
        model.potential, model.system.n_particles, model.system.largest_particles
    )
    if cost is None:
        return SMALL_BATCH
    memory = (device.memory_stats() or {}).get("bytes_limit", LEAST_MEMORY)
    # Half of it: assembling and factoring need as much again as what they leave.
    return max(1, int(0.5 * memory / cost))


def _chunks(items: list[Item], size: int | None) -> list[list[Item]]:
    size = size or max(len(items), 1)
    return [items[start : start + size] for start in range(0, len(items), size)]


def _result(
    outcome: int, statistics: dict[str, float], measurement: Measurement | None, prepared: Prepared
) -> Result[Prepared]:
    """What other processes are told about a configuration, and what stays here."""
    measured = None if measurement is None else [measurement.values, measurement.gradients]
    return Result([outcome, statistics, measured], prepared)


def _sample(index: int, result: Result[Prepared]) -> Sample:
    """The sample that a result is of."""
    outcome, statistics, measured = result.gathered
    prepared = result.local
    if prepared is not None and result.kept is not None:
        prepared = dataclasses.replace(prepared, memory=result.kept)
    return classify(index, outcome, statistics, None if measured is None else Measurement(*measured), prepared)
