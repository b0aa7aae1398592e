"""The registry of components. Plugins are loaded at first use, once per process, each as a whole or not at all."""

import contextlib
import dataclasses
import functools
import importlib.metadata
import importlib.util
import inspect
import logging
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import pluggy

from .. import hookspecs
from .._environment import enable_64_bit
from .._errors import RequestError, named, one_line, suggestion
from .._types import Setting
from .component import KINDS, Component, PluginError
from .parameters import parameters

logger = logging.getLogger(__name__)


@runtime_checkable
class EntryPoint(Protocol):
    """An entry point of `importlib.metadata`, or of `importlib_metadata`, whose take its place once it is imported."""

    @property
    def name(self) -> str:
        """What stands before the equals sign."""

    @property
    def module(self) -> str:
        """The module that it refers to."""

    @property
    def dist(self) -> importlib.metadata.Distribution | None:
        """The distribution that it belongs to, if any."""

    def load(self) -> object:
        """What it refers to."""


_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclasses.dataclass
class PluginRecord:
    """A plugin, and whether it could be loaded.

    **Attributes:**

    - `entry_point`, `distribution`, `version`: the plugin's entry point, and the package that it belongs to.
    - `status`: `loaded`, `failed` or `disabled`.
    - `error`: why it failed, on one line; empty otherwise.
    - `attempted`: kind and name of each component that it called `register` for.
    - `side_effect`: what it did to this process that had to be undone; empty otherwise.
    """

    entry_point: str
    distribution: str
    version: str
    status: str = "loaded"
    error: str = ""
    attempted: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    side_effect: str = ""

    @property
    def label(self) -> str:
        """What messages call the plugin."""
        return f"plugin {self.entry_point!r} ({self.distribution} {self.version})"


class Registry:
    """All components by kind and name.

    **Attributes:**

    - `plugins`: a record of each plugin, in the order of loading.
    - `search_paths`: folders with configuration that plugins bring: the plugin, and an address for Hydra.
    """

    def __init__(self) -> None:
        self.plugins: list[PluginRecord] = []
        self.search_paths: list[tuple[str, str]] = []
        self._components: dict[str, dict[str, Component]] = {kind: {} for kind in KINDS}
        self._manager = _new_manager()

    def components(self, kind: str) -> dict[str, Component]:
        """The components of one kind by name."""
        return dict(sorted(self._components[kind].items()))

    def by_target(self) -> dict[str, Component]:
        """Every component by its `_target_`."""
        return {c.target: c for group in self._components.values() for c in group.values()}

    def get(self, kind: str, name: str) -> Component:
        """The component of that name.

        Raises `RequestError` if there is none; the message names those that exist, and plugins that failed to load.
        """
        try:
            return self._components[kind][name]
        except KeyError:
            raise RequestError(f"{kind}={name}: {self.missing(kind, name)}") from None

    def missing(self, kind: str, name: str) -> str:
        """The reason why a component is missing, with the closest name and the plugins that may have owned it."""
        broken = [p for p in self.plugins if p.status == "failed"]
        owners = [p for p in broken if (kind, name) in p.attempted]
        # A plugin that failed before it registered anything may have been the owner.
        suspects = owners or [p for p in broken if not p.attempted]
        text = f"no such {kind}; {suggestion(name, self._components[kind])}"
        for plugin in suspects:
            text += f"; {plugin.label} could not be loaded: {plugin.error}"
        return text

    def check_strict(self) -> None:
        """Raise `RequestError` for a plugin that failed to load, if `GLASSWRIGHT_STRICT_PLUGINS=1` is set."""
        if os.environ.get("GLASSWRIGHT_STRICT_PLUGINS", "0") in ("", "0"):
            return
        for plugin in self.plugins:
            if plugin.status == "failed":
                raise RequestError(f"{plugin.label} could not be loaded: {plugin.error} (GLASSWRIGHT_STRICT_PLUGINS)")

    def load(self, entry_point: EntryPoint) -> PluginRecord:
        """Load one plugin. If anything is wrong with it, nothing of it is kept and the record says why."""
        distribution = entry_point.dist
        name = distribution.name if distribution else "?"
        record = PluginRecord(entry_point.name, name, distribution.version if distribution else "?")
        self.plugins.append(record)
        if entry_point.name in _disabled():
            record.status = "disabled"
            return record
        try:
            # Output of a plugin must not mix with output that a program reads (`plugins --json`).
            with contextlib.redirect_stdout(sys.stderr):
                module = _import(entry_point)
                components, paths = self._collect(module, record)
            self._manager.register(module, name=f"{name}:{entry_point.name}")
            self._manager.check_pending()
        except KeyboardInterrupt:
            raise
        # Anything else, SystemExit included: no plugin may end the program.
        except BaseException as error:
            record.status, record.error = "failed", _message(error)
            return record
        finally:
            if enable_64_bit():
                record.side_effect = "sets jax_enable_x64 to False; undone, all numbers here have 64 bits"
        for component in components:
            self._components[component.kind][component.name] = component
        self.search_paths += [(f"{name}:{entry_point.name}", path) for path in paths]
        return record

    def _collect(self, module: object, record: PluginRecord) -> tuple[list[Component], list[str]]:
        """The components and search paths of a plugin, found by a plugin manager that is used for nothing else."""
        trial = _new_manager()
        try:
            trial.register(module)
            trial.check_pending()
        except pluggy.PluginValidationError as error:
            raise PluginError(_hook_error(module, error)) from error
        if not trial.get_hookcallers(module):
            raise PluginError(f"{getattr(module, '__name__', module)} has no functions marked with gw.hookimpl")
        components: list[Component] = []
        for kind, (hook, *_) in KINDS.items():
            getattr(trial.hook, hook)(register=self._register(kind, record, components))
        paths = [path for folders in trial.hook.config_search_paths() for path in _search_paths(folders)]
        return components, paths

    def _register(self, kind: str, record: PluginRecord, components: list[Component]) -> hookspecs.Register:
        """The function `register` that a plugin gets for one kind of component; it appends to `components`."""

        # Positional-only: a component may have parameters called `name`, `cls` or `kind`. What plugins give is checked
        # below, hence no types: `Any`.
        def register(name: Any, cls: Any, /, **defaults: Setting) -> None:
            record.attempted.append((kind, name))
            _check_component(kind, name, cls)
            owner = self._components[kind].get(name)
            if owner is not None:
                raise PluginError(f"{kind} {name!r} exists already: it belongs to {owner.distribution}")
            if any(c.kind == kind and c.name == name for c in components):
                raise PluginError(f"{kind} {name!r} is registered twice")
            component = Component(kind, name, cls, record.distribution, record.version, record.entry_point, defaults)
            parameters(component)  # raises for a constructor that no configuration could call
            components.append(component)

        return register


@functools.cache
def registry() -> Registry:
    """The registry of this process; the first call loads all plugins, built-ins first, then by name."""
    result = Registry()
    for entry_point in sorted(importlib.metadata.entry_points(group=hookspecs.PROJECT), key=_order):
        record = result.load(entry_point)
        if record.status == "failed":
            logger.warning("%s skipped: %s", record.label, record.error)
        if record.side_effect:
            logger.warning("%s %s", record.label, record.side_effect)
    return result


def _new_manager() -> pluggy.PluginManager:
    """A plugin manager that knows the hooks."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    return manager


def _order(entry_point: EntryPoint) -> tuple[bool, str, str]:
    """Sorting key: the built-in plugin first, then by name."""
    name = entry_point.dist.name if entry_point.dist else ""
    return (name != hookspecs.PROJECT, entry_point.name, name)


def _disabled() -> set[str]:
    """Entry points that the user wants to be left out."""
    return {name.strip() for name in os.environ.get("GLASSWRIGHT_DISABLE_PLUGINS", "").split(",") if name.strip()}


def _import(entry_point: EntryPoint) -> object:
    """The object of an entry point, normally a module; checks the API version that it states."""
    before = set(sys.modules)
    try:
        module = entry_point.load()
    except BaseException:
        # The next import of the package must not find a half-imported one.
        root = entry_point.module.split(".")[0]
        for name in set(sys.modules) - before:
            if name == root or name.startswith(root + "."):
                del sys.modules[name]
        raise
    version = getattr(module, "GLASSWRIGHT_API_VERSION", hookspecs.API_VERSION)
    if version != hookspecs.API_VERSION:
        raise PluginError(f"speaks plugin API version {version!r}, this glasswright speaks {hookspecs.API_VERSION}")
    return module


def _check_component(kind: str, name: object, cls: object) -> None:
    """Raise a `PluginError` for a name or a class that cannot be registered."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise PluginError(f"{kind} {name!r}: a name consists of letters, digits and underscores")
    if not callable(cls):
        raise PluginError(f"{kind} {name!r}: {cls!r} cannot be called")
    base = KINDS[kind].base
    if base is None:
        return
    if not (isinstance(cls, type) and issubclass(cls, base)):
        raise PluginError(
            f"{kind} {name!r}: {getattr(cls, '__qualname__', cls)} is not a subclass of gw.{base.__name__}"
        )
    if inspect.isabstract(cls):
        missing = ", ".join(sorted(getattr(cls, "__abstractmethods__", ())))
        raise PluginError(f"{kind} {name!r}: {cls.__qualname__} is abstract, it does not define {missing}")


def _search_paths(folders: object) -> list[str]:
    """Addresses for Hydra of the folders that a plugin returned; raises `PluginError` if there is no such folder."""
    if isinstance(folders, (str, Path)):
        folders = [folders]
    if not isinstance(folders, Iterable):
        raise PluginError(f"config_search_paths returned {folders!r}, not a list of folders")
    paths = [str(path) for path in folders]
    for path in paths:
        if path.startswith("pkg://"):
            if importlib.util.find_spec(path.removeprefix("pkg://").replace("/", ".")) is None:
                raise PluginError(f"config_search_paths: there is no package {path}")
        elif not Path(path).is_dir():
            raise PluginError(f"config_search_paths: {path} is not a folder")
    return [path if "://" in path else f"file://{Path(path).resolve()}" for path in paths]


def _hook_error(module: object, error: pluggy.PluginValidationError) -> str:
    """The message for functions that implement no known hook, with the closest name."""
    hooks = [kind.hook for kind in KINDS.values()] + ["config_search_paths"]
    unknown = re.search(r"unknown hook '(\w+)'", str(error))
    if unknown:
        return f"unknown hook {unknown.group(1)!r}; {suggestion(unknown.group(1), hooks)}"
    return str(error)


def _message(error: BaseException) -> str:
    """The error on one line; its type is named unless it is a `PluginError`."""
    return one_line(error) if isinstance(error, PluginError) else named(error)
