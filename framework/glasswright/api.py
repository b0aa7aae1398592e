"""Everything that the command line does, for scripts and notebooks."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .jobs.experiment import Experiment


def compose(*overrides: str, command: str = "train") -> Any:
    """Compose a configuration as the command line does: `gw.compose("experiment=ensemble_poisson", "seed=3")`.

    **Arguments:**

    - `overrides`: what one would type, each a string.
    - `command`: `train`, `validate`, `measure` or `analyse`.

    Returns an OmegaConf configuration, for `gw.build` and for the function of the command's name. Raises `RequestError`
    with one line that names the key for whatever is wrong.
    """
    from hydra.core.global_hydra import GlobalHydra
    from omegaconf import OmegaConf

    from ._errors import RequestError, suggestion
    from .cli.parser import CONFIGURED
    from .config.compose import compose as compose_with_hydra

    if command not in CONFIGURED:
        raise RequestError(f"command={command!r}: no such command; {suggestion(command, CONFIGURED)}")
    try:
        config = compose_with_hydra(command, list(overrides))
    finally:
        GlobalHydra.instance().clear()
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])


def build(config: Mapping[str, Any]) -> Experiment:
    """The `Experiment` that a composed configuration of `train` describes; everything about it is checked.

    Raises `RequestError` with one line that names the key for whatever is wrong.
    """
    from .commands.train import build as build_experiment

    return build_experiment(config)


def train(
    *request: str | Mapping[str, Any] | Experiment, directory: str | Path | None = None, progress: bool = False
) -> dict[str, Any]:
    """Find interactions that give packings the properties somebody wants; returns what `result.json` holds.

    **Arguments:**

    - `request`: overrides (`gw.train("sampler.size=4", "train.steps=50")`), or one configuration, or one `Experiment`.
    - `directory`: where the files of the run go; None writes nothing.
    - `progress`: whether to show it on standard error.

    Raises `RequestError` if the request is wrong, and `RunError` if the run fails.
    """
    from .jobs.train import train as train_experiment

    one = _request(request, "train")
    return train_experiment(one if isinstance(one, Experiment) else build(one), directory, progress=progress)


def resume(directory: str | Path, *overrides: str, progress: bool = False) -> dict[str, Any]:
    """Go on with an interrupted training or validation, to the same end as if it had never been interrupted.

    **Arguments:**

    - `directory`: that of the run.
    - `overrides`: of what may change, such as `"train.steps=2000"`.
    - `progress`: whether to show it on standard error.

    Returns what `result.json` or `validation.json` holds.
    """
    from .commands.resume import go_on

    return go_on(Path(directory), list(overrides), progress=progress)[1]


def validate(
    *request: str | Mapping[str, Any], directory: str | Path | None = None, progress: bool = False
) -> dict[str, Any]:
    """Measure a trained design on packings that no training has seen; returns what `validation.json` holds.

    **Arguments:**

    - `request`: overrides (`gw.validate("run=outputs/…", "n_configurations=100")`), or one configuration.
    - `directory`: where the files go; None writes nothing.
    - `progress`: whether to show it on standard error.
    """
    from .commands.validate import build_validation
    from .jobs.validate import validate as validate_request

    return validate_request(build_validation(_request(request, "validate")), directory, progress=progress)


def measure(*request: str | Mapping[str, Any], directory: str | Path | None = None) -> dict[str, Any]:
    """Measure properties of an existing packing, and their gradients; returns what `measure.json` holds.

    **Arguments:**

    - `request`: overrides (`gw.measure("configuration=packing.extxyz", "gradient=true")`), or one configuration.
    - `directory`: where the files go; None writes nothing.
    """
    from .commands.measure import build_measurement
    from .jobs.measure import measure as measure_request

    return measure_request(build_measurement(_request(request, "measure")), directory)


def analyse(
    *request: str | Mapping[str, Any], directory: str | Path | None = None, progress: bool = False
) -> dict[str, Any]:
    """What a packing or an ensemble can become and at what cost; returns what `analysis.json` holds.

    Its bonds and its vibrations are other parts of it.

    **Arguments:**

    - `request`: overrides (`gw.analyse("configuration=packing.extxyz", "parts=[tunability]")`), or one configuration.
    - `directory`: where the files and pictures go; None writes nothing.
    - `progress`: whether to show it on standard error.
    """
    from .commands.analyse import build_analysis
    from .jobs.analyse import analyse as analyse_request

    return analyse_request(build_analysis(_request(request, "analyse")), directory, progress=progress)


def _request(request: tuple[Any, ...], command: str) -> Any:
    """The configuration or experiment that was given, or the one that overrides describe."""
    if len(request) == 1 and not isinstance(request[0], str):
        return request[0]
    strange = [one for one in request if not isinstance(one, str)]
    if strange:
        raise TypeError(f"gw.{command}: takes overrides (texts) or one configuration, not both: {strange[0]!r}")
    return compose(*request, command=command)
