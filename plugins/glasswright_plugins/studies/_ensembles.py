"""What the studies of ensembles share: trainings on fresh packings, each validated on packings it has never seen."""

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import glasswright as gw
import numpy as np
from glasswright.components.study import Scale

from ._paper import AbstractDrawnStudy

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class Published:
    """What is published of the mean of a property.

    **Attributes:**

    - `name`: of the property.
    - `mean`, `error`: its mean, and the standard error of that.
    - `tolerance`: to which precision that is meant.
    - `claim`: the statement.
    """

    name: str
    mean: float
    tolerance: float
    claim: str
    error: float = 0.0


@dataclasses.dataclass(frozen=True)
class Ensemble:
    """A training and the validations of its design.

    **Attributes:**

    - `name`: begins the names of its jobs.
    - `training`: the overrides of the training.
    - `validations`: name → the overrides of a validation.
    - `published`: what the trained ensembles of all validations are compared with.
    - `untrained`: what the untrained ensemble of the first one is compared with.
    """

    name: str
    training: tuple[str, ...]
    validations: Mapping[str, tuple[str, ...]]
    published: tuple[Published, ...]
    untrained: tuple[Published, ...] = ()

    @property
    def job(self) -> gw.StudyJob:
        """The training."""
        return gw.StudyJob(self.name, "train", self.training)

    @property
    def validation_jobs(self) -> dict[str, gw.StudyJob]:
        """The validations by name."""
        return {
            name: gw.StudyJob(f"{self.name}_{name}", "validate", overrides, reads={"run": self.name})
            for name, overrides in self.validations.items()
        }


class AbstractEnsembles(AbstractDrawnStudy):
    """A study of what the mean of fresh packings can be trained to."""

    @abc.abstractmethod
    def ensembles(self, scale: Scale) -> Sequence[Ensemble]:
        """What is trained and validated."""

    def jobs(self, scale: Scale) -> list[gw.StudyJob]:
        """All trainings, then all validations."""
        ensembles = self.ensembles(scale)
        validations = [job for ensemble in ensembles for job in ensemble.validation_jobs.values()]
        return [*(ensemble.job for ensemble in ensembles), *validations]

    def means(self, scale: Scale, runs: Mapping[str, gw.StudyRun]) -> list[gw.Claim]:
        """The mean of every validation, and its median where the mean of Poisson's ratio need not exist."""
        claims = []
        for ensemble in self.ensembles(scale):
            for name, job in ensemble.validation_jobs.items():
                run = runs[job.name]
                for published in ensemble.published:
                    claims += compare(f"{ensemble.name}, {name}", self.source, run, "trained", published)
            first = next(iter(ensemble.validation_jobs.values()))
            for published in ensemble.untrained:
                claims += compare(f"{ensemble.name}, untrained", self.source, runs[first.name], "untrained", published)
        return claims

    def draw(self, figure: "Figure", scale: Scale, runs: Mapping[str, gw.StudyRun]) -> None:
        """Histograms of every property in the trained and the untrained ensembles, with published means."""
        from glasswright.plots.quantities import quantity
        from glasswright.plots.style import COLOURS, DASHES, letter
        from glasswright.plots.validation import common_bins
        from glasswright.registry import registry

        ensembles = self.ensembles(scale)
        names = list(dict.fromkeys(published.name for ensemble in ensembles for published in ensemble.published))
        axes = list(figure.subplots(1, len(names), squeeze=False)[0])
        for axis, name in zip(axes, names, strict=True):
            samples: dict[str, np.ndarray] = {}
            for ensemble in ensembles:
                for validation, job in ensemble.validation_jobs.items():
                    title = ensemble.name if len(ensemble.validations) == 1 else f"{ensemble.name}, {validation}"
                    samples[title] = np.array(values_of(runs[job.name], "trained", name))
                    samples["untrained"] = np.array(
                        [*samples.get("untrained", ()), *values_of(runs[job.name], "untrained", name)]
                    )
            samples = {title: sample for title, sample in samples.items() if sample.size > 1}
            if samples:
                bins = common_bins(list(samples.values()))
                for k, (title, sample) in enumerate(samples.items()):
                    style = {"color": COLOURS[k % len(COLOURS)], "linestyle": DASHES[k % len(DASHES)]}
                    axis.hist(sample, bins=bins, density=True, histtype="step", label=in_title(title), **style)
            means = dict.fromkeys(p.mean for ensemble in ensembles for p in ensemble.published if p.name == name)
            for k, mean in enumerate(means):
                axis.axvline(mean, color="black", linestyle="--", linewidth=0.8, label=None if k else "published")
            measured = registry().components("property")[name].cls
            symbol, units = (getattr(measured, fact, "") for fact in ("symbol", "units"))
            axis.set(xlabel=quantity(name, symbol, units, None).label, ylabel="probability density")
            axis.legend()
        if len(axes) > 1:
            letter(axes)


def in_title(name: str) -> str:
    """The name of an ensemble in words."""
    return name.replace("_", " ")


class AbstractMeans(AbstractEnsembles):
    """A study whose claims are the means of its validations, and no others."""

    def claims(self, scale: Scale, runs: Mapping[str, gw.StudyRun]) -> list[gw.Claim]:
        """The means of all validations."""
        return self.means(scale, runs)


def values_of(run: gw.StudyRun, ensemble: str, name: str) -> list[float]:
    """A property of each accepted packing of an ensemble, in order; none if the validation has failed."""
    return [
        float(line["values"][name]) for line in run.lines if line["ensemble"] == ensemble and line["values"] is not None
    ]


def compare(what: str, source: str, run: gw.StudyRun, ensemble: str, published: Published) -> list[gw.Claim]:
    """The mean of a property of an ensemble; for Poisson's ratio also its median.

    At fixed box the mean of Poisson's ratio strictly does not exist: a packing whose K + G is near zero moves it by any
    amount (docs/reproduction.md). Its median does.
    """
    values = values_of(run, ensemble, published.name)
    requested = sum(line["ensemble"] == ensemble for line in run.lines)
    mean = gw.compare_mean(
        f"{published.claim} ({what})",
        source,
        values,
        published.mean,
        tolerance=published.tolerance,
        published_error=published.error,
        requested=requested,
    )
    if published.name != "poisson_ratio" or len(values) < 2:
        return [mean]
    outside = sum(not -1.0 <= value <= 1.0 for value in values)
    if outside:
        mean = dataclasses.replace(
            mean, reason=f"{mean.reason}; {outside} packings outside of -1 to 1, for which the mean does not exist"
        )
    median, error = median_with_error(values)
    # The distribution is skewed: its median is compared with the published mean within a tenth of its width as well.
    width = float(np.subtract(*np.percentile(values, (75.0, 25.0))))
    allowed = max(published.tolerance, 0.25 * width)
    verdict = "agrees" if abs(median - published.mean) <= allowed + 2.0 * error else "disagrees"
    return [
        mean,
        gw.Claim(
            f"{published.claim} ({what}), median",
            published.mean,
            source,
            median,
            error,
            len(values),
            verdict,  # type: ignore[arg-type]
            f"{median:.4g} ± {error:.2g}: the median of a skewed distribution, allowed to differ by {allowed:.2g}",
        ),
    ]


def median_with_error(values: Sequence[float]) -> tuple[float, float]:
    """The median, and its standard error from the distance of the order statistics around it."""
    ordered, n = np.sort(np.asarray(values)), len(values)
    half = 0.5 * np.sqrt(n)
    low, high = (int(np.clip(round(0.5 * n + sign * half), 0, n - 1)) for sign in (-1, 1))
    return float(np.median(ordered)), float(ordered[high] - ordered[low]) / 2.0
