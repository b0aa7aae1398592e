"""The configured commands: check everything that was asked for first, then let Hydra run it.

Hydra creates the run directory before it calls the job, and calls callbacks before that. So the configuration of every
job is composed, built and checked here beforehand: only a request that is right gets a directory. A single run is
handed the request that was built. The jobs of a sweep compose and build their own, in the process of their launcher.
"""

import argparse
import functools
import logging
import sys
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from .._errors import RequestError, RunError, Stopped, named, one_line
from .._jax import prepare_jax
from ..commands.command import AnyCommand
from ..commands.compose import compose, start
from ..commands.table import load_command
from ..commands.together import check_together
from ..config.completion import complete, shell_of
from ..config.compose import (
    hydra_errors_explained,
    hydra_of_our_own,
    needs_no_run,
    notes,
    output_folder,
    planned_folder,
    planned_subfolder,
    presets,
    settle_folder,
    start_folder,
)
from ..config.data import may_overwrite
from ..config.loader import Hydra, argument_parser
from ..config.overrides import quoted_paths
from ..config.paths import paths_read
from ..config.sweep import is_basic_sweeper, jobs, n_directions
from ..execution.hosts import hosts_joined
from ..execution.peers import AbstractPeers
from ..registry.registry import registry
from ..run.claim import claimed, locked, new_folder, refuse_used
from ..run.progress import label
from .answers import Answers
from .diagnostics import diagnostics_of_job
from .failed_jobs import FailedJob, SweepStopped, describe_failures, failures_of, forget_failures, keep_failure
from .help import help_text
from .parser import Parser

logger = logging.getLogger(__name__)
# What a sweeper is given for a job: a loss, or that of each term.
Score = float | tuple[float | None, ...] | None


def run(name: str, arguments: list[str], answers: Answers | None = None) -> int:
    """Run a configured command; returns the exit code. What it shows is added to the answers, where they are given."""
    parser = parser_of(name)
    given = parser.parse_intermixed_args(arguments)
    given.overrides = quoted_paths(given.overrides)
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
    config_name = given.config_name or name
    with hydra_errors_explained(), hydra_of_our_own():
        instance = start(name, config_folder=given.config_path, extra_folder=given.config_dir)
        if any(shows):
            _show(instance, name, config_name, given, parser, answers)
        else:
            with hosts_joined() as peers:
                prepare_jax()
                _run(instance, name, config_name, given, peers)
    return 0


def parser_of(name: str) -> argparse.ArgumentParser:
    """Hydra's options, as those of a command."""
    parser = argument_parser()
    parser.__class__ = Parser
    parser.prog = f"glasswright {name}"
    return parser


def run_job(name: str, config: DictConfig) -> Score:
    """What Hydra calls for each job of a sweep, in whatever process; returns what its sweeper minimises.

    What failed, and why, is kept in the folder of the sweep. Hydra's own sweeper minimises nothing and goes on; others
    decide themselves how many failures they bear.
    """
    hydra = HydraConfig.get()
    number, overrides = int(hydra.job.num), tuple(hydra.overrides.task)
    print(f"glasswright: job {number}: {' '.join(overrides)}", file=sys.stderr)
    before = label.set(f"job {number}")
    try:
        with diagnostics_of_job(number):
            return _run_job(name, config)
    except Stopped as stop:
        raise SweepStopped(f"job {number} of the sweep was {stop}") from stop
    except Exception as error:
        reason = one_line(error) if isinstance(error, (RequestError, RunError)) else named(error)
        failed = FailedJob(number, overrides, reason)
        print(f"glasswright: failed: {failed}", file=sys.stderr)
        keep_failure(Path(hydra.sweep.dir), failed)
        if not is_basic_sweeper(hydra.sweeper):
            raise
        return None
    finally:
        label.reset(before)


def _run_job(name: str, config: DictConfig) -> Score:
    prepare_jax()
    command, folder = load_command(name), output_folder()
    request = command.build(config, start_folder())
    overwrite, reads = may_overwrite(config), paths_read(config)
    # Hydra has written its records already.
    with claimed(folder, f"hydra.sweep.dir={folder}", overwrite=overwrite, reads=reads, keep=[".hydra"]):
        return _perform(command, request, folder, n_directions(HydraConfig.get().sweeper))


def _run(instance: Hydra, name: str, config_name: str, given: argparse.Namespace, peers: AbstractPeers) -> None:
    command = load_command(name)
    config, overrides = _compose_run(instance, name, config_name, given)
    if config is None:
        if peers.count > 1:
            raise RequestError(
                f"--multirun: each of {peers.count} processes would run the whole sweep; start it in one process "
                "(`srun --ntasks=1`), with hydra/launcher=submitit_slurm or joblib for several jobs at a time; or set "
                "GLASSWRIGHT_HOSTS=off"
            )
        _sweep(instance, name, config_name, overrides)
        return
    request = _build(command, config)
    if peers.rank == 0:
        _show_notes(instance)
    check_together(peers, name, request, config)
    if peers.rank > 0:
        # The first process writes; the others only do their share of the work.
        command.run(request, None, progress=True)
        return
    failures: list[Exception] = []

    def attempt(_: DictConfig) -> Score:
        # Hydra would print about the failure; the command line has its own line.
        try:
            return _perform(command, request, output_folder())
        except Exception as error:
            failures.append(error)
            return None

    folder, named_by_time = planned_folder(config)
    if named_by_time:
        folder = new_folder(folder)
    settle_folder(instance, RunMode.RUN, folder)
    with claimed(folder, f"hydra.run.dir={folder}", overwrite=may_overwrite(config), reads=paths_read(config)):
        try:
            instance.run(config_name=config_name, task_function=attempt, overrides=overrides)
        except OSError as error:  # the job's own were caught above: what is left is Hydra's records
            raise RunError(f"cannot write into {folder}: {error.strerror or error}") from error
        if failures:
            raise failures[0]


def _sweep(instance: Hydra, name: str, config_name: str, overrides: list[str]) -> None:
    """Check all jobs of a sweep, and let Hydra run them in a folder that no other sweep works in."""
    command = load_command(name)
    overall = compose(name, overrides, instance=instance, config_name=config_name, run_mode=RunMode.MULTIRUN)
    folder, named_by_time = planned_folder(overall, RunMode.MULTIRUN)
    terms: list[str] = []
    owners: dict[str, int] = {}
    for number, job in enumerate(jobs(overall, overrides)):
        config = compose(name, job, instance=instance, config_name=config_name)
        terms = list(command.terms(_build(command, config)))
        _check_directions(overall, terms)
        subfolder = planned_subfolder(config, number)
        if owners.setdefault(subfolder, number) != number:
            raise RequestError(
                f"hydra.sweep.subdir={subfolder}: jobs {owners[subfolder]} and {number} of the sweep would share one "
                "folder; name it by ${hydra.job.num} or by what differs"
            )
        if not (named_by_time or may_overwrite(config)):
            refuse_used(folder / subfolder, f"hydra.sweep.dir={folder}")
    _show_notes(instance)
    if named_by_time:
        folder = new_folder(folder)
    settle_folder(instance, RunMode.MULTIRUN, folder)
    with locked(folder, f"hydra.sweep.dir={folder}"):
        forget_failures(folder)
        task = functools.partial(run_job, name)
        try:
            batches = instance.multirun(config_name=config_name, task_function=task, overrides=overrides)
        except SweepStopped as stop:
            raise Stopped(f"{stop}; what of the sweep was not begun is not done") from stop
        except Exception as error:  # of a sweeper that bears no more failures
            failed = failures_of(folder)
            if failed:
                raise RunError(describe_failures(failed)) from error
            raise
        if n_directions(overall.hydra.sweeper) > 1:
            _draw_front(folder, terms)
    failed = failures_of(folder)
    if failed and is_basic_sweeper(overall.hydra.sweeper):
        raise RunError(describe_failures(failed, sum(map(len, batches))))
    if failed:
        logger.warning("%s", describe_failures(failed))


def _draw_front(folder: Path, terms: list[str]) -> None:
    """Draw the losses of a sweep with several directions against each other, if any run has come to its end."""
    # Matplotlib is slow to import.
    from ..plots.options import DEFAULT_PLOTS
    from ..reports.drawing import front_of
    from ..run.pictures import write_picture

    try:
        figure = front_of(folder, terms, DEFAULT_PLOTS)
    except RequestError as error:
        logger.warning("there is no front to draw: %s", one_line(error))
        return
    for path in write_picture(folder, "front", figure, DEFAULT_PLOTS):
        print(f"front in {path}")


def _check_directions(overall: DictConfig, terms: list[str]) -> None:
    """Raise `RequestError` unless a sweeper that wants several numbers gets as many."""
    wanted = n_directions(overall.hydra.sweeper)
    if wanted > 1 and wanted != len(terms):
        listed = f"{len(terms)} ({', '.join(terms)})" if terms else "none"
        raise RequestError(
            f"hydra.sweeper.direction: has {wanted} directions, one for the loss of each term, and there are {listed}"
        )


def _compose_run(
    instance: Hydra, name: str, config_name: str, given: argparse.Namespace
) -> tuple[DictConfig | None, list[str]]:
    """The configuration of a single run (None for a sweep), and the overrides that Hydra is to be given."""
    overrides = list(given.overrides)
    sweep = [*overrides, "hydra.mode=MULTIRUN"]
    if given.multirun:
        return None, sweep
    if given.run:
        overrides.append("hydra.mode=RUN")
    try:
        config = compose(name, overrides, instance=instance, config_name=config_name)
    except RequestError:
        # The configuration may ask for a sweep by itself, whose values no single run can have.
        if _asks_for_a_sweep(instance, name, config_name, overrides):
            return None, sweep
        raise
    return (None, sweep) if config.hydra.mode == RunMode.MULTIRUN else (config, overrides)


def _asks_for_a_sweep(instance: Hydra, name: str, config_name: str, overrides: list[str]) -> bool:
    try:
        overall = compose(name, overrides, instance=instance, config_name=config_name, run_mode=RunMode.MULTIRUN)
    except RequestError:
        return False
    return bool(overall.hydra.mode == RunMode.MULTIRUN)


def _build(command: AnyCommand, config: DictConfig) -> object:
    """The request that a composed configuration describes, checked."""
    HydraConfig.instance().set_config(config)  # for interpolations of hydra.*
    return command.build(config, start_folder())


def _perform(command: AnyCommand, request: object, folder: Path, n_scores: int = 1) -> Score:
    """Do the work and show what it came to; returns what a sweeper minimises, one number or several."""
    report = command.run(request, folder, progress=True)
    for line in command.summarise(report, folder):
        print(line)
    failure = command.failure(report)
    if failure is not None:
        raise RunError(failure)
    return command.score(report) if n_scores == 1 else tuple(command.scores(report).values())


def _show(
    instance: Hydra,
    name: str,
    config_name: str,
    given: argparse.Namespace,
    parser: argparse.ArgumentParser,
    answers: Answers | None,
) -> None:
    """`--help`, `--cfg`, `--info`, completion: nothing runs, but what is shown has been checked."""
    if given.shell_completion or given.help:
        needs_no_run(instance)
    if given.shell_completion:
        shell = shell_of(given.overrides)
        if answers is None or shell is None:
            instance.shell_completion(config_name=config_name, overrides=given.overrides)
        else:
            complete(shell, config_name, answers.of("words"), instance.config_loader)
        return
    config = compose(name, given.overrides, instance=instance, config_name=config_name)
    HydraConfig.instance().set_config(config)
    _show_notes(instance)
    if given.help:
        text = help_text(name, load_command(name), config, registry(), presets(instance))
        if answers is not None:
            answers.of("help")[name] = text
        print(text, end="")
    elif given.hydra_help:
        instance.hydra_help(config_name=config_name, args_parser=parser, args=given)
    elif given.cfg is not None:
        _check_package(config, given.cfg, given.package)
        instance.show_cfg(
            config_name=config_name,
            overrides=given.overrides,
            cfg_type=given.cfg,
            package=given.package,
            resolve=given.resolve,
        )
    else:
        instance.show_info(given.info, config_name=config_name, overrides=given.overrides)


def _check_package(config: DictConfig, part: str, package: str | None) -> None:
    """Raise `RequestError` unless the configuration has what `--package` names."""
    if package in (None, "_global_"):
        return
    keys = [str(key) for key in config if part == "all" or (key == "hydra") == (part == "hydra")]
    shown = OmegaConf.masked_copy(config, keys)
    if OmegaConf.select(shown, package) is None:
        raise RequestError(f"--package {package}: --cfg {part} shows no such part of the configuration")


def _show_notes(instance: Hydra) -> None:
    for note in notes(instance):
        logger.info("note: %s", note)
