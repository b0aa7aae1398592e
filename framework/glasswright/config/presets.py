"""Presets that combine with overrides: what a preset says about something replaced does not count."""

from collections.abc import Iterable

from hydra.core.default_element import ResultDefault
from omegaconf import DictConfig, OmegaConf

from .._types import Untyped
from ..registry.component import KINDS
from ..registry.parameters import parameters
from ..registry.registry import registry
from .nodes import NESTED_PROPERTY

# Where in a configuration which component was chosen: `terms.pressure.objective` → `objective/target`.
Slots = dict[str, str]


def slots_of(defaults: Iterable[ResultDefault]) -> Slots:
    """The component chosen at each place, from a defaults list of Hydra."""
    groups = (*KINDS, "schedule", NESTED_PROPERTY)
    return {
        d.package: d.config_path
        for d in defaults
        if d.config_path and d.package and d.config_path.partition("/")[0] in groups
    }


def is_of_preset(intended: Slots, chosen: Slots) -> bool:
    """Whether a request is still about what its preset is about: its properties and objectives, and its packings.

    How the design is found, by which optimizer for instance, does not matter.
    """
    kinds = ("property", "objective", "potential", "protocol", "sampler")

    def about(slots: Slots) -> Slots:
        return {place: choice for place, choice in slots.items() if choice.partition("/")[0] in kinds}

    return about(intended) == about(chosen)


def prune(preset: DictConfig, intended: Slots, chosen: Slots) -> list[str]:
    """Remove from a preset the values meant for components that are not chosen; returns what and why."""
    dropped: list[str] = []
    _prune(preset, "", intended, chosen, dropped)
    design = preset.get("design")
    if OmegaConf.is_dict(design):
        for name in list(design):
            reason = _design_reason(str(name), intended, chosen)
            if reason:
                dropped.append(f"design.{name} ({reason})")
                design.pop(name)
    return dropped


def _prune(node: DictConfig, key: str, intended: Slots, chosen: Slots, dropped: list[str]) -> None:
    for name in list(node):
        path = f"{key}.{name}" if key else str(name)
        value: Untyped = node._get_node(name)
        if intended.get(path) != chosen.get(path):
            dropped.append(f"{', '.join(_leaves(value, path))} ({_reason(path, chosen)})")
            node.pop(name)
        elif OmegaConf.is_dict(value) and not value._is_none():
            _prune(value, path, intended, chosen, dropped)


def _reason(path: str, chosen: Slots) -> str:
    if path not in chosen:
        return f"{path} is not selected"
    return f"{path} is {chosen[path].partition('/')[2]} here"


def _leaves(value: Untyped, path: str) -> list[str]:
    if OmegaConf.is_dict(value):
        return [leaf for name in value for leaf in _leaves(value._get_node(name), f"{path}.{name}")]
    plain = OmegaConf.to_container(value, resolve=False) if OmegaConf.is_config(value) else value._value()
    return [f"{path}={plain}"]


def _design_reason(name: str, intended: Slots, chosen: Slots) -> str:
    """Why a design variable of the preset does not exist any more, or nothing."""
    for slot in ("potential", "system", "protocol"):
        if intended.get(slot) == chosen.get(slot) or (name.startswith(f"{slot}.") is False and "." in name):
            continue
        field = name.removeprefix(f"{slot}.").split(".")[0]
        if field in _fields(intended.get(slot)) and field not in _fields(chosen.get(slot)):
            return _reason(slot, chosen)
    return ""


def _fields(slot: str | None) -> Iterable[str]:
    kind, _, name = (slot or "").partition("/")
    component = registry().components(kind).get(name) if kind in KINDS else None
    return parameters(component) if component else ()
