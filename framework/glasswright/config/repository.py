"""Where Hydra finds configurations."""

import copy

from hydra._internal.config_repository import ConfigRepository


class SharedRepository(ConfigRepository):
    """Hydra's repository of configurations, of which every composition takes a copy.

    Copies share the sources: Hydra would copy every node that is held in memory, and copies each again as it loads it.
    """

    def __deepcopy__(self, memo: dict[int, object]) -> "SharedRepository":
        copied = copy.copy(self)
        copied.sources = list(self.sources)
        return copied
