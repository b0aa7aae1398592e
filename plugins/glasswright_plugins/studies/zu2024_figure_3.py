"""Figs. 3c and d of Zu & Goodrich (2024): several packings trained at once, and what that does to all others."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import glasswright as gw
import numpy as np
from glasswright.components.study import Scale

from ._ensembles import median_with_error, values_of
from ._paper import SOURCE, AbstractDrawnStudy
from ._trainings import AbstractTrainings, Setting, succeeded

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Zu2024Fig3c(AbstractTrainings):
    """Several packings of one design, each trained to the same Poisson's ratio.

    Source: Zu & Goodrich, Commun. Mater. 5 (2024), Fig. 3c.
    """

    title = "Several packings trained at once"
    abscissa = "packings trained at once"
    source = f"{SOURCE}, Fig. 3c"

    def seeds(self, scale: Scale) -> int:
        """Sets of packings."""
        return {"quick": 1, "paper": 10}[scale]

    def settings(self, scale: Scale) -> list[Setting]:
        """Two to seven packings."""
        return [
            Setting(
                f"packings_{size}",
                ("experiment=multi_configuration", "system.n_species=16", f"sampler.size={size}"),
                f"{size} packings",
                size,
                hard=size > 3,
            )
            for size in {"quick": (2, 3), "paper": (2, 3, 4, 5, 6, 7)}[scale]
        ]


class Zu2024Fig3d(AbstractDrawnStudy):
    """The mean Poisson's ratio of fresh packings of a design that was trained on one packing or on several.

    Source: Zu & Goodrich, Commun. Mater. 5 (2024), Fig. 3d.
    """

    title = "Fresh packings of designs trained on several packings"
    source = f"{SOURCE}, Fig. 3d"

    def sizes(self, scale: Scale) -> tuple[int, ...]:
        """Numbers of packings that are trained together."""
        return {"quick": (1, 3), "paper": (1, 2, 3, 4, 5, 6, 7)}[scale]

    def jobs(self, scale: Scale) -> list[gw.StudyJob]:
        """A training of each size, to 0.2, and its validation."""
        number = {"quick": 40, "paper": 200}[scale]
        trainings = [
            gw.StudyJob(
                f"packings_{size}",
                "train",
                (
                    "experiment=multi_configuration",
                    "system.n_species=16",
                    f"sampler.size={size}",
                    "terms.poisson_ratio.objective.target=0.2",
                    "seed=0",
                ),
            )
            for size in self.sizes(scale)
        ]
        validations = [
            gw.StudyJob(
                f"{training.name}_fresh",
                "validate",
                (f"n_configurations={number}", f"n_untrained={number if training is trainings[0] else 0}"),
                reads={"run": training.name},
            )
            for training in trainings
        ]
        return [*trainings, *validations]

    def claims(self, scale: Scale, runs: Mapping[str, gw.StudyRun]) -> list[gw.Claim]:
        """The median falls below the untrained one, and beyond three packings by little more."""
        sizes = self.sizes(scale)
        medians = {size: _median(runs[f"packings_{size}_fresh"], "trained") for size in sizes}
        untrained = _median(runs[f"packings_{sizes[0]}_fresh"], "untrained")
        three, last = medians[3], medians[sizes[-1]]
        effect = None if untrained is None or three is None else untrained[0] - three[0]
        error = None if untrained is None or three is None else float(np.hypot(untrained[1], three[1]))
        claims = [
            gw.compare_bound(
                "three packings trained to 0.2 lower the median of fresh ones by",
                self.source,
                effect,
                "more than nothing",
                lower=0.0,
                error=error,
                n=len(values_of(runs["packings_3_fresh"], "trained", "poisson_ratio")),
            )
        ]
        if sizes[-1] > 3:
            further = None if three is None or last is None else three[0] - last[0]
            claims.append(
                gw.compare_bound(
                    f"{sizes[-1]} packings lower it further by",
                    self.source,
                    further,
                    "hardly more: the effect levels off at three packings",
                    upper=0.5 * effect if effect is not None else np.inf,
                    error=None if three is None or last is None else float(np.hypot(three[1], last[1])),
                    n=len(values_of(runs[f"packings_{sizes[-1]}_fresh"], "trained", "poisson_ratio")),
                )
            )
        return claims

    def draw(self, figure: "Figure", scale: Scale, runs: Mapping[str, gw.StudyRun]) -> None:
        """Medians against the number of packings."""
        axis = figure.subplots()
        sizes = self.sizes(scale)
        for size in sizes:
            median = _median(runs[f"packings_{size}_fresh"], "trained")
            if median is not None:
                marker = "o" if succeeded(runs[f"packings_{size}"]) else "x"
                axis.errorbar(size, median[0], yerr=median[1], marker=marker, color="C0", capsize=2)
        untrained = _median(runs[f"packings_{sizes[0]}_fresh"], "untrained")
        if untrained is not None:
            axis.axhline(untrained[0], color="black", linestyle=":", label="untrained")
        axis.axhline(0.2, color="black", linestyle="--", label="target of the packings")
        axis.set(xlabel="packings trained at once", ylabel="median Poisson's ratio of fresh packings", xticks=sizes)
        axis.legend(fontsize="x-small")


def _median(run: gw.StudyRun, ensemble: str) -> tuple[float, float] | None:
    values = values_of(run, ensemble, "poisson_ratio")
    return median_with_error(values) if len(values) > 1 else None
