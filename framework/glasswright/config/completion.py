"""Hydra's completion of words, asked of answers that are known already, or of a loader, whose answers become known."""

import json
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from hydra._internal.core_plugins.bash_completion import BashCompletion
from hydra._internal.core_plugins.fish_completion import FishCompletion
from hydra._internal.core_plugins.zsh_completion import ZshCompletion
from hydra.core.object_type import ObjectType
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from .._types import JSON, Untyped

# Untyped: they only ask what `AskedLoader` answers, and not all that Hydra's type of a loader could be asked.
SHELLS: dict[str, Untyped] = {"bash": BashCompletion, "zsh": ZshCompletion, "fish": FishCompletion}
# Keys whose values are files, on which the other keys depend.
FILES = ("run=", "configuration=")


class UnknownAnswer(Exception):
    """Nobody has asked this before."""


@runtime_checkable
class Loader(Protocol):
    """What completion asks of a loader of configurations, such as Hydra's."""

    def get_group_options(
        self,
        group_name: str,
        results_filter: ObjectType | None = ObjectType.CONFIG,
        config_name: str | None = None,
        overrides: list[str] | None = None,
    ) -> list[str]:
        """The options of a group."""

    def load_configuration(self, config_name: str | None, overrides: list[str], run_mode: RunMode) -> DictConfig:
        """The configuration of a request."""


class AskedLoader:
    """What completion asks a loader of configurations, from answers that are known.

    **Arguments:**

    - `known`: answers by question, to which those of the loader are added.
    - `loader`: is asked for what is not known; None raises `UnknownAnswer`.
    """

    def __init__(self, known: dict[str, JSON], loader: Loader | None = None) -> None:
        self._known, self._loader = known, loader

    def get_group_options(
        self,
        group_name: str,
        results_filter: ObjectType = ObjectType.CONFIG,
        config_name: str | None = None,
        overrides: list[str] | None = None,
    ) -> list[str]:
        """The options of a group, whatever has been chosen."""
        question = json.dumps(["options", group_name, results_filter.name])
        if question not in self._known:
            options = self._ask().get_group_options(group_name, results_filter, config_name, overrides)
            self._known[question] = list(options)
        return list(self._known[question])

    def load_configuration(self, config_name: str, overrides: list[str], run_mode: RunMode) -> DictConfig:
        """The configuration with the keys of what has been chosen."""
        if any(override.startswith(FILES) for override in overrides):
            composed: DictConfig = self._ask().load_configuration(config_name, overrides, run_mode)
            return composed
        # Numbers under dotted keys choose nothing.
        choices = [override for override in overrides if _may_choose(override)]
        question = json.dumps(["keys", config_name, choices, run_mode.name])
        if question not in self._known:
            config = self._ask().load_configuration(config_name, choices, run_mode)
            self._known[question] = OmegaConf.to_container(config, resolve=False, enum_to_str=True)
        keys = OmegaConf.create(self._known[question])
        assert isinstance(keys, DictConfig)
        return keys

    def _ask(self) -> Loader:
        if self._loader is None:
            raise UnknownAnswer
        return self._loader


def _may_choose(override: str) -> bool:
    key = override.partition("=")[0]
    return "." not in key or key[0] in "+~" or "@" in key or "/" in key


def complete(shell: str, config_name: str, known: dict[str, JSON], loader: Loader | None = None) -> None:
    """Print what the shell may offer for the line that it asks about. Raises `UnknownAnswer` if that is not known."""
    SHELLS[shell](AskedLoader(known, loader)).query(config_name=config_name)


def shell_of(arguments: Sequence[str]) -> str | None:
    """The shell that asks, if the arguments are a question of one that is known: `query=bash`."""
    queries = [argument.partition("=")[2] for argument in arguments if argument.startswith("query=")]
    return queries[0] if queries and queries[0] in SHELLS else None
