"""`glasswright export`: the packings and the interactions of a run, written for other programs."""

from collections.abc import Sequence
from pathlib import Path

import jax.numpy as jnp

from .._errors import RequestError, suggestion
from .._jax import prepare_jax
from ..config.carried import potential_as_text
from ..config.paths import run_request
from ..config.security import check_targets
from ..exchange.formats import FORMATS
from ..jobs import export as job
from ..registry.registry import registry
from ..run.claim import locked
from ..run.directory import run_design
from ..run.extxyz import read_frames
from .train import TRAIN, build_experiment

# The files that packings are read from, by the design that is wanted: followed packings, then kept ones.
SOURCES = {"final": ("final.extxyz", "packings.extxyz"), "best": ("best.extxyz",)}


def export(folder: Path, formats: Sequence[str], *, design: str = "final") -> list[str]:
    """Write the packings of a training into its folder `export`; returns the names of the files.

    **Arguments:**

    - `folder`: the run directory.
    - `formats`: some of `exchange.formats.FORMATS`.
    - `design`: the step that is meant, `final` or `best`.

    Raises `RequestError` if it is no training that has ended, or if it cannot be written in one of the formats.
    """
    for name in formats:
        if name not in FORMATS:
            raise RequestError(f"--format {name}: no such format; {suggestion(name, FORMATS)}")
    prepare_jax()
    registry().check_strict()
    config = run_request(folder, "DIR")
    if not TRAIN.recognise(config):
        raise RequestError(f"DIR={folder}: is not a training; only trainings have packings to export")
    check_targets(config, registry())
    path = _packings_of(folder, design)
    experiment = build_experiment(config)
    values = {name: jnp.asarray(value, dtype=float) for name, value in run_design(folder, design).items()}
    potential = experiment.problem.at(values).potential
    with locked(folder, f"DIR={folder}"):
        described = potential_as_text(potential, experiment.config)
        chosen = list(dict.fromkeys(formats))
        return job.export(read_frames(path, "DIR"), potential, chosen, folder / "export", described)


def _packings_of(folder: Path, design: str) -> Path:
    """The file of the packings of a run that has ended."""
    names = SOURCES[design]
    path = next((folder / name for name in names if (folder / name).exists()), None)
    # What is there before a run has ended is of an earlier part of it, at another design.
    if path is None or not (folder / "result.json").exists():
        raise RequestError(
            f"DIR={folder}: has no {' and no '.join(names)}: it has not come to its end, or it keeps no packings; a "
            "run that follows none keeps some with train.keep_packings=N"
        )
    return path
