"""Figure 6 of Zu & Goodrich (2024): Poisson's ratio and pressure of the ensemble together."""

from glasswright.components.study import Scale

from ._ensembles import AbstractMeans, Ensemble, Published
from ._paper import SOURCE


class Zu2024Fig6a(AbstractMeans):
    """The mean Poisson's ratio is trained to 0.5 and the mean pressure to 0.4, together.

    Source: Zu & Goodrich, Commun. Mater. 5 (2024), Fig. 6a.
    """

    title = "Poisson's ratio and pressure together"
    source = f"{SOURCE}, Fig. 6a"

    def ensembles(self, scale: Scale) -> list[Ensemble]:
        """The pair of the figure."""
        return [_of_pair(scale, 0.5, 0.4)]


class Zu2024Fig6b(AbstractMeans):
    """Which pairs of mean Poisson's ratio and mean pressure can be reached.

    Pairs inside the published region are claimed; the publication states no number for pairs outside.

    Source: Zu & Goodrich, Commun. Mater. 5 (2024), Fig. 6b.
    """

    title = "Pairs of Poisson's ratio and pressure that can be reached"
    source = f"{SOURCE}, Fig. 6b"

    def ensembles(self, scale: Scale) -> list[Ensemble]:
        """Pairs around the untrained one."""
        pairs = {
            "quick": ((0.45, 0.3),),
            "paper": ((0.4, 0.2), (0.4, 0.4), (0.5, 0.2), (0.5, 0.6), (0.6, 0.2), (0.6, 0.4)),
        }[scale]
        return [_of_pair(scale, poisson_ratio, pressure) for poisson_ratio, pressure in pairs]


def _of_pair(scale: Scale, poisson_ratio: float, pressure: float) -> Ensemble:
    steps, number = {"quick": (180, 150), "paper": (2400, 1000)}[scale]
    tolerance = {"quick": 0.025, "paper": 0.01}[scale]
    return Ensemble(
        f"poisson_ratio_{poisson_ratio}_pressure_{pressure}",
        (
            "experiment=poisson_and_pressure",
            f"terms.poisson_ratio.objective.target={poisson_ratio}",
            f"terms.pressure.objective.target={pressure}",
            f"train.steps={steps}",
            *(("optimizer.learning_rate.init_value=3e-3",) if scale == "quick" else ()),
            "seed=0",
        ),
        {"fresh": (f"n_configurations={number}", f"n_untrained={number // 2}")},
        (
            Published("poisson_ratio", poisson_ratio, tolerance, f"mean Poisson's ratio at the target {poisson_ratio}"),
            Published("pressure", pressure, tolerance, f"mean pressure at the target {pressure}"),
        ),
    )
