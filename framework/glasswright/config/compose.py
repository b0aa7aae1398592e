from pathlib import Path

import hydra.version
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from .._errors import RequestError
from ..registry.registry import registry
from . import nodes as _nodes
from .loader import ConfigLoader
from .messages import explain
from .security import check_targets


def configuration_folder() -> Path:
    """Where `train.yaml` is: the repository's `conf/` beside the module, else the copy in the wheel."""
    package = Path(__file__).resolve().parents[1]
    # An editable install can leave a stale copy inside the package: the repository comes first.
    for folder in (package.parents[1] / "conf", package / "conf"):
        if (folder / "train.yaml").is_file():
            return folder
    raise RequestError(f"glasswright is installed without its configuration: no conf/train.yaml near {package}")


def start(command: str, config_folder: str | None = None, extra_folder: str | None = None) -> Hydra:
    """A Hydra that composes our configurations; leaves the process with it as the global one.

    `config_folder` replaces the folder with the primary configuration, `extra_folder` is searched first.
    """
    hydra.version.setbase("1.3")
    components = registry()
    components.check_strict()
    _nodes.store(components)
    folder = Path(config_folder).resolve() if config_folder else configuration_folder()
    search_path = create_config_search_path(str(folder))
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
    instance = Hydra(task_name=command, config_loader=ConfigLoader(search_path))
    GlobalHydra.instance().initialize(instance)
    return instance


def compose(
    command: str, overrides: list[str] | None = None, *, instance: Hydra | None = None, **folders
) -> DictConfig:
    """Compose a configuration in this process, checked to name nothing but known components.

    Returns it with its `hydra` node. Raises `RequestError` with one clear line for whatever is wrong.
    """
    mode = folders.pop("run_mode", RunMode.RUN)
    config_name = folders.pop("config_name", None) or command
    try:
        instance = instance or start(command, **folders)
        config = instance.compose_config(config_name, list(overrides or []), run_mode=mode)
        check_targets(config, registry())
        return config
    except RequestError:
        raise
    except Exception as error:
        raise RequestError(explain(error)) from error


def output_folder() -> Path:
    """The run directory of the job that Hydra is running."""
    return Path(HydraConfig.get().runtime.output_dir)


def start_folder() -> Path:
    """Where the command was started: relative names of files are meant from there."""
    return Path(HydraConfig.get().runtime.cwd)
