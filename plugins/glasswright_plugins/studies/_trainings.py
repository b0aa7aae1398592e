"""What studies of single packings share: trainings with several seeds, and whether they reach their target."""

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import glasswright as gw
import numpy as np
from glasswright.components.study import Scale

from ._paper import AbstractDrawnStudy

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class Setting:
    """Trainings that differ in their seed only.

    **Attributes:**

    - `name`: begins the names of its jobs.
    - `overrides`: of all of them.
    - `label`: in the figure.
    - `x`: where it stands in a figure of rates.
    - `hard`: whether the publication says that these often fail, so that no rate is claimed.
    """

    name: str
    overrides: tuple[str, ...]
    label: str
    x: float
    hard: bool = False

    def jobs(self, seeds: int) -> list[gw.StudyJob]:
        """One job for each seed, from 0 on."""
        return [gw.StudyJob(f"{self.name}_{seed}", "train", (*self.overrides, f"seed={seed}")) for seed in range(seeds)]


class AbstractTrainings(AbstractDrawnStudy):
    """A study of how often packings reach their target: a loss below 1e-6 within 10 000 steps.

    `abscissa` says over what the rates are drawn.
    """

    abscissa: ClassVar[str] = "target of Poisson's ratio"

    @abc.abstractmethod
    def settings(self, scale: Scale) -> Sequence[Setting]:
        """What is trained."""

    @abc.abstractmethod
    def seeds(self, scale: Scale) -> int:
        """How many trainings there are of each setting."""

    def jobs(self, scale: Scale) -> list[gw.StudyJob]:
        """All trainings, the settings in turn."""
        by_setting = [setting.jobs(self.seeds(scale)) for setting in self.settings(scale)]
        return [job for jobs in zip(*by_setting, strict=True) for job in jobs]

    def claims(self, scale: Scale, runs: Mapping[str, gw.StudyRun]) -> list[gw.Claim]:
        """A rate of one for every setting that is not hard, and for all of those together: few runs decide nothing."""
        claims = []
        easy: list[bool] = []
        for setting in self.settings(scale):
            successes = [succeeded(runs[job.name]) for job in setting.jobs(self.seeds(scale))]
            claim = f"{setting.label}: loss below 1e-6 within 10 000 steps"
            if setting.hard:
                low = gw.compare_rate(claim, self.source, sum(successes), len(successes), 0.0, tolerance=1.0)
                reason = f"{low.reason}; the publication reports failures here, and no rate"
                low = dataclasses.replace(low, published="less often", verdict="undecided", reason=reason)
                claims.append(low)
            else:
                claims.append(gw.compare_rate(claim, self.source, sum(successes), len(successes), 1.0, tolerance=0.02))
                easy += successes
        if easy:
            claim = "all settings for which no failures are reported: loss below 1e-6 within 10 000 steps"
            claims.append(gw.compare_rate(claim, self.source, sum(easy), len(easy), 1.0, tolerance=0.02))
        return claims

    def draw(self, figure: "Figure", scale: Scale, runs: Mapping[str, gw.StudyRun]) -> None:
        """Loss against step for every training, and the rate of success of every setting."""
        from glasswright.plots.style import ACCENT, COLOURS, DASHES, integer_ticks, letter

        curves, rates = figure.subplots(1, 2)
        longest = 1
        for k, setting in enumerate(self.settings(scale)):
            jobs = setting.jobs(self.seeds(scale))
            colour, dashes = COLOURS[k % len(COLOURS)], DASHES[k % len(DASHES)]
            for n, job in enumerate(jobs):
                steps, losses = loss_curve(runs[job.name].lines)
                longest = max(longest, len(steps))
                label = setting.label if n == 0 else None
                curves.plot(steps, losses, color=colour, linestyle=dashes, linewidth=0.8, label=label)
            share = np.mean([succeeded(runs[job.name]) for job in jobs])
            rates.plot(setting.x, share, "o", color=colour)
        curves.axhline(1e-6, color=ACCENT, linestyle="--", linewidth=0.8, label="published: below this")
        curves.set(yscale="log", xlabel="training step", ylabel="loss $L$")
        integer_ticks(curves, 0, longest)
        curves.legend()
        rates.axhline(1.0, color=ACCENT, linestyle="--", linewidth=0.8, label="published")
        rates.set(xlabel=self.abscissa, ylabel="rate of success", ylim=(-0.05, 1.05))
        rates.legend(loc="center right")
        letter([curves, rates])


def succeeded(run: gw.StudyRun) -> bool:
    """Whether a training reached its target; one that has failed did not."""
    return bool(run.report.get("success"))


def loss_curve(lines: Sequence[Mapping[str, object]]) -> tuple[np.ndarray, np.ndarray]:
    """Steps and losses of the steps that have a loss."""
    points = [(line["step"], line["loss"]) for line in lines if line.get("loss") is not None]
    steps, losses = np.array(points, dtype=float).reshape(-1, 2).T
    return steps, losses
