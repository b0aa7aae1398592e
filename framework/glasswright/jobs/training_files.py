"""The files of a training beside its metrics: what it starts with, and what it ends with."""

from collections.abc import Sequence

import numpy as np

from ..config.carried import potential_as_text
from ..config.paths import fingerprints
from ..evaluation.design import DesignValues
from ..evaluation.measurement import Sample
from ..execution.executor import Executor
from ..run.directory import RunDirectory
from ..run.pictures import write_picture
from .experiment import Experiment
from .metrics import Metrics, TrainingResult
from .packing_text import packing_text
from .training_state import TrainingState


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
    if not experiment.sampler.is_population and experiment.keep_packings == 0:
        return []
    potential = experiment.problem.at(values).potential
    described = potential_as_text(potential, experiment.config)
    accepted = {
        sample.index: sample.prepared.configuration
        for sample in samples
        if sample.measurement is not None and sample.prepared is not None
    }
    if not experiment.sampler.is_population:
        # No process writes more texts than all of them keep.
        accepted = {index: accepted[index] for index in sorted(accepted)[: experiment.keep_packings]}
    own = {index: packing_text(potential, packing, described) for index, packing in accepted.items()}
    frames = list(executor.gather(own).values())
    return frames if experiment.sampler.is_population else frames[: experiment.keep_packings]


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
    from ..plots.quantities import quantities_of
    from ..plots.training import training_figure

    accepted = [sample.prepared for sample in samples if sample.measurement is not None and sample.prepared is not None]
    followed = accepted[0].configuration if accepted and experiment.sampler.is_population else None
    diameters = experiment.problem.at(state.values).potential.species_diameters
    if frames:
        name = "final.extxyz" if experiment.sampler.is_population else "packings.extxyz"
        output.write_text(name, "".join(frames))
    if frames_of_best:
        output.write_text("best.extxyz", "".join(frames_of_best))
    figure = training_figure(
        lines,
        quantities_of(experiment.terms),
        experiment.tolerance if experiment.can_succeed else 0.0,
        followed,
        None if diameters is None else np.asarray(diameters),
        experiment.system.n_species,
        experiment.plots,
    )
    write_picture(output.path, "training", figure, experiment.plots)
    # Last: a directory with a result is complete.
    output.write_json("result.json", result)
