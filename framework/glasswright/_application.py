"""`train`, `validate`, `measure` and `analyse`: check everything that was asked for first, then let Hydra run it.

Hydra creates the run directory before it calls the job, and calls callbacks before that. So the configuration
of every job is composed, checked and built here beforehand; only a request that is right gets a directory.
"""

import argparse
import contextlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import yaml
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.hydra import Hydra
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ._arguments import Parser
from ._compose import compose, start
from ._errors import RequestError, suggestion
from ._messages import explain
from ._runs import run_configuration
from ._security import check_targets
from ._team import join_hosts
from .config import build, build_measurement, build_validation
from .registry import registry

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


def train_job(config: DictConfig) -> Any:
    """What Hydra calls for each job of `train`; returns the loss, for sweepers that optimise."""
    from ._train import train

    folder = _output_folder()
    result = train(build(config), directory=folder)
    _print_result(result, folder)
    return result["loss"]


def _print_result(result: dict[str, Any], folder: Path) -> None:
    end = {True: "target reached", False: "target not reached", None: "done"}[result["success"]]
    loss = "nothing accepted" if result["loss"] is None else f"loss {result['loss']:.3e}"
    print(f"{end} after {result['steps']} steps: {loss}, in {result['seconds']:.1f} s")
    print(f"results in {folder}")


def measure_job(config: DictConfig) -> Any:
    """What Hydra calls for each job of `measure`."""
    from ._measure import measure

    folder = _output_folder()
    report = measure(build_measurement(config, _start_folder()), folder)
    for name, entry in report["properties"].items():
        if isinstance(entry["value"], float):
            print(f"{name} {entry['value']:.10g}")
    print(f"results in {folder}")
    return report


def validate_job(config: DictConfig) -> Any:
    """What Hydra calls for each job of `validate`; returns the loss."""
    from ._validate import validate

    folder = _output_folder()
    report = validate(build_validation(config), folder)
    print_validation(report, folder)
    return report["loss"]


def analyse_job(config: DictConfig) -> Any:
    """What Hydra calls for each job of `analyse`."""
    from ._analyse import analyse
    from ._analysis_request import build_analysis
    from ._analysis_summary import print_analysis

    folder = _output_folder()
    report = analyse(build_analysis(config, _start_folder()), folder)
    print_analysis(report)
    print(f"results in {folder}")
    return report


def help_train(config: DictConfig) -> Any:
    """A process's share of a training that another one writes down."""
    from ._train import train

    return train(build(config))


def help_validate(config: DictConfig) -> Any:
    """A process's share of a validation that another one writes down."""
    from ._validate import validate

    return validate(build_validation(config))


def help_analyse(config: DictConfig) -> Any:
    """A process's share of an analysis that another one writes down."""
    from ._analyse import analyse
    from ._analysis_request import build_analysis

    return analyse(build_analysis(config, _start_folder()))


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
    from ._train import resume as resume_training
    from ._validate import validate

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
        from ._analysis_request import build_analysis

        build_analysis(config, _start_folder())
        return
    from ._measure import check_measurable

    check_measurable(build_measurement(config, _start_folder()))


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
    from omegaconf.errors import OmegaConfBaseException

    try:
        yield
    except RequestError:
        raise
    except (HydraException, OmegaConfBaseException) as error:
        raise RequestError(explain(error)) from error


def _output_folder() -> Path:
    return Path(HydraConfig.get().runtime.output_dir)


def _start_folder() -> Path:
    return Path(HydraConfig.get().runtime.cwd)
