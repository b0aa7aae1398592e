"""`glasswright validate`: what a trained design gives on packings that it has never seen."""

from collections.abc import Mapping
from pathlib import Path
from typing import cast

from .._errors import RequestError
from .._types import JSON
from ..components.objective import NoObjective
from ..config.data import Config
from ..config.nodes import PlotsNode
from ..config.systems import plain_request
from ..config.values import (
    check_names,
    integer,
)
from ..evaluation.estimator import COMPOSITION
from ..jobs import validate as job
from ..jobs.validate import Validation
from ..jobs.validation_report import ValidationReport
from ..run.files import read_json
from ..run.reached import DESIGNS
from .command import NUMBERS_BY_NAME, Command, Resumption, described
from .train import SHARED
from .trained import build_trained

OWN = ("run", "design_of", "n_configurations", "n_untrained", "trained")


def build_validation(config: Config, folder: Path | None = None) -> Validation:
    """The `Validation` that a configuration of `validate` describes; file names are relative to `folder`."""
    data = plain_request(config, folder or Path.cwd())
    check_names(data, dict.fromkeys((*SHARED, *OWN)), "", "key")
    own = {name: data.pop(name, None) for name in OWN}
    numbers = {
        "trained": integer(own["n_configurations"], "n_configurations", least=1),
        "untrained": integer(own["n_untrained"], "n_untrained", least=0),
    }
    trained = build_trained(data, own)
    experiment = trained.experiment
    if experiment.potential.start is not None:
        raise RequestError(
            f"run={own['run']}: {type(experiment.potential).__name__} belongs to the one packing that it was trained "
            "on: there are no others to validate it on"
        )
    if own["design_of"] == "best" and not experiment.sampler.is_population:
        raise RequestError(
            "design_of=best: each step of this run saw another sample, and the lowest loss is a matter of chance; "
            "possible: final, average"
        )
    available = experiment.system.n_configurations
    for key, wanted in (("n_configurations", numbers["trained"]), ("n_untrained", numbers["untrained"])):
        if available is not None and wanted > available:
            raise RequestError(
                f"{key}={wanted}: the system has {available} configurations; set n_configurations and n_untrained to "
                f"at most {available}"
            )
    try:
        models = {"trained": trained.model.with_fixed_species(), "untrained": experiment.model.with_fixed_species()}
    except ValueError as error:
        raise RequestError(f"trained.composition: {error}") from error
    design = experiment.problem.design
    return Validation(
        models={name: model for name, model in models.items() if numbers[name]},
        numbers=numbers,
        terms=experiment.terms,
        # Fixed numbers of particles are no variables.
        design=design.where(path != COMPOSITION for path in design.paths),
        seed=experiment.seed,
        rejection_limit=experiment.rejection_limit,
        devices=experiment.devices,
        chunk_size=experiment.chunk_size,
        plots=experiment.plots,
        executor=experiment.executor,
        config=trained.config,
    )


def summarise(report: Mapping[str, JSON], folder: Path) -> list[str]:
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


def _run(request: Validation, directory: Path | None, *, progress: bool) -> ValidationReport:
    return job.validate(request, directory, progress=progress)


def _resume(request: Validation, directory: Path | None, *, progress: bool) -> ValidationReport:
    return job.validate(request, directory, progress=progress, resume=True)


def _finished(request: Validation, folder: Path) -> ValidationReport | None:
    """The report of a validation that has come to its end."""
    path = folder / "validation.json"
    return cast(ValidationReport, read_json(path)) if path.exists() else None


VALIDATE: Command[Validation, ValidationReport] = Command(
    noun="a validation",
    shared=SHARED,
    own={
        "run": described({"type": "string"}, "directory of a training, finished or not"),
        "design_of": described({"enum": list(DESIGNS)}, f"which design of the run, {', '.join(DESIGNS)}"),
        "n_configurations": described({"type": "integer", "minimum": 1}, "number of fresh packings of that design"),
        "n_untrained": described({"type": "integer", "minimum": 0}, "number of packings of the design before training"),
        "trained": described(NUMBERS_BY_NAME, "the trained values, filled in from the run"),
    },
    # `trained`: the design variables that the run has reached, filled in from its directory.
    nodes={"validate_base": {"terms": {}, "trained": {}, "plots": PlotsNode}},
    build=build_validation,
    run=_run,
    summarise=summarise,
    score=lambda report: report["loss"],
    terms=lambda request: [name for name, term in request.terms.items() if not isinstance(term.objective, NoObjective)],
    scores=lambda report: {name: entry["loss"] for name, entry in report["properties"].items() if "loss" in entry},
    recognise=lambda keys: "trained" in keys and not {"parts", "configuration"} & keys.keys(),
    resumption=Resumption(finished=_finished, run=_resume),
)
