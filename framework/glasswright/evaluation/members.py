"""The packings that a gradient is estimated from: several members of each sample, at designs around the present one."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from ..components.protocol import Outcome
from ..execution.executor import Executor
from .design import Design, DesignValues
from .ensemble import Ensemble, random_starts
from .estimator import COMPOSITION
from .measurement import Measurement, Sample

# What tells the random numbers of pairs from all others of a seed.
_PAIRS = 0x9A125


class Members(NamedTuple):
    """A packing of each sample: at which design it was prepared, and what was measured."""

    values: list[DesignValues]
    samples: list[Sample]


class Pairs(NamedTuple):
    """Two members of each sample; the difference between their losses times a slope is a gradient.

    **Attributes:**

    - `slopes`: by design variable, with a leading axis over samples.
    """

    plus: Members
    minus: Members
    slopes: dict[str, Float[np.ndarray, " m *shape"]]


@dataclasses.dataclass(frozen=True)
class Measured:
    """All packings of a step whose gradient is estimated.

    **Attributes:**

    - `samples`: one for each index; it is rejected if any of its members is.
    - `bases`: the members that losses are evaluated from, once or, where there are random pairs, twice.
    - `pairs`: the pairs that gradients are estimated from.
    - `scores`: gradient of the logarithm of the probability of a sample, by design variable.
    """

    samples: list[Sample]
    bases: list[Members]
    pairs: list[Pairs]
    scores: dict[str, Float[np.ndarray, " m *shape"]]

    @property
    def accepted(self) -> Bool[np.ndarray, " m"]:
        """Which samples have been measured in full."""
        return np.asarray([sample.measurement is not None for sample in self.samples])

    def joined_with(self, other: "Measured") -> "Measured":
        """The samples of both, which were measured at the same design."""

        def both(first: Members, second: Members) -> Members:
            return Members([*first.values, *second.values], [*first.samples, *second.samples])

        bases = [both(*members) for members in zip(self.bases, other.bases, strict=True)]
        pairs = [
            Pairs(
                bases[0] if mine.plus is self.bases[0] else both(mine.plus, its.plus),
                bases[1] if mine.plus is self.bases[0] else both(mine.minus, its.minus),
                {name: np.concatenate([slope, its.slopes[name]]) for name, slope in mine.slopes.items()},
            )
            for mine, its in zip(self.pairs, other.pairs, strict=True)
        ]
        scores = {name: np.concatenate([score, other.scores[name]]) for name, score in self.scores.items()}
        return Measured([*self.samples, *other.samples], bases, pairs, scores)

    @property
    def n_preparations(self) -> int:
        """The number of packings that were prepared."""
        every = [*self.bases, *(member for pair in self._further_pairs for member in (pair.plus, pair.minus))]
        return sum(len(members.samples) for members in every)

    @property
    def _further_pairs(self) -> list[Pairs]:
        return [pair for pair in self.pairs if pair.plus is not self.bases[0]]


def measure_members(
    ensemble: Ensemble, executor: Executor, values: DesignValues, indices: Sequence[int], *, step: int = 0
) -> Measured:
    """Prepare and measure all members of all samples of a step."""
    design = ensemble.problem.design
    exact = ensemble.gradients and design.has_exact
    with_gradients = dataclasses.replace(ensemble, gradients=exact)
    without = dataclasses.replace(ensemble, gradients=False)
    drawn = [_drawn_changes(design, values, ensemble.seed, ensemble.stream, index) for index in indices]
    pairs: list[Pairs] = []
    if any(drawn):
        width = {name: float(estimator.width or 0.0) for name, estimator in design.estimator_of.items()}
        above = [_changed(design, values, change, +1.0) for change in drawn]
        below = [_changed(design, values, change, -1.0) for change in drawn]
        # One side at a time: what is computed of a sample later finds its packing in the process of this number.
        first, second = (
            Members(at, with_gradients.samples_at(executor, at, indices, step=step)) for at in (above, below)
        )
        bases = [first, second]
        slopes = {name: np.stack([c[name] for c in drawn]) / (2.0 * width[name] ** 2) for name in drawn[0]}
        pairs.append(Pairs(first, second, slopes))
    else:
        bases = [Members([values] * len(indices), with_gradients.samples(executor, values, indices, step=step))]
    for change, slope in _single_changes(design, values):
        sides = [_changed(design, values, change, sign) for sign in (1.0, -1.0)]
        plus, minus = (Members([at] * len(indices), without.samples(executor, at, indices, step=step)) for at in sides)
        pairs.append(Pairs(plus, minus, {name: np.stack([s] * len(indices)) for name, s in slope.items()}))
    measured = Measured([], bases, pairs, _scores(ensemble, values, indices, step))
    every = [*bases, *(side for pair in measured._further_pairs for side in (pair.plus, pair.minus))]
    samples = [_joined([m.samples[k] for m in bases], [m.samples[k] for m in every]) for k in range(len(indices))]
    return dataclasses.replace(measured, samples=samples)


def _drawn_changes(design: Design, values: DesignValues, seed: int, stream: int, index: int) -> dict[str, np.ndarray]:
    """The random change of a sample in the logarithm of each variable that has evolution strategies."""
    random = np.random.default_rng([seed, stream, _PAIRS, index])
    return {
        name: np.asarray(float(estimator.width or 0.0) * random.standard_normal(np.shape(values[name])))
        for name, estimator in design.estimator_of.items()
        if estimator.name == "evolution"
    }


def _single_changes(
    design: Design, values: DesignValues
) -> Iterable[tuple[dict[str, np.ndarray], dict[str, np.ndarray]]]:
    """A change of each number of the variables that have differences, and the slope that belongs to it."""
    for name, path in zip(design.names, design.paths, strict=True):
        estimator, value = design.estimator_of[name], np.asarray(values[name], dtype=float)
        if estimator.name != "differences":
            continue
        assert estimator.width is not None
        length = estimator.width
        if path == COMPOSITION:
            length *= float(np.min(value))
        elif not estimator.in_logarithm:
            length *= float(np.sqrt(np.mean(value**2)))
        for index in np.ndindex(value.shape):
            unit = np.zeros_like(value)
            unit[index] = 1.0
            # Fractions stay in their plane.
            along = unit - 1.0 / value.size if path == COMPOSITION else unit
            yield {name: np.asarray(length * along)}, {name: np.asarray(unit / (2.0 * length))}


def _changed(design: Design, values: DesignValues, change: Mapping[str, np.ndarray], sign: float) -> DesignValues:
    """The design with changes added, to logarithms where a variable changes in proportion."""
    result = dict(values)
    for name, path in zip(design.names, design.paths, strict=True):
        if name in change:
            value, step = np.asarray(values[name], dtype=float), sign * change[name]
            moved = value * np.exp(step) if design.estimator_of[name].in_logarithm else value + step
            result[name] = moved / np.sum(moved) if path == COMPOSITION else np.asarray(moved)
    return result


def _scores(
    ensemble: Ensemble, values: DesignValues, indices: Sequence[int], step: int
) -> dict[str, Float[np.ndarray, " m s"]]:
    """The score of the species of each sample in their fractions, within the plane where these add up to one."""
    design = ensemble.problem.design
    names = [name for name, estimator in design.estimator_of.items() if estimator.name == "score"]
    if not names:
        return {}
    (name,) = names
    system = ensemble.problem.at(values).system
    seed, stream, at = (np.asarray(number) for number in (ensemble.seed, ensemble.stream, step))
    starts, _ = random_starts(system, seed, stream, np.asarray(indices), at)
    fractions, species = np.asarray(values[name]), np.asarray(starts.species)
    counts = np.stack([np.bincount(of_sample, minlength=fractions.size) for of_sample in species])
    score = counts / fractions[None, :]
    return {name: score - np.mean(score, axis=1, keepdims=True)}


def _joined(bases: Sequence[Sample], members: Sequence[Sample]) -> Sample:
    """One sample of all its members: the values are means over `bases`; one rejected member rejects it."""
    outcome = next((s.outcome for s in members if s.measurement is None), Outcome.converged)
    statistics: dict[str, float] = {}
    for member in members:
        for name, number in member.statistics.items():
            statistics[name] = statistics.get(name, 0) + number
    measurement = None
    if all(member.measurement is not None for member in members):
        measurements = [base.measurement.values for base in bases if base.measurement is not None]
        means = {
            name: np.asarray(np.mean([values[name] for values in measurements], axis=0)) for name in measurements[0]
        }
        measurement = Measurement(means, {})
    return Sample(bases[0].index, outcome, statistics, measurement, bases[0].prepared)
