"""Everything that the command line does, for scripts and notebooks."""

import contextlib
import dataclasses
import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ._errors import Interrupted
from ._types import JSON, Setting
from .execution.hosts import peers
from .jobs.experiment import Experiment
from .jobs.tracking import Callback, named_trackers
from .run.progress import is_notebook

if TYPE_CHECKING:
    from .config.data import DictConfig
    from .reports.result import Result

logger = logging.getLogger(__name__)


def compose(*overrides: str, command: str = "train") -> "DictConfig":
    """Compose a configuration as the command line does: `gw.compose("experiment=ensemble_poisson", "seed=3")`.

    **Arguments:**

    - `overrides`: what one would type, each a string.
    - `command`: a configured command, such as `train`, `validate`, `measure` or `analyse`.

    Returns an OmegaConf configuration, for `gw.build` and for the function of the command's name. Raises `RequestError`
    with one line that names the key for whatever is wrong.
    """
    from ._jax import prepare_jax
    from .commands.compose import compose_alone

    prepare_jax()
    return compose_alone(command, list(overrides))


def build(config: Mapping[str, Setting]) -> Experiment:
    """The `Experiment` that a composed configuration of `train` describes; everything about it is checked.

    Raises `RequestError` with one line that names the key for whatever is wrong.
    """
    from ._jax import prepare_jax
    from .commands.train import build as build_experiment

    prepare_jax()
    return build_experiment(config)


def train(
    *request: str | Mapping[str, Setting] | Experiment,
    directory: str | Path | None = None,
    overwrite: bool = False,
    progress: bool | None = None,
    callbacks: Sequence[Callback] = (),
) -> "Result":
    """Find interactions that give packings the properties somebody wants; returns what `result.json` holds.

    **Arguments:**

    - `request`: overrides (`gw.train("sampler.size=4", "train.steps=50")`), or one configuration, or one `Experiment`.
    - `directory`: where the files of the run go; None writes nothing.
    - `overwrite`: whether an earlier run in `directory` is removed; otherwise a directory that holds one is refused.
    - `progress`: whether to show it; None, the default, does in a notebook.
    - `callbacks`: what follows the training: trackers, and functions that are called with the line of metrics of each
      step. One that raises an error is named in a warning and left out.

    Raises `RequestError` if the request is wrong, and `RunError` if the run fails.
    """
    return _perform("train", request, directory, overwrite, progress, callbacks)


def resume(directory: str | Path, *overrides: str, progress: bool | None = None) -> "Result":
    """Go on with an interrupted training or validation, to the same end as if it had never been interrupted.

    **Arguments:**

    - `directory`: that of the run.
    - `overrides`: of what may change, such as `"train.steps=2000"`.
    - `progress`: whether to show it; None, the default, does in a notebook.

    Returns what `result.json` or `validation.json` holds.
    """
    from .commands.resume import resume as resume_run
    from .reports.result import Result, load
    from .run.listing import command_in

    folder = Path(directory).expanduser()
    try:
        _, report = resume_run(folder, list(overrides), progress=is_notebook() if progress is None else progress)
    except Interrupted as stop:
        if not is_notebook():
            raise
        logger.warning("%s", stop)
        return load(folder.absolute())
    return Result(report, command_in(folder) or "train", folder.absolute())


def load(directory: str | Path) -> "Result":
    """The result of the run in a directory, whoever has started it; of a run that has not ended, what there is.

    **Arguments:**

    - `directory`: of a training, validation, measurement or analysis.
    """
    from ._jax import prepare_jax
    from .reports.result import load as load_result

    prepare_jax()
    return load_result(Path(directory).expanduser())


def validate(
    *request: str | Mapping[str, Setting],
    directory: str | Path | None = None,
    overwrite: bool = False,
    progress: bool | None = None,
) -> "Result":
    """Measure a trained design on packings that no training has seen; returns what `validation.json` holds.

    **Arguments:**

    - `request`: overrides (`gw.validate("run=outputs/…", "n_configurations=100")`), or one configuration.
    - `directory`: where the files go; None writes nothing.
    - `overwrite`: whether an earlier run in `directory` is removed; otherwise a directory that holds one is refused.
    - `progress`: whether to show it; None, the default, does in a notebook.
    """
    return _perform("validate", request, directory, overwrite, progress)


def measure(
    *request: str | Mapping[str, Setting], directory: str | Path | None = None, overwrite: bool = False
) -> "Result":
    """Measure properties of an existing packing, and their gradients; returns what `measure.json` holds.

    **Arguments:**

    - `request`: overrides (`gw.measure("configuration=packing.extxyz", "gradient=true")`), or one configuration.
    - `directory`: where the files go; None writes nothing.
    - `overwrite`: whether an earlier run in `directory` is removed; otherwise a directory that holds one is refused.
    """
    return _perform("measure", request, directory, overwrite, False)


def analyse(
    *request: str | Mapping[str, Setting],
    directory: str | Path | None = None,
    overwrite: bool = False,
    progress: bool | None = None,
) -> "Result":
    """What a packing or an ensemble can become and at what cost; returns what `analysis.json` holds.

    Its bonds and its vibrations are other parts of it.

    **Arguments:**

    - `request`: overrides (`gw.analyse("configuration=packing.extxyz", "parts=[tunability]")`), or one configuration.
    - `directory`: where the files and pictures go; None writes nothing.
    - `overwrite`: whether an earlier run in `directory` is removed; otherwise a directory that holds one is refused.
    - `progress`: whether to show it; None, the default, does in a notebook.
    """
    return _perform("analyse", request, directory, overwrite, progress)


def export(directory: str | Path, *formats: str, design: str = "final") -> list[Path]:
    """Write the packings and the interactions of a training for other programs; returns the files.

    **Arguments:**

    - `directory`: that of the run; files go into its folder `export`.
    - `formats`: `"extxyz"` (the default), `"gsd"`, `"lammps"`.
    - `design`: the step that is meant: `"final"`, or `"best"`.
    """
    from .commands.export import export as export_run

    folder = Path(directory)
    return [folder / "export" / name for name in export_run(folder, formats or ("extxyz",), design=design)]


def _perform(
    name: str,
    given: tuple[str | Mapping[str, Setting] | Experiment, ...],
    directory: str | Path | None,
    overwrite: bool,
    progress: bool | None,
    callbacks: Sequence[Callback] = (),
) -> "Result":
    """Run a command on what was given: overrides, one configuration, or an experiment that is built already."""
    from ._jax import prepare_jax
    from .commands.table import load_command
    from .commands.together import check_together
    from .config.data import may_overwrite
    from .config.paths import paths_read
    from .jobs import train as job
    from .jobs.record import TrainingRecord
    from .reports.result import Result
    from .run.claim import claimed

    prepare_jax()
    command, processes = load_command(name), peers()
    config = _request(given, name)
    request: object = config
    reads: list[Path] = []
    if not isinstance(config, Experiment):
        overwrite, reads = overwrite or may_overwrite(config), paths_read(config)
        request = command.build(config, Path.cwd())
    check_together(processes, name, request, None if isinstance(config, Experiment) else config)
    if callbacks:
        assert isinstance(request, Experiment)
        request = dataclasses.replace(request, trackers={**request.trackers, **named_trackers(callbacks)})
    # The first process writes; the others only do their share of the work.
    # Absolute: callbacks and trackers may change where the process stands.
    folder = None if directory is None or processes.rank > 0 else Path(directory).expanduser().absolute()
    run: Callable[..., Mapping[str, JSON]] = command.run
    record = TrainingRecord(request) if isinstance(request, Experiment) else None
    if record is not None:
        run = functools.partial(job.train, record=record)
    with contextlib.ExitStack() as claim:
        if folder is not None:
            claim.enter_context(claimed(folder, f"directory={directory}", overwrite=overwrite, reads=reads))
        try:
            report = run(request, folder, progress=is_notebook() if progress is None else progress)
        except Interrupted as stop:
            # A script ends by it; in a notebook, what there is is of use.
            if record is None or not record.lines or not is_notebook():
                raise
            logger.warning("%s", stop)
            return Result(record.so_far(), name, folder, record)
    return Result(report, name, folder, record)


def _request(
    given: tuple[str | Mapping[str, Setting] | Experiment, ...], command: str
) -> Mapping[str, Setting] | Experiment:
    """The configuration or experiment that was given, or the one that overrides describe."""
    if len(given) == 1 and not isinstance(given[0], str):
        return given[0]
    overrides = [item for item in given if isinstance(item, str)]
    if len(overrides) < len(given):
        strange = next(item for item in given if not isinstance(item, str))
        raise TypeError(f"gw.{command}: takes overrides (texts) or one configuration, not both: {strange!r}")
    return compose(*overrides, command=command)
