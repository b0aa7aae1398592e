"""Composed configurations as data, for code that knows no OmegaConf."""

import contextlib
from collections.abc import Iterable, Mapping

from omegaconf import DictConfig as DictConfig
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from .._errors import RequestError
from .._types import Setting
from .messages import explain

# What Hydra composes, or plain data of the same shape.
Config = DictConfig | Mapping[str, Setting]
# Whether an earlier run in the run directory may be removed: a key of every configured command.
OVERWRITE = "overwrite"
# Keys that say where and how a run is started. They are no part of what it is, and are not kept in `config.yaml`.
HOW = ("hydra", OVERWRITE)


def plain(config: Config) -> dict[str, Setting]:
    """A configuration as plain data, everything resolved, without its `hydra` node."""
    try:
        data: Setting = OmegaConf.to_container(config, resolve=True) if OmegaConf.is_config(config) else dict(config)
    except OmegaConfBaseException as error:
        raise RequestError(explain(error)) from error
    return {str(key): value for key, value in data.items() if key != "hydra"}


def part(config: Config, key: str) -> Setting:
    """The value of one key as plain data, everything in it resolved; None if there is none."""
    if not isinstance(config, DictConfig):
        return config.get(key)
    try:
        value = config.get(key)
        return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
    except OmegaConfBaseException as error:
        raise RequestError(explain(error)) from error


def resolved(config: Config) -> dict[str, Setting]:
    """A configuration as plain data, with everything resolved that can be, without its `hydra` node."""
    node = without_hydra(config)
    data: dict[str, Setting] = _resolved(node)
    return data


def _resolved(node: Setting) -> Setting:
    if not OmegaConf.is_config(node):
        return node
    raw: Setting = OmegaConf.to_container(node, resolve=False)
    for key in list(raw) if isinstance(raw, dict) else range(len(raw)):
        # What is required and not given, or refers to what only a file says, stays as it is written.
        with contextlib.suppress(OmegaConfBaseException):
            raw[key] = _resolved(node[key])
    return raw


def only(config: Config, names: Iterable[str]) -> DictConfig:
    """A copy of a configuration with only these of its keys, to which others can be added."""
    node = config if isinstance(config, DictConfig) else OmegaConf.create(dict(config))
    wanted = set(names)
    copy = OmegaConf.masked_copy(node, [str(key) for key in node if key in wanted])
    OmegaConf.set_struct(copy, False)
    return copy


def without(config: Config, names: Iterable[str]) -> DictConfig:
    """A copy of a configuration without these keys, to which others can be added."""
    dropped = set(names)
    return only(config, [str(key) for key in config if key not in dropped])


def without_hydra(config: Config) -> DictConfig:
    """A copy of a configuration without its `hydra` node, parts of which can only be resolved while a job runs."""
    return without(config, ["hydra"])


def request_of(config: Config) -> DictConfig:
    """A copy of a configuration without the keys that say how a run is started rather than what it is."""
    return without(config, HOW)


def may_overwrite(config: object) -> bool:
    """Whether an earlier run in the run directory may be removed."""
    value = config.get(OVERWRITE, False) if isinstance(config, Mapping) else False
    if not isinstance(value, bool):
        raise RequestError(f"{OVERWRITE}={value!r}: must be true or false")
    return value


def with_keys(config: Config, **keys: Setting) -> DictConfig:
    """A copy of a configuration with further keys, which its interpolations may refer to."""
    copy = without(config, keys)
    for name, value in keys.items():
        copy[name] = value
    return copy


def closed(config: DictConfig) -> DictConfig:
    """The same configuration, which takes no further keys from now on."""
    OmegaConf.set_struct(config, True)
    return config


def is_given(config: Config, key: str) -> bool:
    """Whether a key has a value: neither null nor required and not given."""
    if isinstance(config, DictConfig) and OmegaConf.is_missing(config, key):
        return False
    return config.get(key) is not None


def changed(data: Mapping[str, Setting], key: str, value: Setting, nodes: Mapping[str, type]) -> dict[str, Setting]:
    """Plain data with another value under a dotted key, converted to the type that `nodes` have for it by block."""
    config = OmegaConf.create(dict(data))
    block, _, name = key.partition(".")
    try:
        if name and block in nodes:
            typed = OmegaConf.structured(nodes[block])
            OmegaConf.update(typed, name, value)
            value = OmegaConf.select(typed, name)
        OmegaConf.update(config, key, value, force_add=True)
    except OmegaConfBaseException as error:
        raise RequestError(f"{key}={value}: {explain(error).partition(': ')[2]}") from error
    return plain(config)


def to_yaml(data: Mapping[str, Setting]) -> str:
    """A configuration as it is kept with the results."""
    return OmegaConf.to_yaml(OmegaConf.create(dict(data)))
