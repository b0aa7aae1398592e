"""Figure 4 of Zu & Goodrich (2024): the mean Poisson's ratio of an ensemble."""

from collections.abc import Mapping

import glasswright as gw
from glasswright.components.study import Scale

from ._ensembles import AbstractEnsembles, AbstractMeans, Ensemble, Published
from ._paper import SOURCE

# What `scale=quick` changes of the preset: 150 steps at twice the rate, in place of 5000.
SHORT = ("train.steps=150", "optimizer.learning_rate.init_value=2e-3")


def training(scale: Scale, target: float, *overrides: str) -> tuple[str, ...]:
    """The overrides of a training of the ensemble to a mean Poisson's ratio."""
    return (
        "experiment=ensemble_poisson",
        f"terms.poisson_ratio.objective.target={target}",
        *(SHORT if scale == "quick" else ()),
        *overrides,
    )


class Zu2024Fig4a(AbstractMeans):
    """The ensemble of two species, trained to a mean Poisson's ratio of 0.35, at two sizes.

    Source: Zu & Goodrich, Commun. Mater. 5 (2024), Fig. 4a.
    """

    title = "The ensemble trained to a mean Poisson's ratio of 0.35"
    source = f"{SOURCE}, Fig. 4a"

    def ensembles(self, scale: Scale) -> list[Ensemble]:
        """Fresh packings of the size of the training, and larger ones."""
        by_scale: dict[Scale, dict[str, tuple[str, ...]]] = {
            "quick": {"fresh": ("n_configurations=200", "n_untrained=100")},
            "paper": {
                "fresh": ("n_configurations=2000", "n_untrained=500"),
                "large": ("n_configurations=100", "n_untrained=0", "system.n_particles=2048"),
            },
        }
        tolerance = {"quick": 0.02, "paper": 0.003}[scale]
        return [
            Ensemble(
                "trained",
                training(scale, 0.35, "seed=0"),
                by_scale[scale],
                (Published("poisson_ratio", 0.35, tolerance, "mean of fresh packings equals the target"),),
                (Published("poisson_ratio", 0.494, 0.02, "mean of untrained packings", error=0.007),),
            )
        ]


class Zu2024Fig4b(AbstractEnsembles):
    """The same training with other random packings: every one succeeds, and their designs differ.

    Source: Zu & Goodrich, Commun. Mater. 5 (2024), Fig. 4b.
    """

    title = "Repeats of the training of the ensemble"
    source = f"{SOURCE}, Fig. 4b"

    def ensembles(self, scale: Scale) -> list[Ensemble]:
        """One training for each seed."""
        seeds = {"quick": 2, "paper": 30}[scale]
        number = {"quick": 100, "paper": 2000}[scale]
        tolerance = {"quick": 0.03, "paper": 0.004}[scale]
        return [
            Ensemble(
                f"seed_{seed}",
                training(scale, 0.35, f"seed={seed}"),
                {"fresh": (f"n_configurations={number}", "n_untrained=0")},
                (Published("poisson_ratio", 0.35, tolerance, "mean of fresh packings equals the target"),),
            )
            for seed in range(seeds)
        ]

    def claims(self, scale: Scale, runs: Mapping[str, gw.StudyRun]) -> list[gw.Claim]:
        """The means, and which binding is stronger."""
        claims = self.means(scale, runs)
        reports = [runs[ensemble.name].report for ensemble in self.ensembles(scale)]
        designs = [report["design"]["binding_energy"] for report in reports if report]
        # Packed by rows of the upper triangle: small-small, small-large, large-large.
        stronger = [binding[1] > binding[0] for binding in designs]
        claims.append(
            gw.compare_rate(
                "small particles bind large ones more strongly than each other",
                self.source,
                sum(stronger),
                len(stronger),
                1.0,
                tolerance=0.05,
            )
        )
        return claims


class Zu2024Fig4c(AbstractMeans):
    """The mean Poisson's ratio of the ensemble can be trained to any value from 0.2 to 0.7.

    Source: Zu & Goodrich, Commun. Mater. 5 (2024), Fig. 4c.
    """

    title = "The range of the mean Poisson's ratio"
    source = f"{SOURCE}, Fig. 4c"

    def ensembles(self, scale: Scale) -> list[Ensemble]:
        """Targets within the published range."""
        targets = {"quick": (0.4, 0.55), "paper": (0.2, 0.3, 0.4, 0.5, 0.6, 0.7)}[scale]
        return [_of_target(scale, target) for target in targets]


class Zu2024Fig4d(AbstractMeans):
    """With more species the range of the mean Poisson's ratio is the same.

    Source: Zu & Goodrich, Commun. Mater. 5 (2024), Fig. 4d.
    """

    title = "The range of the mean Poisson's ratio with more species"
    source = f"{SOURCE}, Fig. 4d"

    def ensembles(self, scale: Scale) -> list[Ensemble]:
        """The ends of the range with four species, and with eight."""
        targets = {"quick": (0.4,), "paper": (0.2, 0.7)}[scale]
        species = {"quick": (4,), "paper": (4, 8)}[scale]
        return [_of_target(scale, target, number) for number in species for target in targets]


def _of_target(scale: Scale, target: float, n_species: int = 2) -> Ensemble:
    number = {"quick": 100, "paper": 1000}[scale]
    tolerance = {"quick": 0.03, "paper": 0.01}[scale]
    return Ensemble(
        f"target_{target}_species_{n_species}",
        training(scale, target, f"system.n_species={n_species}", "seed=0"),
        {"fresh": (f"n_configurations={number}", "n_untrained=0")},
        (Published("poisson_ratio", target, tolerance, f"the mean can be trained to {target}"),),
    )
