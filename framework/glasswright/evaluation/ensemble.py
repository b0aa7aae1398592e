"""The configurations of a run: which they are by index, prepared and measured by an executor."""

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import jax
import numpy as np

from .._jax import fast_jit
from ..components.protocol import Outcome, Prepared
from ..execution.executor import Executor
from ..execution.task import Result, Task
from ..relax.batch import bytes_per_configuration, expected_pairs
from .measurement import Measured, Sample, in_box, judge, measure_many, measure_many_values, sample
from .problem import Problem

Item = TypeVar("Item")
# Configurations of a validation are none of a training: they come from another stream of the same seed.
TRAINING, VALIDATION = 0, 1
# Configurations of a round for each worker: at its end some workers wait for others.
ROUND = 8


@fast_jit
def random_start(system, seed, stream, index, step):
    """The random start of a configuration, the same in every step, and the key of its search, which is not."""
    key = jax.random.key(seed)
    key = jax.lax.cond(stream == TRAINING, lambda: key, lambda: jax.random.split(jax.random.fold_in(key, stream), 3)[2])
    start, search = jax.random.split(jax.random.fold_in(key, index))
    return system.start(start), jax.random.fold_in(search, step)


@fast_jit
def random_starts(system, seed, stream, indices, step):
    """Many of them, stacked."""
    return jax.vmap(lambda index: random_start(system, seed, stream, index, step))(indices)


@dataclasses.dataclass(frozen=True)
class Request:
    """What an ensemble is asked for: one configuration, by its index.

    - `index`, `step`: which it is, and in which step of a training.
    - `values`: the design variables.
    - `previous`: follow this one; None draws a new one.
    - `keep`: whether the memory of what was prepared is wanted: it is large.
    """

    index: int
    step: int
    values: dict[str, Any]
    previous: Prepared | None
    keep: bool


@dataclasses.dataclass(frozen=True)
class Ensemble(Task[Request, Result[Prepared]]):
    """Where configurations come from, and what is to be known about each.

    **Arguments:**

    - `problem`: the model, its design variables, and the terms, whose properties are measured.
    - `seed`, `stream`: a configuration is known by these and its index.
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
        values: Mapping[str, Any],
        indices: Sequence[int],
        *,
        step: int = 0,
        previous: Mapping[int, Prepared] | None = None,
        keep: Collection[int] = (),
    ) -> list[Sample]:
        """Prepare and measure configurations: follow those in `previous`, draw the others.

        The memory of what was prepared is kept for those in `keep` only: there may be thousands.
        """
        indices, known = list(indices), previous or {}
        own_start = self.problem.model.potential.start is not None
        if executor.accelerators and not own_start and not any(index in known for index in indices):
            found = self._side_by_side(executor, values, indices, step, keep)
            if found is not None:
                return [_sample(index, one) for index, one in zip(indices, found, strict=True)]

        requests = [Request(index, step, dict(values), known.get(index), index in keep) for index in indices]
        has_memory = any(one.previous is not None or one.keep for one in requests)
        chunks = _chunks(requests, self.chunk_size)
        found = [result for chunk in chunks for result in executor.map(self, chunk, local=has_memory)]
        return [_sample(index, result) for index, result in zip(indices, found, strict=True)]

    def rounds(self, executor: Executor, values: Mapping[str, Any], indices: Sequence[int]) -> Iterator[list[Sample]]:
        """Many configurations, a round at a time, between which others may look at signals and show progress."""
        for chunk in _chunks(list(indices), self.chunk_size or ROUND * executor.n_workers * executor.n_hosts):
            yield self.samples(executor, values, chunk)

    def __call__(self, request: Request) -> Result[Prepared]:
        """One configuration, prepared and measured."""
        model = self.problem.at(request.values)
        protocol, potential, system = model.protocol, model.potential, model.system
        start, key = random_start(system, *self._numbers(request.index, request.step))
        if request.previous is not None:
            # The box may have changed with the design.
            prepared = protocol.follow(potential, in_box(system, request.previous), key=key)
        else:
            if potential.start is not None:
                start = dataclasses.replace(potential.start, box=system.box)
            prepared = protocol.prepare(potential, start, key=key)
        found = sample(self.problem, request.values, prepared, request.index, gradients=self.gradients)
        if not request.keep:
            prepared = dataclasses.replace(prepared, memory=None)
        return _found(found, prepared)

    def _numbers(self, *numbers: int):
        return (np.asarray(number) for number in (self.seed, self.stream, *numbers))

    def _side_by_side(self, executor: Executor, values, indices, step, keep) -> list[Result[Prepared]] | None:
        """The same on accelerators, many at once on each; None if the protocol cannot."""
        model = self.problem.at(values)
        protocol, potential, system = model.protocol, model.potential, model.system
        size = self.chunk_size or batch_size(system, potential, executor.accelerators[0])
        # Every accelerator gets its share, in equal chunks where possible: each size is compiled for.
        share = -(-len(indices) // (len(executor.accelerators) * executor.n_hosts))
        chunks = _chunks(indices, min(size, max(share, 1)))

        def many(item: tuple[int, list[int]]) -> Result[list[Prepared]]:
            number, chunk = item
            with jax.default_device(executor.accelerators[number % len(executor.accelerators)]):
                seed, stream, at = self._numbers(step)
                starts, _ = random_starts(system, seed, stream, np.asarray(chunk), at)
                prepared = protocol.prepare_many(potential, starts, width=len(chunk))
                if prepared is None:
                    return Result(None)
                bare = dataclasses.replace(prepared, statistics={})
                measure = measure_many if self.gradients else measure_many_values
                measured = jax.device_get(measure(self.problem, dict(values), bare))
                outcomes, statistics = np.asarray(prepared.outcome), jax.device_get(prepared.statistics)
                configuration = jax.device_get(prepared.configuration)
                results = []
                for k, index in enumerate(chunk):
                    row = jax.tree.map(lambda x, k=k: np.asarray(x[k]), measured)
                    numbers = {name: np.asarray(number)[k].item() for name, number in statistics.items()}
                    if index in keep:
                        one = jax.tree.map(lambda x, k=k: x[k], prepared)
                    else:
                        where = jax.tree.map(lambda x, k=k: x[k], configuration)
                        one = Prepared(where, outcomes[k], numbers)
                    results.append(_found(judge(index, outcomes[k], numbers, row, one), one))
                return Result([one.gathered for one in results], [one.local for one in results if one.local])

        parts = executor.map(many, list(enumerate(chunks)))
        if any(part.gathered is None for part in parts):
            return None
        return [
            Result(shared, part.local[k] if part.local else None)
            for part in parts
            for k, shared in enumerate(part.gathered)
        ]


def _chunks(items: list[Item], size: int | None) -> list[list[Item]]:
    size = size or max(len(items), 1)
    return [items[start : start + size] for start in range(0, len(items), size)]


def batch_size(system, potential, device) -> int:
    """How many configurations an accelerator's free memory holds while they are prepared and measured."""
    memory = (device.memory_stats() or {}).get("bytes_limit", 8 * 2**30)
    n_pairs = expected_pairs(
        system.n_particles,
        system.dimension,
        system.n_particles / float(system.density),
        1.3 * float(potential.reach(system.largest_particles)),
    )
    # Half of it: assembling and factoring need as much again as what they leave.
    return max(1, int(0.5 * memory / bytes_per_configuration(system.n_particles, system.dimension, n_pairs)))


def _found(one: Sample, prepared: Prepared) -> Result[Prepared]:
    measured = None if one.measured is None else [one.measured.values, one.measured.gradients]
    return Result([int(one.outcome), one.statistics, measured], prepared)


def _sample(index: int, found: Result[Prepared]) -> Sample:
    outcome, statistics, measured = found.gathered
    return Sample(index, Outcome(outcome), statistics, None if measured is None else Measured(*measured), found.local)
