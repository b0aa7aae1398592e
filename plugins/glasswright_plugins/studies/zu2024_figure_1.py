"""Figs. 1e, 1f, S3 and S4 of Zu & Goodrich (2024): packings trained to any target, and the bonds that carry moduli."""

import abc
from collections.abc import Mapping
from typing import TYPE_CHECKING

import glasswright as gw
import numpy as np
from glasswright.components.study import Scale
from glasswright.evaluation.statistics import standard_error

from ._paper import SOURCE, AbstractDrawnStudy
from ._trainings import AbstractTrainings, Setting

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Zu2024Fig1e(AbstractTrainings):
    """Packings are trained to Poisson's ratios over a wide range.

    Seven targets, five packings each. The publication states no number for this figure: the claim is that all trainings
    reach their target.

    Source: Zu & Goodrich, Commun. Mater. 5 (2024), Fig. 1e.
    """

    title = "Packings trained to seven Poisson's ratios"
    source = f"{SOURCE}, Fig. 1e"

    def seeds(self, scale: Scale) -> int:
        """Packings of each target."""
        return {"quick": 2, "paper": 5}[scale]

    def settings(self, scale: Scale) -> list[Setting]:
        """Seven targets; five species, so that no target is at the edge of what can be reached."""
        targets = {"quick": (0.1, 0.3, 0.6), "paper": (-0.1, 0.1, 0.2, 0.3, 0.5, 0.6, 0.7)}[scale]
        return [
            Setting(
                f"target_{str(target).replace('-', 'minus_')}",
                (
                    "experiment=single_poisson",
                    "system.n_species=4",
                    f"terms.poisson_ratio.objective.target={target}",
                ),
                f"target {target}",
                target,
            )
            for target in targets
        ]


class AbstractBondContributions(AbstractDrawnStudy):
    """A study of which bonds carry the moduli of trained packings, at a low, the usual and a high Poisson's ratio."""

    @abc.abstractmethod
    def targets(self, scale: Scale) -> dict[str, float]:
        """Poisson's ratios by name; `usual` is what the others are compared with."""

    @abc.abstractmethod
    def seeds(self, scale: Scale) -> int:
        """Packings of each target."""

    def jobs(self, scale: Scale) -> list[gw.StudyJob]:
        """Packings trained to a low, the usual and a high Poisson's ratio, and the contributions of their bonds."""
        trainings = [
            gw.StudyJob(
                f"{name}_{seed}",
                "train",
                (
                    "experiment=single_poisson",
                    "system.n_species=4",
                    f"terms.poisson_ratio.objective.target={target}",
                    f"seed={seed}",
                ),
            )
            for seed in range(self.seeds(scale))
            for name, target in self.targets(scale).items()
        ]
        analyses = [
            gw.StudyJob(f"{training.name}_bonds", "analyse", ("parts=[bonds]",), reads={"run": training.name})
            for training in trainings
        ]
        return [*trainings, *analyses]

    def claims(self, scale: Scale, runs: Mapping[str, gw.StudyRun]) -> list[gw.Claim]:
        """The widths of the distributions, in units of those of packings near the untrained Poisson's ratio."""
        return [
            self._claim(scale, runs, name, modulus)
            for name, target in self.targets(scale).items()
            for modulus in (["bulk_modulus"] if target < 0.2 else ["shear_modulus"] if target > 0.7 else [])
        ]

    def _claim(self, scale: Scale, runs: Mapping[str, gw.StudyRun], name: str, modulus: str) -> gw.Claim:
        what = f"{self.targets(scale)[name]}: contributions to the {modulus.replace('_', ' ')} are broad"
        ratios = []
        for seed in range(self.seeds(scale)):
            usual = relative_width(runs[f"usual_{seed}_bonds"], modulus)
            trained = relative_width(runs[f"{name}_{seed}_bonds"], modulus)
            if usual is not None and trained is not None:
                ratios.append(trained / usual)
        error = standard_error(np.array(ratios))
        return gw.compare_bound(
            f"Poisson's ratio {what}: width relative to the mean, over that at 0.5",
            self.source,
            float(np.mean(ratios)) if ratios else None,
            "larger than one",
            lower=1.0,
            error=None if error is None else float(error),
            n=len(ratios),
        )

    def draw(self, figure: "Figure", scale: Scale, runs: Mapping[str, gw.StudyRun]) -> None:
        """The distributions of the contributions, in units of their mean."""
        for axis, modulus in zip(figure.subplots(1, 2), ("bulk_modulus", "shear_modulus"), strict=True):
            for k, (name, target) in enumerate(self.targets(scale).items()):
                seeds = range(self.seeds(scale))
                parts = [contributions(runs[f"{name}_{seed}_bonds"], modulus) for seed in seeds]
                scaled = [part / abs(np.mean(part)) for part in parts if part is not None]
                if scaled:
                    axis.hist(
                        np.concatenate(scaled),
                        bins=np.linspace(-60.0, 60.0, 61),
                        density=True,
                        histtype="step",
                        color=f"C{k}",
                        label=f"Poisson's ratio {target}",
                    )
            axis.set(yscale="log", xlabel=f"{modulus.replace('_', ' ')} of a bond / mean", ylabel="probability density")
            if axis.get_legend_handles_labels()[0]:
                axis.legend(fontsize="x-small")


class Zu2024Fig1f(AbstractBondContributions):
    """Which bonds carry the moduli of trained packings.

    Source: Zu & Goodrich, Commun. Mater. 5 (2024), Fig. 1f.
    """

    title = "Contributions of bonds to the moduli of trained packings"
    source = f"{SOURCE}, Fig. 1f"

    def targets(self, scale: Scale) -> dict[str, float]:
        """The ends of the range."""
        return {"low": 0.1, "usual": 0.5, "high": 0.75}

    def seeds(self, scale: Scale) -> int:
        """Packings of each target."""
        return {"quick": 2, "paper": 10}[scale]


class Zu2024FigS3S4(AbstractBondContributions):
    """How the distributions of the contributions of bonds change over the range of Poisson's ratio.

    Source: Zu & Goodrich, Commun. Mater. 5 (2024), Supplementary Figs. S3 and S4.
    """

    title = "Contributions of bonds over the range of Poisson's ratio"
    source = f"{SOURCE}, Supplementary Figs. S3 and S4"

    def targets(self, scale: Scale) -> dict[str, float]:
        """From auxetic to nearly incompressible."""
        wide = {"auxetic": -0.1, "low": 0.15, "usual": 0.5, "high": 0.75, "highest": 0.8}
        return wide if scale == "paper" else {"low": 0.15, "usual": 0.5}

    def seeds(self, scale: Scale) -> int:
        """Packings of each target."""
        return {"quick": 2, "paper": 20}[scale]


def contributions(run: gw.StudyRun, modulus: str) -> np.ndarray | None:
    """The contribution of every bond to a modulus; None if the analysis has failed."""
    if not run.report:
        return None
    with np.load(run.directory / "bonds.npz") as file:
        return np.asarray(file[modulus])


def relative_width(run: gw.StudyRun, modulus: str) -> float | None:
    """The standard deviation of the contributions over their mean."""
    values = contributions(run, modulus)
    return None if values is None else float(np.std(values) / abs(np.mean(values)))
