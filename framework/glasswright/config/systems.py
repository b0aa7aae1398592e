"""The block `system` of a configuration: what other components follow, and what earlier versions left unsaid."""

from collections.abc import Mapping
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from .._types import Setting
from ..components.system import AbstractSystem
from ..registry.component import Component
from ..registry.parameters import FOLLOWS_SYSTEM
from ..registry.registry import registry
from .data import Config, part, plain, request_of, with_keys
from .instantiate import instantiate
from .nodes import typed
from .paths import with_absolute_paths
from .values import require_values

# The system of a configuration that names none, as those of earlier versions.
DEFAULT = "random"


def default_component() -> Component:
    """The system of a configuration that names none."""
    return registry().get("system", DEFAULT)


def with_system(config: DictConfig) -> DictConfig:
    """The configuration with a typed `system`: where it names none, the keys that it has are those of the default."""
    node: DictConfig | None = OmegaConf.select(config, "system", throw_on_missing=False)
    if node is not None and "_target_" in node:
        return config
    given = {} if node is None else OmegaConf.to_container(node, resolve=False)
    assert isinstance(given, dict)
    return with_keys(config, system=typed_system({str(key): value for key, value in given.items()}))


def typed_system(given: Mapping[str, Setting]) -> Config:
    """The typed node of the system that a kept configuration describes."""
    component = registry().by_target().get(str(given.get("_target_")))
    # One that is no component is refused by the check of all targets.
    return typed(component or default_component(), given) if component or "_target_" not in given else given


def build_system(node: Mapping[str, Setting]) -> AbstractSystem:
    """The system that a node describes."""
    require_values({"system": node})
    system: AbstractSystem = instantiate("system", {"_target_": default_component().target, **node}, "system", {})
    return system


def system_size(system: AbstractSystem) -> dict[str, float]:
    """The numbers of a system that parameters of the same names follow."""
    return {
        "n_particles": system.n_particles,
        "n_species": system.n_species,
        "dimension": system.dimension,
        "density": float(system.density),
    }


def plain_request(config: Config, folder: Path) -> dict[str, Setting]:
    """A request as plain data, everything resolved: what follows the system has its numbers, also those of a file.

    **Arguments:**

    - `folder`: where relative names of files start from.
    """
    given = request_of(config)
    node = part(given, "system")
    if not isinstance(node, dict) or all(name in node for name in FOLLOWS_SYSTEM):
        return with_absolute_paths(plain(given), folder)
    own = with_absolute_paths({"system": node}, folder)["system"]
    data = plain(with_keys(given, system=system_size(build_system(own)) | own))
    return with_absolute_paths(data | {"system": own}, folder)
