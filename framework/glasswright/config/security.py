"""What a composed configuration may name: nothing runs but registered components and Hydra itself."""

import sys
from collections.abc import Iterator

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, ListConfig, OmegaConf

from .._errors import RequestError
from ..registry.registry import Registry
from .data import Config
from .nodes import schedules

# Keys by which `logging.config.dictConfig` would import and call anything.
_LOGGING_FACTORIES = ("class", "()")
_LOGGING_PACKAGES = ("logging.", "colorlog.")
_LOGGING_STREAMS = ("ext://sys.stdout", "ext://sys.stderr")
# Resolvers that build whole nodes out of text, where no check could see a `_target_`.
_NODE_RESOLVERS = ("oc.create", "oc.decode", "oc.dict")


def check_targets(config: Config, registry: Registry) -> None:
    """Refuse a composed configuration, `hydra.*` included, that names anything but known components."""
    data = OmegaConf.to_container(config, resolve=False) if isinstance(config, DictConfig) else config
    components = {**registry.by_target(), **{c.target: c for c in schedules().values()}}
    for key, name, value in _walk(data, ""):
        path = f"{key}.{name}" if key else name
        in_hydra = path.startswith("hydra.")
        if name == "_target_":
            if in_hydra:
                if not _belongs_to_hydra(value):
                    raise RequestError(f"{path}={value}: refused, it belongs neither to Hydra nor to a plugin of Hydra")
            elif value not in components:
                raise RequestError(
                    f"{path}={value}: refused, it is no registered component; those that "
                    "`glasswright plugins` lists are chosen by name (potential=NAME)"
                )
        elif in_hydra and isinstance(value, str):
            _check_hydra_value(path, name, value)


def _check_hydra_value(path: str, name: str, value: str) -> None:
    logging = path.startswith(("hydra.job_logging.", "hydra.hydra_logging."))
    if logging and name in _LOGGING_FACTORIES and not value.startswith(_LOGGING_PACKAGES):
        raise RequestError(f"{path}={value}: refused, only classes of {', '.join(_LOGGING_PACKAGES)} can log")
    if logging and "ext://" in value and value not in _LOGGING_STREAMS:
        raise RequestError(f"{path}={value}: refused; possible: {', '.join(_LOGGING_STREAMS)}")
    if any(resolver in value for resolver in _NODE_RESOLVERS):
        raise RequestError(f"{path}={value}: refused, hydra.* may not be built from text")


def _walk(node: object, key: str) -> Iterator[tuple[str, str, object]]:
    if isinstance(node, (dict, DictConfig)):
        for name, value in node.items():
            text = str(name)
            yield key, text, value
            yield from _walk(value, f"{key}.{text}" if key else text)
    elif isinstance(node, (list, ListConfig)):
        for index, value in enumerate(node):
            yield from _walk(value, f"{key}.{index}" if key else str(index))


def _belongs_to_hydra(target: object) -> bool:
    """Whether Hydra or an installed plugin of it stored this name in the ConfigStore, or defines it."""
    if not isinstance(target, str):
        return False
    stored = ConfigStore.instance().repo.get("hydra", {})
    if any(name == "_target_" and value == target for _, name, value in _walk(_stored(stored), "")):
        return True
    # Hydra has imported all its plugins by now, so that nothing needs to be imported to find out.
    module, _, name = target.rpartition(".")
    known = module.startswith(("hydra_plugins.", "hydra.experimental.")) and module in sys.modules
    defined = getattr(sys.modules.get(module), name, None) if known else None
    return isinstance(defined, type) and defined.__module__.startswith(("hydra_plugins.", "hydra."))


def _stored(node: object) -> object:
    """The nodes under a group of the ConfigStore as plain data."""
    if isinstance(node, dict):
        return {name: _stored(value) for name, value in node.items()}
    content = getattr(node, "node", node)
    return OmegaConf.to_container(content, resolve=False) if OmegaConf.is_config(content) else content
