"""Composition by Hydra in this process: where configurations are found, and a check of what they name."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import hydra.version
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode as RunMode
from omegaconf import DictConfig as DictConfig
from omegaconf import OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from .._errors import RequestError
from .._types import Setting
from ..registry.registry import registry
from .folder import configuration_folder
from .hydra_globals import hydra_of_our_own as hydra_of_our_own
from .loader import ConfigLoader, search_path_of
from .loader import Hydra as Hydra
from .messages import explain
from .nodes import store
from .security import check_targets


def start(
    name: str,
    nodes: Mapping[str, object],
    noun_of_run: Callable[[Mapping[str, Setting]], str],
    config_folder: str | None = None,
    extra_folder: str | None = None,
) -> Hydra:
    """A Hydra that composes our configurations; it becomes the global one of this process.

    **Arguments:**

    - `name`: what the job is called.
    - `nodes`: what the ConfigStore holds besides the components.
    - `noun_of_run`: what a run is called that has a configuration: `a training`.
    - `config_folder`: replaces the folder with the primary configuration.
    - `extra_folder`: is searched first.
    """
    hydra.version.setbase("1.3")
    components = registry()
    components.check_strict()
    store(components, nodes)
    folder = Path(config_folder).resolve() if config_folder else configuration_folder()
    search_path = search_path_of(folder)
    for option, given in (("--config-path", config_folder), ("--config-dir", extra_folder)):
        if given is not None and not Path(given).is_dir():
            raise RequestError(f"{option} {given}: no such folder")
    schema = search_path.get_path().pop()
    if config_folder:
        search_path.append("glasswright", f"file://{configuration_folder()}")
    for provider, path in components.search_paths:
        search_path.append(provider, path)
    search_path.get_path().append(schema)
    if extra_folder:
        search_path.prepend("command-line", f"file://{Path(extra_folder).resolve()}")
    GlobalHydra.instance().clear()
    instance = Hydra(task_name=name, config_loader=ConfigLoader(search_path, noun_of_run))
    GlobalHydra.instance().initialize(instance)
    return instance


def compose(instance: Hydra, config_name: str, overrides: list[str], run_mode: RunMode = RunMode.RUN) -> DictConfig:
    """Compose a configuration in this process, checked to name nothing but known components.

    Returns it with its `hydra` node. Raises `RequestError` with one clear line for whatever is wrong.
    """
    with explained():
        config = instance.compose_config(config_name, list(overrides), run_mode=run_mode)
        check_targets(config, registry())
        return config


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Whatever goes wrong while Hydra composes becomes a `RequestError` in the words of the request."""
    try:
        yield
    except RequestError:
        raise
    except Exception as error:
        raise RequestError(explain(error)) from error


@contextlib.contextmanager
def hydra_errors_explained() -> Iterator[None]:
    """Errors of Hydra and OmegaConf become a `RequestError`; those of the work itself stay what they are."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise RequestError(explain(error)) from error


def notes(instance: Hydra) -> list[str]:
    """What was dropped from presets while this instance composed, one line each."""
    loader = instance.config_loader
    return list(loader.notes) if isinstance(loader, ConfigLoader) else []


def needs_no_run(instance: Hydra) -> None:
    """Let this instance compose a request without the run that it is about: it is only shown."""
    assert isinstance(instance.config_loader, ConfigLoader)
    instance.config_loader.only_shows = True


def presets(instance: Hydra) -> list[str]:
    """The names that `experiment` can have."""
    return list(instance.config_loader.get_group_options("experiment"))


def planned_folder(config: DictConfig, run_mode: RunMode = RunMode.RUN) -> tuple[Path, bool]:
    """The folder that a configuration plans for its run or sweep, and whether its name is made of the time."""
    node = config.hydra.sweep if run_mode == RunMode.MULTIRUN else config.hydra.run
    HydraConfig.instance().set_config(config)  # for interpolations of hydra.*
    written: Setting = OmegaConf.to_container(node, resolve=False)
    with explained():
        return Path(str(node.dir)).expanduser(), "${now:" in str(written["dir"])


def planned_subfolder(config: DictConfig, number: int) -> str:
    """The folder of a job within that of its sweep, from the configuration of the job and its number."""
    with read_write(config.hydra), open_dict(config.hydra):
        config.hydra.job.num, config.hydra.job.id = number, str(number)
    HydraConfig.instance().set_config(config)
    with explained():
        return str(config.hydra.sweep.subdir)


def settle_folder(instance: Hydra, run_mode: RunMode, folder: Path) -> None:
    """Have Hydra use this folder for what this instance has composed last in a mode."""
    assert isinstance(instance.config_loader, ConfigLoader)
    instance.config_loader.settle_folder(run_mode, str(folder))


def output_folder() -> Path:
    """The run directory of the job that Hydra is running."""
    return Path(HydraConfig.get().runtime.output_dir)


def start_folder() -> Path:
    """Where the command was started: relative names of files are meant from there."""
    return Path(HydraConfig.get().runtime.cwd)
