"""Figure 5 of Zu & Goodrich (2024): other properties of the ensemble, each alone."""

from glasswright.components.study import Scale

from ._ensembles import AbstractMeans, Ensemble, Published
from ._paper import SOURCE


class Zu2024Fig5a(AbstractMeans):
    """The mean pressure of the ensemble, trained to five values.

    Source: Zu & Goodrich, Commun. Mater. 5 (2024), Fig. 5a.
    """

    title = "The mean pressure of the ensemble"
    source = f"{SOURCE}, Fig. 5a"

    def ensembles(self, scale: Scale) -> list[Ensemble]:
        """A training for each target."""
        targets = {"quick": (0.15, 0.3), "paper": (0.1, 0.2, 0.4, 0.6, 0.8)}[scale]
        return [_of_target(scale, "pressure", target, {"quick": 0.01, "paper": 0.003}[scale]) for target in targets]


class Zu2024Fig5b(AbstractMeans):
    """The mean eightfold bond order of the ensemble.

    Targets at which the trained packings are far from the default design begin from the design of the preset
    `experiment=q8` (docs/reproduction.md).

    Source: Zu & Goodrich, Commun. Mater. 5 (2024), Fig. 5b.
    """

    title = "The mean eightfold bond order of the ensemble"
    source = f"{SOURCE}, Fig. 5b"

    def ensembles(self, scale: Scale) -> list[Ensemble]:
        """A training for each target."""
        targets = {"quick": (0.45,), "paper": (0.3, 0.5, 0.7, 0.9)}[scale]
        return [_of_target(scale, "q8", target, {"quick": 0.02, "paper": 0.01}[scale]) for target in targets]


def _of_target(scale: Scale, name: str, target: float, tolerance: float) -> Ensemble:
    steps, number = {"quick": (100, 100), "paper": (500, 500)}[scale]
    return Ensemble(
        f"target_{target}",
        (
            f"experiment={name}",
            f"terms.{name}.objective.target={target}",
            f"train.steps={steps}",
            *(("optimizer.learning_rate.init_value=3e-3",) if scale == "quick" else ()),
            "seed=0",
        ),
        {"fresh": (f"n_configurations={number}", f"n_untrained={number // 2}")},
        (Published(name, target, tolerance, f"the mean can be trained to {target}"),),
    )
