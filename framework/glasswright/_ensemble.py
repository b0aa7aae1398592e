"""The configurations of a run: which they are by index, prepared and measured by a team."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from ._design import Design
from ._gradient import Measured, Sample, sample
from ._jit import fast_jit
from ._objective import Term
from ._protocol import Outcome, Prepared
from ._team import Found, Team

# Configurations of a validation are none of a training: they come from another stream of the same seed.
TRAINING, VALIDATION = 0, 1


@fast_jit
def random_start(system, seed, stream, index, step):
    """The random start of a configuration, the same in every step, and the key of its search, which is not."""
    key = jax.random.key(seed)
    key = jax.lax.cond(stream == TRAINING, lambda: key, lambda: jax.random.split(jax.random.fold_in(key, stream), 3)[2])
    start, search = jax.random.split(jax.random.fold_in(key, index))
    return system.start(start), jax.random.fold_in(search, step)


@dataclasses.dataclass(frozen=True)
class Ensemble:
    """Where configurations come from, and what is to be known about each.

    **Arguments:**

    - `world`: potential, system and protocol.
    - `terms`: what is measured.
    - `design`: the variables, whose gradients are taken.
    - `seed`, `stream`: a configuration is known by these and its index.
    - `gradients`: whether gradients are wanted.
    - `chunk_size`: how many configurations are in work at a time; None lets memory decide.
    """

    world: Mapping[str, Any]
    terms: Mapping[str, Term]
    design: Design
    seed: int
    stream: int = TRAINING
    gradients: bool = True
    chunk_size: int | None = None

    def samples(
        self,
        team: Team,
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
        world = self.design.insert(self.world, values)
        known = previous or {}

        def one(index: int) -> Found[Prepared]:
            numbers = (np.asarray(number) for number in (self.seed, self.stream, index, step))
            start, key = random_start(world["system"], *numbers)
            protocol, potential = world["protocol"], world["potential"]
            if index in known:
                prepared = protocol.follow(potential, known[index], key=key)
            else:
                prepared = protocol.prepare(potential, start, key=key)
            found = sample(self.design, values, self.world, self.terms, prepared, index, gradients=self.gradients)
            if index not in keep:
                prepared = dataclasses.replace(prepared, memory=None)
            measured = None if found.measured is None else [found.measured.values, found.measured.gradients]
            return Found([int(found.outcome), found.statistics, measured], prepared)

        indices = list(indices)
        size = self.chunk_size or max(len(indices), 1)
        chunks = [indices[start : start + size] for start in range(0, len(indices), size)]
        found = [result for chunk in chunks for result in team.map(one, chunk)]
        return [_sample(index, result) for index, result in zip(indices, found, strict=True)]


def _sample(index: int, found: Found[Prepared]) -> Sample:
    outcome, statistics, measured = found.shared
    return Sample(index, Outcome(outcome), statistics, None if measured is None else Measured(*measured), found.kept)
