"""Going on with an interrupted run, whichever command it was."""

import logging
from collections.abc import Mapping
from pathlib import Path

from .._errors import RequestError, suggestion
from .._jax import prepare_jax
from .._types import JSON, Setting
from ..config.data import changed, plain, without
from ..config.instantiate import default_node
from ..config.overrides import parse
from ..config.paths import run_request
from ..config.security import check_targets
from ..execution.hosts import is_first_process, peers
from ..registry.registry import registry
from ..run.claim import locked
from .command import AnyCommand
from .table import COMMANDS, command_of, load_command
from .together import check_together
from .train import TrainNode

# What may change when a run goes on: nothing that has an effect on the steps already done.
RESUME_KEYS = ("train.steps", "train.checkpoint_interval", "train.rejection_limit", "devices", "chunk_size", "executor")

logger = logging.getLogger(__name__)


def resume(folder: Path, overrides: list[str], *, progress: bool) -> tuple[AnyCommand, Mapping[str, JSON]]:
    """Go on with the run in a folder; returns its command and its report.

    Raises `RequestError` if there is no run, if its command cannot go on, or if an override may not change.
    """
    prepare_jax()
    registry().check_strict()
    config = run_request(folder, "DIR")
    for override in overrides:
        key, value = _parsed(override)
        if key == "executor":
            # The keys of the one before are not those of this one.
            config, value = plain(without(config, [key])), default_node(registry().get("executor", str(value)), {})
        config = changed(config, key, value, {"train": TrainNode})
    check_targets(config, registry())
    name = command_of(config)
    if name is None:
        raise RequestError(f"DIR={folder}: is not a run of {', '.join(COMMANDS)}")
    command = load_command(name)
    if command.resumption is None:
        raise RequestError(f"DIR={folder}: is {command.noun}, which is not resumed; run it again")
    request = command.build(config, Path.cwd())
    check_together(peers(), f"resume ({name})", request, DIR=str(folder))
    report = command.resumption.finished(request, folder)
    if report is not None:
        if is_first_process():
            logger.info("nothing is left to do")
        return command, report
    if not is_first_process():
        return command, command.resumption.run(request, folder, progress=progress)
    with locked(folder, f"DIR={folder}"):
        # Somebody may have been at work in it until now.
        report = command.resumption.finished(request, folder)
        return command, report or command.resumption.run(request, folder, progress=progress)


def _parsed(override: str) -> tuple[str, Setting]:
    """The key and the value of an override, as Hydra reads it, if the key is one that may change."""
    name = override.partition("=")[0]
    if "=" not in override or (name not in RESUME_KEYS and not name.startswith("executor.")):
        raise RequestError(f"{override}: cannot be changed in a resumed run; {suggestion(name, RESUME_KEYS)}")
    return parse(override)
