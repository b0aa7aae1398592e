import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ..config.blocks import (
    _check_required,
    _chunk_size,
    _design,
    _devices,
    _require_terms,
    _system,
    _term,
    _without_hydra,
    plain,
)
from ..config.compose import output_folder
from ..config.instantiate import instantiate
from ..config.nodes import TrainNode
from ..config.values import (
    at_least_zero,
    check_names,
    integer,
    number,
    share,
)
from ..jobs.experiment import Experiment

_TRAIN_KEYS = dict.fromkeys(
    (
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
        "chunk_size",
    )
)


def build(config: DictConfig | Mapping[str, Any]) -> Experiment:
    """The experiment that a configuration of `train` describes.

    Raises `RequestError` with one line that names the key for everything that is wrong with it.
    """
    data = plain(_without_hydra(config))
    check_names(data, _TRAIN_KEYS, "", "key")
    _require_terms(data.get("terms"))
    _check_required(data)
    system = _system(data.get("system") or {})
    size = dataclasses.asdict(system) | {"density": float(system.density)}
    train = data.get("train") or {}
    check_names(train, TrainNode.__dataclass_fields__, "train", "key")
    train = dataclasses.asdict(TrainNode()) | train
    protocol = instantiate("protocol", data.get("protocol"), "protocol", size)
    experiment = Experiment(
        potential=instantiate("potential", data.get("potential"), "potential", size),
        system=system,
        protocol=protocol,
        sampler=instantiate("sampler", data.get("sampler"), "sampler", size),
        terms={name: _term(name, node, protocol, size) for name, node in data["terms"].items()},
        design=_design(data.get("design")),
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
        devices=_devices(data.get("devices", "auto")),
        chunk_size=_chunk_size(data.get("chunk_size", "auto")),
        config=OmegaConf.to_yaml(OmegaConf.create(data)),
    )
    _ = experiment.problem  # everything about it is checked
    return experiment


def train_job(config: DictConfig) -> Any:
    """What Hydra calls for each job of `train`; returns the loss, for sweepers that optimise."""
    from ..jobs.train import train

    folder = output_folder()
    result = train(build(config), directory=folder)
    _print_result(result, folder)
    return result["loss"]


def _print_result(result: dict[str, Any], folder: Path) -> None:
    end = {True: "target reached", False: "target not reached", None: "done"}[result["success"]]
    loss = "nothing accepted" if result["loss"] is None else f"loss {result['loss']:.3e}"
    print(f"{end} after {result['steps']} steps: {loss}, in {result['seconds']:.1f} s")
    print(f"results in {folder}")


def help_train(config: DictConfig) -> Any:
    """A process's share of a training that another one writes down."""
    from ..jobs.train import train

    return train(build(config))
