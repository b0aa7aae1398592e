"""Going on with an interrupted run, whichever command it was."""

import logging
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from .._errors import RequestError, suggestion
from ..config.security import check_targets
from ..execution.hosts import join_hosts
from ..registry.registry import registry
from ..run.directory import run_configuration
from .command import Command
from .table import COMMANDS, load_command

# What may change when a run goes on: nothing that has an effect on the steps already done.
RESUME_KEYS = ("train.steps", "train.checkpoint_interval", "train.rejection_limit", "devices", "chunk_size")

logger = logging.getLogger(__name__)


def resume(folder: Path, overrides: list[str], *, progress: bool) -> tuple[Command[Any, Any], Any]:
    """Go on with the run in a folder; returns its command and its report.

    Raises `RequestError` if there is no run, if its command cannot go on, or if an override may not change.
    """
    join_hosts()
    registry().check_strict()
    config = _changed(OmegaConf.create(run_configuration(folder, "DIR")), overrides)
    check_targets(config, registry())
    name = command_of(config)
    if name is None:
        raise RequestError(f"DIR={folder}: is not a run of {', '.join(COMMANDS)}")
    command = load_command(name)
    if command.resumption is None:
        raise RequestError(f"DIR={folder}: is {command.noun}, which is not resumed; run it again")
    request = command.build(config, Path.cwd())
    report = command.resumption.finished(request, folder)
    if report is not None:
        logger.info("nothing is left to do")
        return command, report
    return command, command.resumption.run(request, folder, progress=progress)


def command_of(config: DictConfig) -> str | None:
    """The name of the command that a run directory's configuration is of."""
    data = OmegaConf.to_container(config, resolve=False)
    assert isinstance(data, dict)
    keys = {str(key): value for key, value in data.items()}
    return next((name for name in COMMANDS if load_command(name).recognise(keys)), None)


def _changed(config: DictConfig, overrides: list[str]) -> DictConfig:
    """The configuration of a run with what may be changed in it."""
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals or key not in RESUME_KEYS:
            raise RequestError(f"{override}: cannot be changed in a resumed run; {suggestion(key, RESUME_KEYS)}")
        try:
            OmegaConf.update(config, key, yaml.safe_load(value), force_add=True)
        except (yaml.YAMLError, OmegaConfBaseException) as error:
            raise RequestError(f"{override}: cannot be read: {' '.join(str(error).split())}") from error
    return config
