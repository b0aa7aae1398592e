"""Fig. 3a and b of Zu and Goodrich: sixteen species trained on one packing, and what that does to others."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import glasswright as gw
from glasswright.plots.options import PlotOptions

from ._paper import SOURCE

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Zu2024Fig3ab(gw.AbstractStudy):
    """One packing of sixteen species is trained to a Poisson's ratio of -1; fresh ones of its design are measured."""

    title = "sixteen species: one packing reaches -1, fresh packings follow in part"
    source = f"{SOURCE}, Fig. 3a,b"

    def jobs(self, scale: str) -> Sequence[gw.StudyJob]:
        n, least = (100, 100) if scale == "paper" else (40, 40)
        validation = (f"n_configurations={n}", f"n_untrained={least}")
        return [
            gw.StudyJob("train", "train", ("experiment=many_species", "seed=0")),
            gw.StudyJob("validate", "validate", validation, reads={"run": "train"}),
        ]

    def claims(self, runs: Mapping[str, gw.StudyRun]) -> Sequence[gw.Claim]:
        trained, validated = runs["train"], runs["validate"]
        value = (trained.report.get("values") or {}).get("poisson_ratio")
        reached = gw.Claim(
            claim="one packing of sixteen species reaches a Poisson's ratio of -1",
            published=-1.0,
            source=f"{SOURCE}, Fig. 3a",
            measured=value,
            error=None,
            n=1,
            verdict="agrees" if trained.report.get("success") else "disagrees",
            reason=f"loss {trained.report.get('loss')} after {trained.report.get('steps')} steps",
        )
        return [
            reached,
            _mean("fresh packings of the trained design have this mean", 0.33, 0.02, validated.report),
            _mean("untrained packings have this mean", 0.49, 0.01, validated.report.get("untrained") or {}),
        ]

    def figure(self, runs: Mapping[str, gw.StudyRun], options: PlotOptions) -> "Figure":
        from glasswright.plots.style import ACCENT, Quantity
        from glasswright.plots.validation import validation_figure

        ensembles: dict[str, list[Mapping[str, object]]] = {}
        for line in runs["validate"].lines:
            ensembles.setdefault(line["ensemble"], []).append(line)
        quantity = Quantity("poisson_ratio", r"\nu", "dimensionless")
        figure = validation_figure(ensembles, {"poisson_ratio": quantity}, options)
        for published in (0.33, 0.49):
            figure.axes[0].axvline(published, color=ACCENT, linestyle=":", linewidth=1.2)
        return figure


def _mean(claim: str, published: float, published_error: float, report: Mapping[str, object]) -> gw.Claim:
    """A mean with its verdict; the median is named too, because a packing unstable against strain can move the mean."""
    properties = report.get("properties")
    entry = properties.get("poisson_ratio", {}) if isinstance(properties, Mapping) else {}
    converged = report.get("converged")
    source = f"{SOURCE}, Fig. 3b"
    result = gw.compare(
        claim,
        published,
        source,
        entry.get("mean"),
        entry.get("standard_error"),
        converged if isinstance(converged, int) else 0,
        published_error=published_error,
        resolution=0.1,
    )
    median = entry.get("median")
    return (
        result if median is None else dataclasses.replace(result, reason=f"{result.reason}; the median is {median:.3g}")
    )
