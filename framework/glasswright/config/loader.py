"""The adapter to Hydra's internals.

Its main part is a loader of configurations with additions: presets combine with overrides, a validation takes what it
is not told from its run, wrong keys are explained, and what has just been composed is not composed again.
"""

import argparse
import copy
import functools
import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository, IConfigRepository
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.defaults_list import create_defaults_list
from hydra._internal.hydra import Hydra as Hydra
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.default_element import ResultDefault
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from .._errors import RequestError, suggestion
from ..registry.component import KINDS
from ..registry.registry import registry
from ..run.directory import run_design
from ..run.reached import DESIGNS
from .carried import carried_potential, refuse_packing_of_run
from .keys import check_choice, check_key
from .messages import suggestion_of_extra
from .nodes import NESTED_PROPERTY
from .paths import run_request
from .presets import Slots, is_of_preset, prune, slots_of
from .repository import SharedRepository
from .systems import typed_system, with_system

logger = logging.getLogger(__name__)
# What the run must be that others are about.
A_TRAINING = "a training"


def search_path_of(folder: Path) -> ConfigSearchPath:
    """Where Hydra looks for configurations if the primary ones are in this folder."""
    return create_config_search_path(str(folder))


def argument_parser() -> argparse.ArgumentParser:
    """The parser of Hydra's own options."""
    return get_args_parser()


def hydra_plugins() -> dict[str, list[str]]:
    """The names of Hydra's launchers and sweepers that are installed."""
    plugins = Plugins.instance()
    return {
        "launchers": sorted(plugin.__name__ for plugin in plugins.discover(Launcher)),
        "sweepers": sorted(plugin.__name__ for plugin in plugins.discover(Sweeper)),
    }


def jobs_of_sweep(overrides: Iterable[Override]) -> list[list[str]]:
    """The overrides of each job of a sweep by Hydra's own sweeper."""
    return [list(job) for batch in BasicSweeper.split_arguments(list(overrides), None) for job in batch]


class ConfigLoader(ConfigLoaderImpl):
    """Hydra's loader; drops what a preset says about components that were replaced, and explains wrong keys.

    **Attributes:**

    - `notes`: what was dropped, one line each, to be shown once the request is known to be right.
    """

    def __init__(self, config_search_path: ConfigSearchPath, noun_of_run: Callable[[dict[str, object]], str]) -> None:
        super().__init__(config_search_path=config_search_path)
        self.repository = SharedRepository(config_search_path)
        self._noun_of_run = noun_of_run
        self.notes: dict[str, None] = {}
        self._config_name: str | None = None
        self._overrides: list[Override] = []
        self._slots: Slots = {}
        # The components that presets are meant for, within one composition: finding them out is slow.
        self._known: dict[str, Slots] = {}
        self._plain: tuple[list[Override], CachingConfigRepository] | None = None
        self._experiment: str | None = None
        self._sweeping = False
        # Whether what a run brings may lack: nothing runs, and `validate --help` needs no run.
        self.only_shows = False
        self._warned: set[str] = set()
        # What was asked for last in each mode, and the configuration it gave.
        self._last: dict[RunMode, tuple[tuple[object, ...], DictConfig]] = {}

    def load_configuration(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        """Compose a configuration, unless it is the last one again: Hydra's `run` asks for what was checked before."""
        request = (config_name, tuple(overrides), from_shell, validate_sweep_overrides)
        known, config = self._last.get(run_mode, (None, None))
        if config is None or known != request:
            config = self.compose_anew(config_name, overrides, run_mode, from_shell, validate_sweep_overrides)
            self._last[run_mode] = request, config
        return copy.deepcopy(config)

    def settle_folder(self, run_mode: RunMode, folder: str) -> None:
        """Give what was composed last in a mode its folder: that of the run, or of the sweep."""
        _, config = self._last[run_mode]
        with read_write(config.hydra):
            config.hydra["sweep" if run_mode == RunMode.MULTIRUN else "run"].dir = folder

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """The configuration of a job of a sweep, which is in the folder of the sweep."""
        config = super().load_sweep_config(master_config, sweep_overrides)
        with read_write(config.hydra):
            config.hydra.sweep.dir = master_config.hydra.sweep.dir
        return config

    def compose_anew(self, config_name: str | None, overrides: list[str], run_mode: RunMode, *args: bool) -> DictConfig:
        """Compose a configuration, whatever was composed before."""
        return super().load_configuration(config_name, overrides, run_mode, *args)

    def _load_configuration_impl(
        self, config_name: str | None, overrides: list[str], run_mode: RunMode, *args: bool, **kwargs: bool
    ) -> DictConfig:
        self._config_name = config_name
        load = functools.partial(super()._load_configuration_impl, config_name)
        if run_mode == RunMode.MULTIRUN:
            config = self._load_sweep(load, overrides, run_mode, *args, **kwargs)
        else:
            config = load(overrides, run_mode, *args, **kwargs)
        preset = self._experiment
        if preset is not None and not is_of_preset(self._intended(preset), self._slots):
            preset = None
        _name_job(config, config_name, preset)
        return config

    def _load_sweep(
        self, load: Callable[..., DictConfig], overrides: list[str], run_mode: RunMode, *args: bool, **kwargs: bool
    ) -> DictConfig:
        """The configuration of a sweep as a whole, of which only `hydra.*` counts: each job composes its own.

        A key may exist in some jobs only (that of a term that is swept over), so Hydra's habit of applying
        every override here is tried first, and then only those to `hydra.*`.
        """
        try:
            return load(overrides, run_mode, *args, **kwargs)
        except Exception:
            parsed = OverridesParser.create().parse_overrides(overrides)
            self._sweeping = True
            try:
                config = load([o.input_line for o in parsed if o.is_hydra_override()], run_mode, *args, **kwargs)
            finally:
                self._sweeping = False
            config.hydra.overrides.task.extend([o.input_line for o in parsed if not o.is_hydra_override()])
            return config

    def _parse_overrides_and_create_caching_repo(
        self, config_name: str | None, overrides: list[str]
    ) -> tuple[list[Override], CachingConfigRepository]:
        if config_name is None and not overrides:
            # The help asks so for each group in turn, and each time Hydra would copy every node there is.
            if self._plain is None:
                self._plain = super()._parse_overrides_and_create_caching_repo(config_name, overrides)
            return self._plain
        parsed, repository = super()._parse_overrides_and_create_caching_repo(config_name, overrides)
        self._overrides = parsed
        for override in parsed:
            if override.value() is None and repository.group_exists(override.key_or_group) and not override.is_add():
                # Hydra takes null in a defaults list, on the command line only `~group`: both mean no choice.
                override.type = OverrideType.DEL
            if override.is_sweep_override() or override.is_delete():
                continue
            group, value = override.key_or_group, override.value()
            if not group:
                raise RequestError(f"{override.input_line}: has no key before the sign; write key=value")
            if not repository.group_exists(group) or group.startswith("hydra"):
                continue
            for name in value if isinstance(value, list) else [value]:
                if isinstance(name, str) and not repository.config_exists(f"{group}/{name}"):
                    raise RequestError(f"{override.input_line}: {_no_option(repository, group, name)}")
                if not (name is None or isinstance(name, (str, dict))):
                    raise RequestError(f"{override.input_line}: {name!r} is no name of a {group}")
        return parsed, repository

    def _compose_config_from_defaults_list(self, defaults: list[ResultDefault], repo: IConfigRepository) -> DictConfig:
        self._slots = slots_of(defaults)
        chosen = [d.config_path for d in defaults if d.parent == self._config_name and d.config_path]
        names = [path.partition("/")[2] for path in chosen if path.startswith("experiment/")]
        self._experiment = names[-1] if names else None
        self._repository = repo
        self._known = {}
        config = super()._compose_config_from_defaults_list(defaults, repo)
        if "train" in config:
            config = with_system(config)
        if "configuration" in config:
            config = self._with_packing(config)
        if "trained" in config:
            config = self._with_run(config)
        for name in ("design", "change"):
            if name in config and OmegaConf.is_dict(config[name]):
                # Design variables and wanted changes are free names: they need no `+` on the command line.
                OmegaConf.set_struct(config[name], False)
        if "design" in config and OmegaConf.is_dict(config.design):
            _prefer_full_names(config.design, [override.key_or_group for override in self._overrides])
        self._check_keys(config)
        return config

    def _given(self, config: DictConfig, key: str) -> object:
        """The value of a key, which an override may give; None for one that is swept over."""
        named = [override for override in self._overrides if override.key_or_group == key]
        if named:
            return None if named[-1].is_sweep_override() else named[-1].value()
        return OmegaConf.select(config, key, throw_on_missing=False)

    def _with_packing(self, config: DictConfig) -> DictConfig:
        """The configuration with the potential that the packing carries, unless somebody chooses another."""
        name = self._given(config, "configuration")
        chosen = any(override.key_or_group == "potential" for override in self._overrides)
        if not isinstance(name, str) or chosen or self._given(config, "run") is not None:
            return config
        overridden = [override.key_or_group for override in self._overrides]
        carried = carried_potential(Path(name), "configuration")
        if carried is None:
            if self._given(config, "relax") is True and not any(key.startswith("potential.") for key in overridden):
                self._warn_of_default(Path(name))
            return config
        trained = {name: v for name, v in carried["trained"].items() if not _is_overridden(name, overridden)}
        result = OmegaConf.masked_copy(config, [str(key) for key in config if key != "potential"])
        OmegaConf.set_struct(result, False)
        result.potential, result.trained = carried["potential"], trained
        OmegaConf.set_struct(result, True)
        return result

    def _warn_of_default(self, file: Path) -> None:
        """Say that a packing would be relaxed under a potential that has nothing to do with it, or refuse to."""
        if not file.is_file():
            return
        refuse_packing_of_run(file, "configuration")
        text = "carries no potential and none is given: it is relaxed under the default potential"
        if text not in self._warned:
            self._warned.add(text)
            logger.warning("configuration=%s: %s", file, text)

    def _with_run(self, config: DictConfig) -> DictConfig:
        """The configuration of a validation on top of that of the run which it is about."""
        folder = self._given(config, "run")
        if folder is None and (self._sweeping or self.only_shows or "configuration" in config):
            return config  # of a sweep only `hydra.*` counts, and measurements and analyses can do without a run
        if folder is None:
            raise RequestError("run is required: run=DIRECTORY of a training")
        if not isinstance(folder, str) or not folder:
            raise RequestError(f"run={folder!r}: must be the name of a directory")
        # Trackers followed that run; another executor may be chosen.
        dropped = ["trackers", *(o.key_or_group for o in self._overrides if o.key_or_group == "executor")]
        given = {key: value for key, value in run_request(Path(folder)).items() if key not in dropped}
        if (kind := self._noun_of_run(given)) != A_TRAINING:
            raise RequestError(f"run={folder}: is {kind}; name the directory of a training")
        if "configuration" in config and "parts" not in config:
            # A measurement has no design, no optimizer, no objectives.
            given = {key: given[key] for key in ("potential", "protocol", "terms") if key in given}
        if "configuration" in config:
            config = self._without_choices(config, given)
        elif "system" in config:  # one was chosen
            given.pop("system", None)
        if "system" in given:
            given["system"] = typed_system(given["system"])
        overridden = [override.key_or_group for override in self._overrides]
        which = self._given(config, "design_of") if "design_of" in config else "final"
        if which not in DESIGNS:
            raise RequestError(f"design_of={which}: {suggestion(str(which), DESIGNS)}")
        reached = run_design(Path(folder), which)
        trained = {name: value for name, value in reached.items() if not _is_overridden(name, overridden)}
        OmegaConf.set_struct(config, False)
        merged = OmegaConf.merge(config, given, {"trained": trained, "run": str(Path(folder).resolve())})
        assert isinstance(merged, DictConfig)
        OmegaConf.set_struct(merged, True)
        return merged

    def _without_choices(self, config: DictConfig, given: dict[str, object]) -> DictConfig:
        """The configuration without what a run brings: nothing of that may be chosen besides."""
        for override in self._overrides:
            group = override.key_or_group
            if self._repository.group_exists(group) and not group.startswith(("hydra", "property", "executor")):
                raise RequestError(f"{override.input_line}: the run brings its own {group}")
        kept = [str(key) for key in config if key == "terms" or key not in given]
        return OmegaConf.masked_copy(config, kept)

    def _load_single_config(self, default: ResultDefault, repo: IConfigRepository) -> ConfigResult:
        result = super()._load_single_config(default, repo)
        group, _, name = (default.config_path or "").partition("/")
        if group == "experiment" and isinstance(result.config, DictConfig):
            intended = self._intended(name)
            # What the chosen preset changes of those that it builds on is no news to anybody.
            expected = prune(copy.deepcopy(result.config), intended, self._intended(self._experiment or name))
            dropped = [text for text in prune(result.config, intended, self._slots) if text not in expected]
            if dropped:
                self.notes[f"dropped from experiment {name!r}: {'; '.join(dropped)}"] = None
        elif group in (*KINDS, NESTED_PROPERTY) and default.package:
            assert isinstance(result.config, DictConfig)
            self._apply_outer_defaults(result.config, default.package)
        return result

    def _intended(self, experiment: str) -> Slots:
        """The components that a preset selects by itself: those that its values are meant for."""
        if experiment in self._known:
            return self._known[experiment]
        for prefix in ("", "+"):
            overrides = OverridesParser.create().parse_overrides([f"{prefix}experiment={experiment}"])
            keys = {"prepend_hydra": True, "skip_missing": True}
            try:
                defaults = create_defaults_list(self._repository, self._config_name, overrides, **keys).defaults
            except Exception:  # this primary configuration has no experiment to override
                continue
            return self._known.setdefault(experiment, slots_of(defaults))
        return self._slots

    def _apply_outer_defaults(self, config: DictConfig, package: str) -> None:
        """Defaults that the component around this one was registered with, such as `inner.learning_rate`."""
        outer, _, field = package.rpartition(".")
        # The slot of a term's property is that of the term.
        slot = self._slots.get(outer, self._slots.get(outer.removesuffix(".property"), ""))
        kind, _, name = slot.replace(NESTED_PROPERTY, "property").partition("/")
        component = registry().components(kind).get(name) if kind in KINDS else None
        for key, value in (component.defaults if component else {}).items():
            inner, _, parameter = key.partition(".")
            node = OmegaConf.select(config, package)
            if parameter and inner == field and parameter in node:
                node[parameter] = value

    def _check_keys(self, config: DictConfig) -> None:
        """Every key that an override names must exist, unless it is added with `+`."""
        for override in self._overrides:
            key = override.key_or_group
            self._check_group_of_hydra(override)
            is_group = self._repository.group_exists(key) and not isinstance(override.value(), dict)
            if is_group or override.package or override.is_hydra_override() or override.is_add():
                continue
            if override.is_force_add() or override.is_sweep_override() or key.startswith("hydra"):
                continue
            check_key(config, key)
            check_choice(config, key, override.value(), self._slots)

    def _check_group_of_hydra(self, override: Override) -> None:
        """Refuse `hydra.launcher=joblib`, which is written with a slash."""
        key, value = override.key_or_group, override.value()
        group = key.replace(".", "/", 1)
        if key.startswith("hydra.") and isinstance(value, str) and self._repository.group_exists(group):
            names = self._repository.get_group_options(group, ObjectType.CONFIG)
            hint = (
                "" if value in names else f", which has no option {value}; {suggestion_of_extra(group, value, names)}"
            )
            raise RequestError(f"{override.input_line}: is chosen with a slash, {group}={value}{hint}")


def _is_overridden(name: str, keys: list[str]) -> bool:
    """Whether somebody gives the parameter that a design variable is, by `potential.diameter` for instance."""
    return any(key == name or key.endswith(f".{name.rsplit('.', 1)[-1]}") for key in keys if "." in key)


def _prefer_full_names(design: DictConfig, keys: list[str]) -> None:
    """A design variable that an override names by its full path replaces the same one under its bare name."""
    for key in keys:
        parts = key.split(".")
        if parts[0] == "design" and len(parts) == 3 and parts[1] in KINDS:
            design.pop(parts[2], None)


def _no_option(repository: IConfigRepository, group: str, name: str) -> str:
    if group in KINDS:
        return registry().missing(group, name)
    return f"no such {group}; {suggestion(name, repository.get_group_options(group, ObjectType.CONFIG))}"


def _name_job(config: DictConfig, command: str | None, preset: str | None) -> None:
    """Name the job, and so its folder, after its preset if it is what that is about, else after its command."""
    if config.hydra.job.get("name") in (None, command):
        with open_dict(config.hydra):
            config.hydra.job.name = preset or command
