"""From overrides to the composed configuration of a command."""

from collections.abc import Mapping

from .._types import Setting
from ..config import compose as composition
from ..config.compose import DictConfig, Hydra, RunMode
from ..config.data import closed, without_hydra
from ..config.overrides import quoted_paths
from .table import command_of, load_command


def start(command: str, config_folder: str | None = None, extra_folder: str | None = None) -> Hydra:
    """A Hydra that composes the configurations of a command; it becomes the global one of this process.

    `config_folder` replaces the folder with the primary configuration, `extra_folder` is searched first.
    """
    return composition.start(command, load_command(command).nodes, noun_of_run, config_folder, extra_folder)


def noun_of_run(configuration: Mapping[str, Setting]) -> str:
    """What a run with this configuration is called, with its article."""
    name = command_of(configuration)
    return "no run of any command" if name is None else load_command(name).noun


def compose(
    command: str,
    overrides: list[str] | None = None,
    *,
    instance: Hydra | None = None,
    config_name: str | None = None,
    run_mode: RunMode = RunMode.RUN,
    config_folder: str | None = None,
    extra_folder: str | None = None,
) -> DictConfig:
    """The configuration that overrides describe, checked to name nothing but known components.

    Returns it with its `hydra` node. Raises `RequestError` with one clear line for whatever is wrong.
    """
    with composition.explained():
        if instance is None:
            instance = start(command, config_folder, extra_folder)
        return composition.compose(instance, config_name or command, quoted_paths(overrides or []), run_mode)


def compose_alone(command: str, overrides: list[str]) -> DictConfig:
    """The configuration that overrides describe, without its `hydra` node; Hydra's globals stay as they were."""
    with composition.hydra_of_our_own():
        return closed(without_hydra(compose(command, overrides)))
