"""Fig. 3a and b of Zu and Goodrich: sixteen species trained on one packing, and what that does to others."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import glasswright as gw
import numpy as np
from glasswright.components.study import Scale
from glasswright.plots.options import PlotOptions

from ._ensembles import values_of
from ._paper import SOURCE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

N_SEEDS = 3


class Zu2024Fig3ab(gw.AbstractStudy):
    """Packings of sixteen species are trained to a Poisson's ratio of -1; fresh ones of their designs are measured.

    The paper has one packing. Some fall apart on the way, so three are tried, and all that reach the target count.
    """

    title = "sixteen species: one packing reaches -1, fresh packings follow in part"
    source = f"{SOURCE}, Fig. 3a,b"

    def jobs(self, scale: Scale) -> Sequence[gw.StudyJob]:
        n, steps = (100, 10_000) if scale == "paper" else (20, 1_000)
        jobs = []
        for seed in range(N_SEEDS):
            overrides = ("experiment=many_species", f"seed={seed}", f"train.steps={steps}")
            jobs.append(gw.StudyJob(f"train{seed}", "train", overrides))
        for seed in range(N_SEEDS):
            numbers = (f"n_configurations={n}", f"n_untrained={n if seed == 0 else 0}")
            jobs.append(gw.StudyJob(f"validate{seed}", "validate", numbers, reads={"run": f"train{seed}"}))
        return jobs

    def claims(self, scale: Scale, runs: Mapping[str, gw.StudyRun]) -> Sequence[gw.Claim]:
        trainings = [runs[f"train{seed}"] for seed in range(N_SEEDS)]
        successes = [run for run in trainings if run.report.get("success")]
        ends = [run.why or f"loss {run.report.get('loss')} after {run.report.get('steps')} steps" for run in trainings]
        claim = "a packing of sixteen species reaches a Poisson's ratio of -1 (rate)"
        reached = gw.compare_rate(claim, f"{SOURCE}, Fig. 3a", len(successes), N_SEEDS, 1.0, tolerance=0.1)
        reached = dataclasses.replace(reached, reason=f"{reached.reason}; {'; '.join(ends)}")
        return [
            reached,
            _mean("fresh packings of the trained design have this mean", 0.33, 0.02, _values(runs, "trained")),
            _mean("untrained packings have this mean", 0.49, 0.01, _values(runs, "untrained")),
        ]

    def figure(self, scale: Scale, runs: Mapping[str, gw.StudyRun], options: PlotOptions) -> "Figure":
        from glasswright.plots.style import ACCENT, Quantity
        from glasswright.plots.validation import validation_figure

        ensembles = {
            ensemble: [{"values": {"poisson_ratio": value}} for value in _values(runs, ensemble)]
            for ensemble in ("trained", "untrained")
        }
        quantity = Quantity("poisson_ratio", r"\nu", "dimensionless")
        figure = validation_figure(ensembles, {"poisson_ratio": quantity}, options)
        for published in (0.33, 0.49):
            figure.axes[0].axvline(published, color=ACCENT, linestyle=":", linewidth=1.2)
        return figure


def _values(runs: Mapping[str, gw.StudyRun], ensemble: str) -> list[float]:
    """Poisson's ratio of all accepted packings of an ensemble; trained ones only of designs that reached the target."""
    seeds = [k for k in range(N_SEEDS) if ensemble == "untrained" or runs[f"train{k}"].report.get("success")]
    return [value for seed in seeds for value in values_of(runs[f"validate{seed}"], ensemble, "poisson_ratio")]


def _mean(claim: str, published: float, published_error: float, values: Sequence[float]) -> gw.Claim:
    """A mean with its verdict; the median is named too, because a packing unstable against strain can move the mean."""
    n, source = len(values), f"{SOURCE}, Fig. 3b"
    if n < 2:
        return gw.Claim(claim, published, source, None, None, n, "undecided", "there are no packings of this kind")
    mean, error = float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(n))
    return gw.compare(
        f"{claim} (median {np.median(values):.3f})",
        published,
        source,
        mean,
        error,
        n,
        published_error=published_error,
        resolution=0.1,
    )
