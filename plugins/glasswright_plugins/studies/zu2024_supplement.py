"""The supplement of Zu & Goodrich (2024): averaged gradients, noise, and three dimensions."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import glasswright as gw
import numpy as np
from glasswright.components.study import Scale

from ._ensembles import AbstractMeans, Ensemble, Published
from ._paper import SOURCE, AbstractDrawnStudy
from .zu2024_figure_4 import SHORT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The design that the averaged gradient is taken at, and the change of one of its variables.
DIAMETERS, STEP = (0.8, 1.0), 0.01


class Zu2024FigS1(AbstractDrawnStudy):
    """The mean gradient of the pressure over packings predicts how the mean pressure changes.

    The packings at the changed design are quenched anew, from the same starts.

    Source: Zu & Goodrich, Commun. Mater. 5 (2024), Supplementary Fig. S1.
    """

    title = "Averaged gradients and changes of the mean pressure"
    source = f"{SOURCE}, Supplementary Fig. S1"

    def jobs(self, scale: Scale) -> list[gw.StudyJob]:
        """The ensemble at the design, and at two designs beside it in either diameter."""
        number = {"quick": 60, "paper": 500}[scale]
        common = ("experiment=pressure", "parts=[tunability]", "average=mean", f"n_configurations={number}")
        jobs = [gw.StudyJob("at_the_design", "analyse", common)]
        for k in range(2):
            for name, sign in (("larger", 1.0), ("smaller", -1.0)):
                diameters = [d + sign * STEP * (n == k) for n, d in enumerate(DIAMETERS)]
                override = f"potential.diameter=[{','.join(f'{d:g}' for d in diameters)}]"
                jobs.append(gw.StudyJob(f"diameter_{k}_{name}", "analyse", (*common, override)))
        return jobs

    def claims(self, scale: Scale, runs: Mapping[str, gw.StudyRun]) -> list[gw.Claim]:
        """The two slopes: rearrangements, which no gradient contains, make a difference of some per cent."""
        claims = []
        for k, (predicted, difference, error) in enumerate(self.slopes(runs)):
            ratio = None if predicted is None or difference is None else difference / predicted
            claims.append(
                gw.compare_bound(
                    f"slope of the mean pressure in diameter[{k}], found / averaged gradient",
                    self.source,
                    ratio,
                    "one within 10 %",
                    lower=0.9,
                    upper=1.1,
                    error=None if error is None or predicted is None else error / abs(predicted),
                    n=0 if runs["at_the_design"].report == {} else {"quick": 60, "paper": 500}[scale],
                )
            )
        return claims

    def slopes(self, runs: Mapping[str, gw.StudyRun]) -> list[tuple[float | None, float | None, float | None]]:
        """For each diameter: the averaged gradient, the slope of the mean and its standard error."""
        base = runs["at_the_design"].report
        slopes: list[tuple[float | None, float | None, float | None]] = []
        for k in range(2):
            predicted = None if not base else float(base["tunability"]["jacobian"]["mean"][0][k])
            ends = [runs[f"diameter_{k}_{name}"].report for name in ("larger", "smaller")]
            if not all(ends):
                slopes.append((predicted, None, None))
                continue
            values = [end["tunability"]["values"] for end in ends]
            difference = float(values[0]["mean"][0] - values[1]["mean"][0]) / (2.0 * STEP)
            error = float(np.hypot(*(value["standard_error"][0] for value in values))) / (2.0 * STEP)
            slopes.append((predicted, difference, error))
        return slopes

    def draw(self, figure: "Figure", scale: Scale, runs: Mapping[str, gw.StudyRun]) -> None:
        """Differences of means against averaged gradients."""
        from glasswright.plots.style import COLOURS

        axis = figure.subplots()
        for k, (predicted, difference, error) in enumerate(self.slopes(runs)):
            if predicted is not None and difference is not None:
                axis.errorbar(
                    predicted,
                    difference,
                    yerr=error,
                    marker="o",
                    color=COLOURS[k],
                    capsize=2,
                    linestyle="",
                    label=f"diameter of species {k}",
                )
        ends = np.array(axis.get_xlim())
        axis.plot(ends, ends, color="black", linestyle="--", linewidth=0.8, label="equal")
        axis.set(
            xlabel=r"averaged gradient $\langle dp/d\sigma \rangle$",
            ylabel=r"slope of the mean $d\langle p \rangle/d\sigma$",
        )
        axis.legend()


class Zu2024FigS8(AbstractMeans):
    """Diameters of particles and binding energies of bonds vary by 5 %; the mean stays within 0.01 of its target.

    Source: Zu & Goodrich, Commun. Mater. 5 (2024), Supplementary Fig. S8.
    """

    title = "The ensemble with quenched noise"
    source = f"{SOURCE}, Supplementary Fig. S8"

    def ensembles(self, scale: Scale) -> list[Ensemble]:
        """A design trained without noise, validated with it."""
        number = {"quick": 150, "paper": 2000}[scale]
        noise = ("system.polydispersity=0.05", "system.heterogeneity=0.05")
        steps = SHORT if scale == "quick" else ("train.steps=5000",)
        tolerance = {"quick": 0.03, "paper": 0.01}[scale]
        return [
            Ensemble(
                "trained",
                ("experiment=ensemble_poisson", *steps, "seed=0"),
                {"with_noise": (f"n_configurations={number}", "n_untrained=0", *noise)},
                (Published("poisson_ratio", 0.35, tolerance, "with 5 % noise the mean is within 0.01 of the target"),),
            )
        ]


class Zu2024NoteH(AbstractMeans):
    """The ensemble in three dimensions is trained as well as that in two.

    Source: Zu & Goodrich, Commun. Mater. 5 (2024), Supplementary Note H.
    """

    title = "The ensemble in three dimensions"
    source = f"{SOURCE}, Supplementary Note H"

    def ensembles(self, scale: Scale) -> list[Ensemble]:
        """256 particles at a density of 1.4, inverse range 10."""
        steps, size, number = {"quick": (40, 4, 40), "paper": (300, 8, 500)}[scale]
        tolerance = {"quick": 0.03, "paper": 0.01}[scale]
        return [
            Ensemble(
                "trained",
                (
                    "experiment=ensemble_poisson",
                    "system.dimension=3",
                    "system.n_particles=256",
                    "system.density=1.4",
                    "potential.inverse_range=10",
                    "terms.poisson_ratio.objective.target=0.25",
                    f"train.steps={steps}",
                    f"sampler.size={size}",
                    *(("optimizer.learning_rate.init_value=3e-3",) if scale == "quick" else ()),
                    "seed=0",
                ),
                {"fresh": (f"n_configurations={number}", "n_untrained=0")},
                (Published("poisson_ratio", 0.25, tolerance, "mean of fresh packings equals the target"),),
            )
        ]
