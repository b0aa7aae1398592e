"""`glasswright train`: find interactions that give packings the properties somebody wants."""

import dataclasses
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from .._errors import RequestError
from .._types import JSON, Setting
from ..components.objective import AbstractObjective
from ..config.blocks import (
    build_chunk_size,
    build_design,
    build_devices,
    build_plots,
    build_term,
    drop_open_objectives,
    require_terms,
)
from ..config.data import Config, to_yaml
from ..config.instantiate import instantiate
from ..config.nodes import PlotsNode, field_types, node_class
from ..config.systems import build_system, plain_request, system_size
from ..config.values import (
    at_least_zero,
    check_names,
    integer,
    number,
    require_values,
    share,
)
from ..evaluation.design import trainable_leaves
from ..evaluation.estimator import Variable
from ..jobs import train as job
from ..jobs.experiment import Experiment
from ..physics.potential import AbstractPotential
from ..run.directory import RunDirectory
from ..run.files import read_json
from .command import Command, Resumption

# The keys of a training; other commands share some of them.
SHARED = (
    "potential",
    "system",
    "protocol",
    "sampler",
    "terms",
    "design",
    "combination",
    "optimizer",
    "train",
    "seed",
    "devices",
    "executor",
    "chunk_size",
    "plots",
    "trackers",
)
# How long to train.
TrainNode = node_class(
    "TrainNode",
    Experiment,
    (
        "steps",
        "tolerance",
        "checkpoint_interval",
        "rejection_limit",
        "clip",
        "keep_packings",
        "trajectory_interval",
    ),
)
# What `conf/train.yaml` builds on.
BASE = {"train_base": {"terms": {}, "train": TrainNode, "design": {}, "plots": PlotsNode, "trackers": {}}}


def build(config: Config, folder: Path | None = None) -> Experiment:
    """The experiment that a configuration of `train` describes; file names are relative to `folder`.

    Raises `RequestError` with one line that names the key for everything that is wrong with it.
    """
    return build_experiment(plain_request(config, folder or Path.cwd()))


def build_experiment(
    data: dict[str, Setting], *, open_objective: AbstractObjective | None = None, all_may_vary: bool = False
) -> Experiment:
    """The experiment that plain data describes, checked. Names of files in `data` are replaced by their numbers.

    **Arguments:**

    - `open_objective`: the objective of terms whose own is missing or has no target yet; None refuses such terms.
    - `all_may_vary`: whether every array of the potential is a design variable where none is named.
    """
    if open_objective is not None:
        drop_open_objectives(data.get("terms") or {})
    check_names(data, dict.fromkeys(SHARED), "", "key")
    require_terms(data.get("terms"))
    require_values(data)
    system = build_system(data.get("system") or {})
    size = system_size(system)
    train = data.get("train") or {}
    check_names(train, field_types(TrainNode), "train", "key")
    train = dataclasses.asdict(TrainNode()) | train
    protocol = instantiate("protocol", data.get("protocol"), "protocol", size)
    potential = instantiate("potential", data.get("potential"), "potential", size)
    design = build_design(data.get("design"))
    experiment = Experiment(
        potential=potential,
        system=system,
        protocol=protocol,
        sampler=instantiate("sampler", data.get("sampler"), "sampler", size),
        terms={name: build_term(name, node, protocol, size, open_objective) for name, node in data["terms"].items()},
        design=all_arrays(potential) if all_may_vary and not design else design,
        optimizer=instantiate("optimizer", data.get("optimizer"), "optimizer", size),
        combination=None
        if data.get("combination") is None
        else instantiate("combination", data["combination"], "combination", size),
        steps=integer(train["steps"], "train.steps", least=1),
        tolerance=at_least_zero(train["tolerance"], "train.tolerance"),
        seed=integer(data.get("seed", 0), "seed", least=0),
        checkpoint_interval=integer(train["checkpoint_interval"], "train.checkpoint_interval", least=1),
        rejection_limit=share(train["rejection_limit"], "train.rejection_limit"),
        clip=None if train["clip"] is None else number(train["clip"], "train.clip"),
        keep_packings=integer(train["keep_packings"], "train.keep_packings", least=0),
        trajectory_interval=None
        if train["trajectory_interval"] is None
        else integer(train["trajectory_interval"], "train.trajectory_interval", least=1),
        devices=build_devices(data.get("devices", "auto")),
        chunk_size=build_chunk_size(data.get("chunk_size", "auto")),
        plots=build_plots(data.get("plots")),
        trackers={
            name: instantiate("tracker", node, f"trackers.{name}", size)
            for name, node in (data.get("trackers") or {}).items()
        },
        executor=None if data.get("executor") is None else instantiate("executor", data["executor"], "executor", size),
        config=to_yaml(data),
    )
    _ = experiment.problem  # everything about it is checked
    return experiment


def all_arrays(potential: AbstractPotential) -> dict[str, tuple[float, float] | Variable]:
    """Every array of the potential, without bounds: what varies where nobody says what does."""
    return dict.fromkeys(trainable_leaves({"potential": potential}), (-float("inf"), float("inf")))


def summarise(result: Mapping[str, JSON], folder: Path) -> list[str]:
    """How a training ended."""
    end = {True: "target reached", False: "target not reached", None: "done"}[result["success"]]
    loss = "nothing accepted" if result["loss"] is None else f"loss {result['loss']:.3e}"
    lines = [f"{end} after {result['steps']} steps: {loss}, in {result['seconds']:.1f} s"]
    best = result.get("best")
    if best is not None and not result["success"] and _is_clearly_better(best["loss"], result["loss"]):
        lines.append(
            f"best was step {best['step']} with loss {best['loss']:.3e}: see best.extxyz, and best in result.json"
        )
    if "average" in result and result["loss"] is not None:
        of = f"of steps {result['average']['first_step']} to {result['average']['last_step']}"
        command = f"glasswright validate {shlex.quote(f'run={folder}')} design_of=average"
        lines.append(f"the average design {of} can be validated as well: {command}")
    return [*lines, f"results in {folder}"]


def _failure(result: Mapping[str, JSON]) -> str | None:
    """Why a training that has come to its end has trained nothing; None if it has."""
    if result["loss"] is not None:
        return None
    reasons = ", ".join(f"{number} {reason}" for reason, number in result["rejected"].items())
    return f"nothing was trained: none of {result['requested']} packings could be measured ({reasons})"


def _is_clearly_better(best: float, last: float | None) -> bool:
    """Whether a loss is below another one by more than half of it."""
    return last is not None and last - best > 0.5 * abs(last)


def _run(request: Experiment, directory: Path | None, *, progress: bool) -> job.TrainingResult:
    return job.train(request, directory, progress=progress)


def _resume(request: Experiment, directory: Path | None, *, progress: bool) -> job.TrainingResult:
    assert directory is not None
    return job.resume(request, directory, progress=progress)


def _finished(request: Experiment, folder: Path) -> job.TrainingResult | None:
    """The result of a training that has reached its target or its last step."""
    made = len(RunDirectory.read_metrics(folder))
    if request.steps < made:
        raise RequestError(f"train.steps={request.steps}: the run has made {made} steps already; give at least as many")
    if not (folder / "result.json").exists():
        return None
    result = cast(job.TrainingResult, read_json(folder / "result.json"))
    lost = result.get("ended") in ("diverged", "out_of_bounds")
    return result if result.get("success") or lost or request.steps <= result["steps"] else None


TRAIN: Command[Experiment, job.TrainingResult] = Command(
    noun="a training",
    shared=SHARED,
    nodes=BASE,
    build=build,
    run=_run,
    summarise=summarise,
    failure=_failure,
    score=lambda result: result["loss"],
    terms=lambda request: request.terms,
    scores=lambda result: result["losses"],
    recognise=lambda keys: "optimizer" in keys and not {"trained", "parts"} & keys.keys(),
    resumption=Resumption(finished=_finished, run=_resume),
)
