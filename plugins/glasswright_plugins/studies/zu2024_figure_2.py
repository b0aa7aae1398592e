"""Figure 2 of Zu & Goodrich (2024): how often a packing reaches its target."""

from glasswright.components.study import Scale

from ._paper import SOURCE
from ._trainings import AbstractTrainings, Setting


class Zu2024Fig2(AbstractTrainings):
    """How often one packing reaches its target, over targets, numbers of species and ranges of the attraction.

    Source: Zu & Goodrich, Commun. Mater. 5 (2024), Fig. 2.
    """

    title = "Rates of success over targets, species and ranges of the attraction"
    source = f"{SOURCE}, Fig. 2"

    def seeds(self, scale: Scale) -> int:
        """Packings of each setting."""
        return {"quick": 1, "paper": 10}[scale]

    def settings(self, scale: Scale) -> list[Setting]:
        """Targets at two ranges; two species and targets below -0.1 are the hard corner."""
        targets = {"quick": (0.1, 0.6), "paper": (-0.3, 0.0, 0.3, 0.6)}[scale]
        species = {"quick": (4,), "paper": (2, 4, 8)}[scale]
        return [
            Setting(
                f"target_{str(target).replace('-', 'minus_')}_species_{number}_a_{a}",
                (
                    "experiment=single_poisson",
                    f"system.n_species={number}",
                    f"potential.inverse_range={a}",
                    f"terms.poisson_ratio.objective.target={target}",
                ),
                f"target {target}, {number} species, a = {a}",
                target,
                hard=number < 4 or target < -0.1 or a == 20,
            )
            for a in (5, 20)
            for number in species
            for target in targets
        ]
