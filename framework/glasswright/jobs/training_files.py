"""The files of a training beside its metrics: what it starts with, and what it ends with."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..config.carried import potential_as_text
from ..config.paths import fingerprints
from ..evaluation.design import DesignValues
from ..evaluation.measurement import Sample, accepted_packings
from ..execution.executor import Executor
from ..physics.configuration import Configuration
from ..physics.potential import AbstractPotential
from ..plots.options import PlotOptions
from ..run.directory import RunDirectory
from ..run.pictures import write_picture
from .experiment import Experiment
from .metrics import Metrics, TrainingResult
from .packing_text import packing_text
from .training_state import TrainingState

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_start(output: RunDirectory, experiment: Experiment) -> None:
    """Write the configuration and the provenance of a run."""
    from ..run.provenance import provenance

    output.write_json("provenance.json", provenance(fingerprints(experiment.config)))
    if experiment.config is not None:
        output.write_text("config.yaml", experiment.config)


def final_frames(
    experiment: Experiment, executor: Executor, values: DesignValues, samples: Sequence[Sample]
) -> list[str]:
    """The packings of all processes that a run leaves, in the order of their indices: all processes have to call it.

    Each carries the potential at the values of the design that it was prepared with. Of packings that are not followed,
    as many are left as somebody wants to keep.
    """
    most = None if experiment.sampler.is_population else experiment.keep_packings
    if most == 0:
        return []
    potential = experiment.problem.at(values).potential
    described = potential_as_text(potential, experiment.config)
    accepted = accepted_packings(samples)
    # No process writes more texts than all of them keep.
    kept = accepted if most is None else dict(sorted(accepted.items())[:most])
    own = {index: packing_text(potential, packing, described) for index, packing in kept.items()}
    return list(executor.gather(own).values())[:most]


def write_end(
    output: RunDirectory,
    experiment: Experiment,
    state: TrainingState,
    samples: Sequence[Sample],
    lines: Sequence[Metrics],
    result: TrainingResult,
    frames: Sequence[str],
    frames_of_best: Sequence[str],
) -> None:
    """Write the packings, the pictures and, last, the result of a training."""
    accepted = list(accepted_packings(samples).values()) if experiment.sampler.is_population else []
    if frames:
        name = "final.extxyz" if experiment.sampler.is_population else "packings.extxyz"
        output.write_text(name, "".join(frames))
    if frames_of_best:
        output.write_text("best.extxyz", "".join(frames_of_best))
    potential = experiment.problem.at(state.values).potential
    figure = picture(experiment, lines, accepted[0] if accepted else None, potential, experiment.plots)
    write_picture(output.path, "training", figure, experiment.plots)
    # Last: a directory with a result is complete.
    output.write_json("result.json", result)


def picture(
    experiment: Experiment,
    lines: Sequence[Metrics],
    followed: Configuration | None,
    potential: AbstractPotential | None,
    options: PlotOptions,
) -> "Figure":
    """The picture of a training.

    **Arguments:**

    - `followed`: the first of the packings that it follows; None if it follows none.
    - `potential`: the interactions, which know the sizes of particles.
    """
    from ..plots.quantities import quantities_of
    from ..plots.training import training_figure

    diameters = None if potential is None else potential.species_diameters
    return training_figure(
        lines,
        quantities_of(experiment.terms),
        experiment.tolerance if experiment.can_succeed else 0.0,
        followed,
        None if diameters is None else np.asarray(diameters),
        experiment.system.n_species,
        options,
    )
