import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from omegaconf import DictConfig, OmegaConf

from .._errors import RequestError, suggestion
from ..config.blocks import _wants_nothing, _without_hydra, plain
from ..config.compose import output_folder
from ..config.values import (
    check_names,
    integer,
)
from ..jobs.experiment import check_cutoff
from ..registry.registry import registry
from .train import _TRAIN_KEYS, build

_VALIDATE_KEYS = _TRAIN_KEYS | dict.fromkeys(("run", "n_configurations", "n_untrained", "trained"))


def build_validation(config: DictConfig | Mapping[str, Any]) -> Any:
    """The `Validation` that a configuration of `validate` describes."""
    from ..jobs.validate import Unjudged, Validation

    data = plain(_without_hydra(config))
    check_names(data, _VALIDATE_KEYS, "", "key")
    own = {name: data.pop(name, None) for name in ("run", "n_configurations", "n_untrained", "trained")}
    numbers = {
        "trained": integer(own["n_configurations"], "n_configurations", least=1),
        "untrained": integer(own["n_untrained"], "n_untrained", least=0),
    }
    unjudged = [name for name, node in (data.get("terms") or {}).items() if _wants_nothing(node)]
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


def validate_job(config: DictConfig) -> Any:
    """What Hydra calls for each job of `validate`; returns the loss."""
    from ..jobs.validate import validate

    folder = output_folder()
    report = validate(build_validation(config), folder)
    print_validation(report, folder)
    return report["loss"]


def help_validate(config: DictConfig) -> Any:
    """A process's share of a validation that another one writes down."""
    from ..jobs.validate import validate

    return validate(build_validation(config))


def print_validation(report: dict[str, Any], folder: Path) -> None:
    """The main numbers of a validation."""
    for title, one in (("trained", report), ("untrained", report.get("untrained"))):
        if one is None:
            continue
        counts = "".join(f", {count} {name}" for name, count in one["rejected"].items())
        print(f"{title}: {one['converged']} of {one['requested']} configurations converged{counts}")
        for name, entry in one["properties"].items():
            if isinstance(entry["mean"], float):
                error = "" if entry["standard_error"] is None else f" +- {entry['standard_error']:.6f}"
                print(f"  {name} {entry['mean']:.6f}{error}")
    if report["loss"] is not None:
        floor = "" if report["loss_floor"] is None else f", sampling floor {report['loss_floor']:.3e}"
        print(f"loss {report['loss']:.3e}{floor}")
    print(f"results in {folder}")
