"""Hydra keeps its state in globals of the process; here those of a caller who uses Hydra too are left as they are."""

import contextlib
from collections.abc import Iterator

from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.core.utils import JobRuntime
from hydra.version import VersionBase

from .._types import Untyped


@contextlib.contextmanager
def hydra_of_our_own() -> Iterator[None]:
    """A context with Hydra's globals of our own: those of a caller who uses Hydra too are afterwards as they were."""
    # Hydra's plugins store their nodes when they are first imported: before the ConfigStore is copied.
    Plugins.instance()
    names = (GlobalHydra, HydraConfig, JobRuntime, VersionBase, ConfigStore)
    instances: dict[type, Untyped] = Singleton._instances
    ConfigStore.instance()
    before: dict[type, Untyped] = {cls: instances.pop(cls) for cls in names if cls in instances}
    ConfigStore.instance().repo = _copied(before[ConfigStore].repo)
    try:
        yield
    finally:
        for cls in names:
            instances.pop(cls, None)
        instances.update(before)


def _copied(nodes: Untyped) -> Untyped:
    """The groups of a ConfigStore, which may be added to; their nodes are the same."""
    return {name: _copied(node) for name, node in nodes.items()} if isinstance(nodes, dict) else nodes
