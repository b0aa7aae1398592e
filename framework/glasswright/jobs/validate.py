"""Validation: measure fresh packings of a trained design, none of which the training has used."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np

from .._errors import RunError
from ..components.executor import AbstractExecutor, started
from ..components.objective import Term
from ..config.paths import fingerprints
from ..evaluation.design import Design
from ..evaluation.ensemble import VALIDATION, Ensemble
from ..evaluation.measurement import Sample
from ..evaluation.model import Model
from ..evaluation.problem import Problem
from ..evaluation.statistics import count_rejected, describe_rejected
from ..execution.signals import Terminated
from ..plots.options import DEFAULT_PLOTS, PlotOptions
from ..run.claim import resume_command
from ..run.directory import start_folder
from ..run.files import append_line, read_lines, write_atomically, write_json
from ..run.pictures import write_picture
from ..run.progress import progress_bar
from .validation_report import ConfigurationLine, ValidationReport, report_ensemble

# With fewer configurations a share of rejected ones says little.
LEAST_FOR_A_SHARE = 50


@dataclasses.dataclass(frozen=True)
class Validation:
    """What is to be validated.

    **Arguments:**

    - `models`: the model of each ensemble by name: `trained`, and `untrained` to compare with.
    - `numbers`: how many configurations of each.
    - `terms`: what is measured, and what was wanted of it (`NoObjective`: nothing).
    - `design`, `seed`: of the training; its configurations are not used again.
    - `rejection_limit`: largest share of rejected configurations.
    - `devices`, `chunk_size`, `plots`, `executor`: as in a training.
    - `config`: the resolved configuration this was built from, kept with the results.
    """

    models: Mapping[str, Model]
    numbers: Mapping[str, int]
    terms: Mapping[str, Term]
    design: Design
    seed: int = 0
    rejection_limit: float = 0.5
    devices: int | None = None
    chunk_size: int | None = None
    plots: PlotOptions = DEFAULT_PLOTS
    executor: AbstractExecutor | None = None
    config: str | None = None


def validate(
    request: Validation, directory: str | Path | None = None, *, progress: bool = True, resume: bool = False
) -> ValidationReport:
    """Measure fresh packings that no training has seen; returns what `validation.json` holds.

    Every configuration is a line of `configurations.jsonl`; with `resume`, those found there are not prepared again.
    """
    folder = None if directory is None else Path(directory)
    with started(request.executor, request.devices) as executor:
        if folder is not None and executor.rank == 0:
            # What an earlier validation left here would be taken for this one's.
            stale = () if resume else ("configurations.jsonl", "validation.json")
            start_folder(folder, request.config, stale, fingerprints(request.config))
        # The first process reads, and what it has read is valid for all: it soon goes on writing there.
        own = _read_configurations(folder) if folder is not None and executor.rank == 0 else []
        lines_before = executor.gather({executor.rank: own})[0]
        known = {(line["ensemble"], line["index"]): line for line in lines_before}
        total = sum(request.numbers.values())
        meter = progress_bar("validate", total, shown=progress and executor.rank == 0)
        lines: dict[str, list[ConfigurationLine]] = {}
        with meter as bar, Terminated() as stop:
            for name, model in request.models.items():
                indices = range(request.numbers[name])
                lines[name] = [known[name, k] for k in indices if (name, k) in known]
                bar.advance(len(lines[name]))
                missing = [k for k in indices if (name, k) not in known]
                problem = Problem(model, request.design, dict(request.terms))
                ensemble = Ensemble(
                    problem, request.seed, stream=VALIDATION, gradients=False, chunk_size=request.chunk_size
                )
                for samples in ensemble.rounds(executor, problem.initial_values, missing):
                    for sample in samples:
                        line = _line(name, sample)
                        lines[name].append(line)
                        if folder is not None and executor.rank == 0:
                            append_line(folder / "configurations.jsonl", line)
                    bar.advance(len(samples))
                    bar.describe(_describe(name, lines[name]))
                    _check_rejections(request, name, lines[name])
                    if executor.any_process(stop.requested):
                        hint = "" if folder is None else f"; go on with: {resume_command(folder)}"
                        raise stop.error(f"after {sum(map(len, lines.values()))} configurations{hint}")
        # In the order of the indices, whatever order an interruption has left.
        ordered = {name: sorted(of_ensemble, key=lambda line: line["index"]) for name, of_ensemble in lines.items()}
        reports = {name: report_ensemble(request.terms, of_ensemble) for name, of_ensemble in ordered.items()}
        report = cast(ValidationReport, reports.pop("trained") | reports)
        if folder is not None and executor.rank == 0:
            from ..plots.quantities import quantities_of
            from ..plots.validation import validation_figure

            figure = validation_figure(ordered, quantities_of(request.terms), request.plots)
            write_picture(folder, "validation", figure, request.plots)
            write_json(folder / "validation.json", report)
        return report


def _read_configurations(folder: Path) -> list[ConfigurationLine]:
    """The configurations that an interrupted validation has left, without a line that was cut short."""
    path = folder / "configurations.jsonl"
    lines = cast(list[ConfigurationLine], read_lines(path))
    if path.exists():
        write_atomically(path, "".join(json.dumps(line) + "\n" for line in lines))
    return lines


def _line(ensemble: str, sample: Sample) -> ConfigurationLine:
    measurement = sample.measurement
    values = None if measurement is None else {name: value.tolist() for name, value in measurement.values.items()}
    return {"ensemble": ensemble, "index": sample.index, "outcome": sample.outcome.name, "values": values}


def _check_rejections(request: Validation, ensemble: str, lines: Sequence[ConfigurationLine]) -> None:
    """Raise `RunError` if too many configurations of an ensemble were rejected to go on."""
    rejected = count_rejected(line["outcome"] for line in lines)
    total = sum(rejected.values())
    if len(lines) >= LEAST_FOR_A_SHARE and total > request.rejection_limit * len(lines):
        raise RunError(
            f"{total} of {len(lines)} {ensemble} configurations were rejected ({describe_rejected(rejected)}), more "
            f"than the share of {request.rejection_limit:g} that train.rejection_limit allows"
        )


def _describe(ensemble: str, lines: Sequence[ConfigurationLine]) -> str:
    """The means so far of an ensemble's scalar properties, and its rejections, in one row."""
    parts = [ensemble]
    accepted = [line["values"] for line in lines if line["values"] is not None]
    for name, value in (accepted[0] if accepted else {}).items():
        if isinstance(value, float):
            parts.append(f"{name} {np.mean([values[name] for values in accepted]):.5f}")
    parts += [f"{count} {name}" for name, count in count_rejected(line["outcome"] for line in lines).items()]
    return "  ".join(parts)
