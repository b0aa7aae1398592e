"""Where Hydra finds configurations."""

import copy
from typing import Any

from hydra._internal.config_repository import ConfigRepository


class SharedRepository(ConfigRepository):
    """Hydra's repository of configurations, of which every composition takes a copy.

    Copies share the sources: Hydra would copy every node that is held in memory, and copies each again as it loads it.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> "SharedRepository":
        copied = copy.copy(self)
        copied.sources = list(self.sources)
        return copied
