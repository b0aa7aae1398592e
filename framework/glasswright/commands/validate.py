"""`glasswright validate`: what a trained design gives on packings that it has never seen."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from omegaconf import DictConfig, OmegaConf

from .._errors import RequestError, suggestion
from ..config.blocks import is_open, plain, without_hydra
from ..config.nodes import SystemNode
from ..config.values import (
    check_names,
    integer,
)
from ..jobs import validate as job
from ..jobs.experiment import check_cutoff
from ..jobs.validate import Unjudged, Validation
from ..registry.registry import registry
from ..run.directory import read_json
from .command import NUMBERS_BY_NAME, Command, Resumption
from .train import SHARED, build

OWN = ("run", "n_configurations", "n_untrained", "trained")


def build_validation(config: DictConfig | Mapping[str, Any]) -> Validation:
    """The `Validation` that a configuration of `validate` describes."""
    data = plain(without_hydra(config))
    check_names(data, dict.fromkeys((*SHARED, *OWN)), "", "key")
    own = {name: data.pop(name, None) for name in OWN}
    numbers = {
        "trained": integer(own["n_configurations"], "n_configurations", least=1),
        "untrained": integer(own["n_untrained"], "n_untrained", least=0),
    }
    unjudged = [name for name, node in (data.get("terms") or {}).items() if is_open(node)]
    for name in unjudged:
        data["terms"][name]["objective"] = None
    kept = OmegaConf.to_yaml(OmegaConf.create(data | own))
    for name in unjudged:
        # A placeholder, so that all the rest is checked as in a training.
        data["terms"][name]["objective"] = {
            "_target_": registry().components("objective")["target"].target,
            "target": 0,
        }
    experiment = build(data)
    if experiment.potential.start is not None:
        raise RequestError(
            f"run={own['run']}: {type(experiment.potential).__name__} belongs to the one packing that it was trained "
            "on: there are no others to validate it on"
        )
    terms = {
        name: dataclasses.replace(term, objective=Unjudged()) if name in unjudged else term
        for name, term in experiment.terms.items()
    }
    problem = experiment.problem
    start = problem.initial_values
    trained = dict(start)
    for name, value in (own["trained"] or {}).items():
        if name not in start:
            raise RequestError(f"trained.{name}: no design variable of the run; {suggestion(name, start)}")
        number_of, expected = np.shape(value), start[name].shape
        if number_of != expected:
            raise RequestError(
                f"trained.{name}: the run has {number_of} numbers, this system needs {expected}; a design can only be "
                "validated with as many species as it was trained with"
            )
        trained[name] = jnp.asarray(value, dtype=float)
    models = {"trained": problem.at(trained), "untrained": problem.model}
    given = f"system.n_particles={experiment.system.n_particles}"
    check_cutoff(models["trained"].potential, models["trained"].system.largest_particles, given)
    return Validation(
        models={name: model for name, model in models.items() if numbers[name]},
        numbers=numbers,
        terms=terms,
        design=problem.design,
        seed=experiment.seed,
        rejection_limit=experiment.rejection_limit,
        devices=experiment.devices,
        chunk_size=experiment.chunk_size,
        config=kept,
    )


def summarise(report: Mapping[str, Any], folder: Path) -> list[str]:
    """The main numbers of a validation."""
    lines = []
    for title, ensemble in (("trained", report), ("untrained", report.get("untrained"))):
        if ensemble is None:
            continue
        counts = "".join(f", {count} {name}" for name, count in ensemble["rejected"].items())
        lines.append(f"{title}: {ensemble['converged']} of {ensemble['requested']} configurations converged{counts}")
        for name, entry in ensemble["properties"].items():
            if isinstance(entry["mean"], float):
                error = "" if entry["standard_error"] is None else f" +- {entry['standard_error']:.6f}"
                lines.append(f"  {name} {entry['mean']:.6f}{error}")
    if report["loss"] is not None:
        floor = "" if report["loss_floor"] is None else f", sampling floor {report['loss_floor']:.3e}"
        lines.append(f"loss {report['loss']:.3e}{floor}")
    return [*lines, f"results in {folder}"]


def _run(request: Validation, directory: Path | None, *, progress: bool) -> dict[str, Any]:
    return job.validate(request, directory, progress=progress)


def _resume(request: Validation, directory: Path | None, *, progress: bool) -> dict[str, Any]:
    return job.validate(request, directory, progress=progress, resume=True)


def _finished(request: Validation, folder: Path) -> dict[str, Any] | None:
    """The report of a validation that has come to its end."""
    path = folder / "validation.json"
    return read_json(path) if path.exists() else None


VALIDATE: Command[Validation, dict[str, Any]] = Command(
    noun="a validation",
    shared=SHARED,
    own={
        "run": {"type": "string"},
        "n_configurations": {"type": "integer", "minimum": 1},
        "n_untrained": {"type": "integer", "minimum": 0},
        "trained": NUMBERS_BY_NAME,
    },
    # `trained`: the design variables that the run has reached, filled in from its directory. `system`: a run of an
    # earlier version may not know all of its keys.
    nodes={"validate_base": {"terms": {}, "system": SystemNode, "trained": {}}},
    build=lambda config, folder: build_validation(config),
    run=_run,
    summarise=summarise,
    score=lambda report: report["loss"],
    recognise=lambda keys: "trained" in keys and "parts" not in keys,
    resumption=Resumption(finished=_finished, run=_resume),
)
