"""What a training leaves in memory beside its result, for results that are looked at in a script or a notebook."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .._types import JSON
from ..evaluation.design import DesignValues
from ..evaluation.measurement import Sample, accepted_packings
from ..physics.configuration import Configuration
from ..physics.potential import AbstractPotential
from ..plots.options import PlotOptions
from ..run.reached import best_line
from .experiment import Experiment
from .metrics import Metrics, potential_parameters
from .training_files import picture
from .training_state import TrainingState

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass
class TrainingRecord:
    """The steps, the packings and the potential of a training, up to its last step so far.

    **Attributes:**

    - `lines`: metrics of all steps.
    - `packings`: those that this process has followed, in the order of their indices.
    - `values`: the last design that was measured; None before the first step.
    """

    experiment: Experiment
    lines: list[Metrics] = dataclasses.field(default_factory=list)
    packings: list[Configuration] = dataclasses.field(default_factory=list)
    values: DesignValues | None = None

    @property
    def potential(self) -> AbstractPotential | None:
        """The potential at the last design that was measured; None before the first step."""
        return None if self.values is None else self.experiment.problem.at(self.values).potential

    def keep(self, state: TrainingState, samples: Sequence[Sample], lines: list[Metrics]) -> None:
        """Keep what a step has come to."""
        self.lines = lines
        self.values = state.values
        if self.experiment.sampler.is_population:
            followed = accepted_packings(samples)
            self.packings = [followed[index] for index in sorted(followed)] or self.packings

    def so_far(self) -> dict[str, JSON]:
        """What a training that was interrupted has come to by now, by the keys of a result."""
        last = self.lines[-1]
        best = best_line(self.lines)
        potential = self.potential
        parameters = {} if potential is None else potential_parameters(potential)
        result = {
            "ended": "interrupted",
            "success": None,
            "loss": last["loss"],
            "steps": len(self.lines),
            "values": {name: term["value"] for name, term in last["terms"].items()},
            "losses": {name: term["loss"] for name, term in last["terms"].items()},
            "design": {**parameters, **last["design"]},
            "seconds": sum(line["seconds"] for line in self.lines),
        }
        if best is not None and self.experiment.sampler.is_population:
            values = {name: term["value"] for name, term in best["terms"].items()}
            result["best"] = {"step": best["step"], "loss": best["loss"], "design": best["design"], "values": values}
        return result

    def figure(self, options: PlotOptions) -> "Figure":
        """The picture of the training."""
        followed = self.packings[0] if self.packings else None
        return picture(self.experiment, self.lines, followed, self.potential, options)
