"""`train`, `validate`, `measure` and `analyse`: check everything that was asked for first, then let Hydra run it.

Hydra creates the run directory before it calls the job, and calls callbacks before that. So the configuration
of every job is composed, checked and built here beforehand; only a request that is right gets a directory.
"""

import argparse
import contextlib
import sys
from collections.abc import Callable
from typing import Any

import jax
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.hydra import Hydra
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from .._errors import RequestError
from ..commands.analyse import analyse_job, help_analyse
from ..commands.measure import build_measurement, measure_job
from ..commands.train import build, help_train, train_job
from ..commands.validate import build_validation, help_validate, validate_job
from ..config.compose import compose, start, start_folder
from ..config.messages import explain
from ..execution.hosts import join_hosts
from .parser import Parser

# Jobs of a sweep that are checked before any runs.
MOST_CHECKED_JOBS = 100


def run(command: str, arguments: list[str]) -> int:
    """Run one of the commands that Hydra configures."""
    parser = _parser(command)
    given = parser.parse_intermixed_args(arguments)
    if given.experimental_rerun is not None:
        raise RequestError("--experimental-rerun: refused, it would execute what is in a pickle")
    shows = [
        given.help,
        given.hydra_help,
        given.cfg is not None,
        given.info is not None,
        given.shell_completion,
    ]
    if sum([given.run, given.multirun, *shows]) > 1:
        raise RequestError("only one of --run, --multirun, --cfg, --info, --help and --shell-completion is possible")
    config_name = given.config_name or command
    with _quiet_on_errors():
        instance = start(command, config_folder=given.config_path, extra_folder=given.config_dir)
        try:
            if any(shows):
                _show(instance, config_name, given, parser)
            else:
                _run(instance, command, config_name, given)
        finally:
            GlobalHydra.instance().clear()
    return 0


JOBS: dict[str, Callable[[DictConfig], Any]] = {
    "analyse": analyse_job,
    "train": train_job,
    "validate": validate_job,
    "measure": measure_job,
}
# The same in a process that works for another one, which writes the files.
HELPERS: dict[str, Callable[[DictConfig], Any]] = {
    "analyse": help_analyse,
    "train": help_train,
    "validate": help_validate,
    "measure": measure_job,
}


def check(command: str, config: DictConfig) -> None:
    """Build everything that a composed configuration describes, and drop it again; raises `RequestError`."""
    HydraConfig.instance().set_config(config)  # for interpolations of hydra.*
    if command == "train":
        build(config)
        return
    if command == "validate":
        build_validation(config)
        return
    if command == "analyse":
        from ..commands.analyse import build_analysis

        build_analysis(config, start_folder())
        return
    from ..jobs.measure import check_measurable

    check_measurable(build_measurement(config, start_folder()))


def _run(instance: Hydra, command: str, config_name: str, given: argparse.Namespace) -> None:
    overrides = list(given.overrides)
    join_hosts()
    mode = RunMode.MULTIRUN if given.multirun else RunMode.RUN
    overall = compose(command, overrides, instance=instance, config_name=config_name, run_mode=RunMode.MULTIRUN)
    if overall.hydra.mode == RunMode.MULTIRUN:
        mode = RunMode.MULTIRUN
    overrides.append(f"hydra.mode={mode.name}")
    for job in _jobs(overall, overrides) if mode == RunMode.MULTIRUN else [overrides]:
        check(command, compose(command, job, instance=instance, config_name=config_name))
    for note in instance.config_loader.notes:  # type: ignore[attr-defined]
        print(f"glasswright: note: {note}", file=sys.stderr)
    if mode == RunMode.MULTIRUN:
        instance.multirun(config_name=config_name, task_function=JOBS[command], overrides=overrides)
        return
    if jax.process_index() > 0:
        # The first process writes; the others only lend a hand.
        HELPERS[command](compose(command, overrides, instance=instance, config_name=config_name))
        return
    failures: list[BaseException] = []

    def attempt(config: DictConfig) -> Any:
        # Hydra would print about the failure; the command line has its own line.
        try:
            return JOBS[command](config)
        except Exception as error:
            failures.append(error)
            return None

    try:
        instance.run(config_name=config_name, task_function=attempt, overrides=overrides)
    except OSError as error:  # the job's own were caught above: what is left is making the directory
        raise RequestError(f"hydra.run.dir: cannot be written: {error}") from error
    if failures:
        raise failures[0]


def _jobs(overall: DictConfig, overrides: list[str]) -> list[list[str]]:
    """The overrides of every job of a sweep; for sweepers other than Hydra's own, one that stands for all."""
    parsed = OverridesParser.create().parse_overrides(overrides)
    sweeper = overall.hydra.sweeper
    parameters: Any = OmegaConf.to_container(sweeper.params) if sweeper.get("params") else {}
    named = OverridesParser.create().parse_overrides([f"{key}={value}" for key, value in (parameters or {}).items()])
    given = {override.get_key_element() for override in parsed}
    parsed += [override for override in named if override.get_key_element() not in given]
    own: list[Any] = [override for override in parsed if not override.is_hydra_override()]
    hydra_overrides: list[Any] = [
        o.input_line for o in parsed if o.is_hydra_override() and o.key_or_group != "hydra.mode"
    ]
    if str(sweeper.get("_target_", "")).endswith("BasicSweeper"):
        jobs = [job for batch in BasicSweeper.split_arguments(own, None) for job in batch][:MOST_CHECKED_JOBS]
    else:
        jobs = [[str(_representative(override)) for override in own]]
    return [[*hydra_overrides, *job] for job in jobs]


def _representative(override: Any) -> str:
    if not override.is_sweep_override():
        return override.input_line
    key = override.get_key_element()
    if override.is_discrete_sweep():
        return f"{key}={next(iter(override.sweep_string_iterator()))}"
    return f"{key}={override.value().start}"


def _show(instance: Hydra, config_name: str, given: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """`--help`, `--cfg`, `--info`, completion: nothing runs, but what is shown has been checked."""
    if given.shell_completion:
        instance.shell_completion(config_name=config_name, overrides=given.overrides)
        return
    config = compose(config_name, given.overrides, instance=instance, config_name=config_name)
    HydraConfig.instance().set_config(config)
    for note in instance.config_loader.notes:  # type: ignore[attr-defined]
        print(f"glasswright: note: {note}", file=sys.stderr)
    if given.help:
        instance.app_help(config_name=config_name, args_parser=parser, args=given)
    elif given.hydra_help:
        instance.hydra_help(config_name=config_name, args_parser=parser, args=given)
    elif given.cfg is not None:
        instance.show_cfg(
            config_name=config_name,
            overrides=given.overrides,
            cfg_type=given.cfg,
            package=given.package,
            resolve=given.resolve,
        )
    else:
        instance.show_info(given.info, config_name=config_name, overrides=given.overrides)


def _parser(command: str) -> argparse.ArgumentParser:
    parser = get_args_parser()
    parser.__class__ = Parser
    parser.prog = f"glasswright {command}"
    return parser


@contextlib.contextmanager
def _quiet_on_errors():
    """Errors of Hydra and OmegaConf on the way become requests that were wrong."""
    from hydra.errors import HydraException

    try:
        yield
    except RequestError:
        raise
    except (HydraException, OmegaConfBaseException) as error:
        raise RequestError(explain(error)) from error
