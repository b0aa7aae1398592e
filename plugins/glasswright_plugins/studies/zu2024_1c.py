"""Fig. 1c of Zu and Goodrich: the gradient predicts finite changes."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import glasswright as gw
import numpy as np
from glasswright.components.study import Scale
from glasswright.plots.options import PlotOptions

from ._paper import SOURCE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Between these steps the error is neither rounding nor a kink of the potential.
SHORTEST, LONGEST = 1e-7, 1e-4


class Zu2024Fig1c(gw.AbstractStudy):
    """The error of the predicted change of Poisson's ratio falls as the square of the step.

    Packings of two species, untrained, each followed along the gradient of its Poisson's ratio.
    """

    title = "the gradient of Poisson's ratio predicts finite changes"
    source = f"{SOURCE}, Fig. 1c"

    def jobs(self, scale: Scale) -> Sequence[gw.StudyJob]:
        size = () if scale == "paper" else ("system.n_particles=128",)
        overrides = (
            "experiment=single_poisson",
            "parts=[predictiveness]",
            "smallest_step=1e-7",
            "largest_step=1e-2",
            "n_steps=16",
            *size,
        )
        seeds = range(10 if scale == "paper" else 3)
        return [gw.StudyJob(f"seed{seed}", "analyse", (*overrides, f"seed={seed}")) for seed in seeds]

    def claims(self, scale: Scale, runs: Mapping[str, gw.StudyRun]) -> Sequence[gw.Claim]:
        powers = [power for run in runs.values() if (power := _power(run)) is not None]
        mean = float(np.median(powers)) if powers else None
        error = float(np.std(powers, ddof=1) / np.sqrt(len(powers))) if len(powers) > 1 else None
        # A packing next to a kink has another power: the error is at least that of the fit.
        error = None if error is None else max(error, 0.01)
        return [
            gw.compare(
                "the error of the linear prediction falls as the step to the power 2",
                2.0,
                self.source,
                mean,
                error,
                len(powers),
                resolution=0.2,
            )
        ]

    def figure(self, scale: Scale, runs: Mapping[str, gw.StudyRun], options: PlotOptions) -> "Figure":
        from glasswright.plots.style import ACCENT, COLOURS, drawing, new_figure

        with drawing(options):
            figure = new_figure(options, 3.2, 4.2)
            axes = figure.subplots()
            for k, run in enumerate(runs.values()):
                step, predicted, error = _points(run)
                if len(step):
                    label = ("predicted change", "error") if k == 0 else (None, None)
                    axes.loglog(step, predicted, "-", color=COLOURS[0], linewidth=0.8, label=label[0])
                    axes.loglog(step, error, "x", color=ACCENT, markersize=3, label=label[1])
            low, high = axes.get_ylim()
            guide = np.geomspace(SHORTEST, 1e-2, 20)
            factors = [np.median(error / step**2) for step, _, error in map(_points, runs.values()) if len(step)]
            height = float(np.median(factors)) if factors else 1.0
            axes.loglog(guide, height * guide**2, ":", color="0.3", label="square of the step (published)")
            axes.set_ylim(max(low, 1e-16), high)
            axes.set_xlabel(r"step of the design $|\Delta\theta|$, scaled")
            axes.set_ylabel(r"change of Poisson's ratio $\Delta\nu$, scaled")
            axes.legend()
        return figure


def _points(run: gw.StudyRun) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Steps before the first rearrangement, with the predicted change and its error."""
    lines = (run.report.get("predictiveness") or {}).get("poisson_ratio", {}).get("steps", [])
    kept = []
    for line in lines:
        if line["found"] is None or line["rearranged"]:
            break
        kept.append((line["step"], line["predicted"], abs(line["found"] - line["predicted"])))
    step, predicted, error = np.array(kept).reshape(-1, 3).T
    return step, predicted, error


def _power(run: gw.StudyRun) -> float | None:
    step, _, error = _points(run)
    chosen = (step >= SHORTEST) & (step <= LONGEST) & (error > 1e-13)
    if np.sum(chosen) < 3:
        return None
    return float(np.polyfit(np.log(step[chosen]), np.log(error[chosen]), 1)[0])
