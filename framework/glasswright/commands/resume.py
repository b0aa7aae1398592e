import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from .._errors import RequestError, suggestion
from ..cli.parser import Parser
from ..config.security import check_targets
from ..execution.hosts import join_hosts
from ..registry.registry import registry
from ..run.directory import run_configuration
from .train import _print_result, build
from .validate import build_validation, print_validation

# What may change when a run goes on: nothing that has an effect on the steps already done.
RESUME_KEYS = ("train.steps", "train.checkpoint_interval", "train.rejection_limit", "devices", "chunk_size")


def resume(arguments: list[str]) -> int:
    """`glasswright resume DIR`: go on with a training or a validation that was interrupted."""
    parser = Parser(
        prog="glasswright resume",
        description="Go on with an interrupted run, to the same end as if it had never been interrupted.",
    )
    parser.add_argument("directory", metavar="DIR", help="directory of a training or validation")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help=f"possible: {', '.join(RESUME_KEYS)}")
    given = parser.parse_args(arguments)
    folder = Path(given.directory)
    show, result = go_on(folder, given.overrides)
    show(result, folder)
    return 0


def go_on(folder: Path, overrides: list[str], *, progress: bool = True) -> tuple[Callable[..., None], dict[str, Any]]:
    """Go on with a run; returns how to print its result, and the result."""
    from ..jobs.train import resume as resume_training
    from ..jobs.validate import validate

    join_hosts()
    registry().check_strict()
    config = OmegaConf.create(run_configuration(folder, "DIR"))
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals or key not in RESUME_KEYS:
            raise RequestError(f"{override}: cannot be changed in a resumed run; {suggestion(key, RESUME_KEYS)}")
        try:
            OmegaConf.update(config, key, yaml.safe_load(value), force_add=True)
        except (yaml.YAMLError, OmegaConfBaseException) as error:
            raise RequestError(f"{override}: cannot be read: {' '.join(str(error).split())}") from error
    check_targets(config, registry())
    if "parts" in config:
        raise RequestError(f"DIR={folder}: is an analysis, which is not resumed; run it again")
    if "trained" in config:
        done = (folder / "validation.json").exists()
        validation = build_validation(config)
        if done:
            return print_validation, _finished(folder, "validation.json")
        return print_validation, validate(validation, folder, resume=True, progress=progress)
    experiment = build(config)
    if (folder / "result.json").exists():
        result = _finished(folder, "result.json")
        if result.get("success") or experiment.steps <= result["steps"]:
            print("glasswright: nothing is left to do", file=sys.stderr)
            return _print_result, result
    return _print_result, resume_training(experiment, folder, progress=progress)


def _finished(folder: Path, name: str) -> dict[str, Any]:
    try:
        return json.loads((folder / name).read_text())
    except (OSError, ValueError) as error:
        raise RequestError(f"{folder / name}: cannot be read: {error}") from error
