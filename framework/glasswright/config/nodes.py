"""The configuration nodes of all components, kept in Hydra's ConfigStore: no component has a YAML file."""

import dataclasses
import functools
import typing
from collections.abc import Iterable, Mapping
from typing import Any

import optax
from hydra.core.config_store import ConfigNode, ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from .._types import Setting
from ..plots.options import DEFAULT_PLOTS
from ..registry.component import KINDS, Component
from ..registry.parameters import REQUIRED, Parameter, parameters
from ..registry.registry import Registry

# Every optax schedule that maps plain numbers to a rate; chosen with `schedule@optimizer.learning_rate=…`.
SCHEDULES = (
    "constant_schedule",
    "cosine_decay_schedule",
    "cosine_onecycle_schedule",
    "exponential_decay",
    "linear_onecycle_schedule",
    "linear_schedule",
    "piecewise_constant_schedule",
    "polynomial_schedule",
    "warmup_cosine_decay_schedule",
    "warmup_exponential_decay_schedule",
)
DEFAULT_OBJECTIVE = "target"
# Properties that belong to another one are chosen from a group of their own: an option of `property` is a whole term.
NESTED_PROPERTY = "quantity"
_TYPES: dict[str, type] = {"integer": int, "number": float, "boolean": bool, "text": str, "path": str}


@dataclasses.dataclass
class TermNode:
    """A wish: a property, what is wanted of it, its weight, and what counts as one."""

    property: Setting = MISSING
    objective: Setting = None
    weight: float = 1.0
    scale: float = 1.0


@dataclasses.dataclass
class PlotsNode:
    """How pictures are drawn: the keys and the defaults of `PlotOptions`."""

    format: Setting = dataclasses.field(default_factory=lambda: list(DEFAULT_PLOTS.format))
    width: Setting = DEFAULT_PLOTS.width
    style: str | None = DEFAULT_PLOTS.style


def node_class(name: str, described: type, fields: Iterable[str] = ()) -> type:
    """A node with some fields of a dataclass (all, if none is named), their types and their defaults.

    An array of no dimensions is a number in a configuration.
    """
    hints = typing.get_type_hints(described)
    chosen, scalars = set(fields), {bool, int, float, str}

    def plain(hint: object) -> object:
        members = set(typing.get_args(hint)) or {hint}
        return hint if members <= {*scalars, type(None)} else float

    return dataclasses.make_dataclass(
        name,
        [
            (field.name, plain(hints[field.name]), field.default)
            for field in dataclasses.fields(described)
            if not chosen or field.name in chosen
        ],
    )


def primary(name: str, defaults: Iterable[Setting] = (), **keys: Setting) -> dict[str, Setting]:
    """The primary configuration of a command that has no file in `conf/`: its keys, and where its runs go."""
    folder = f"outputs/{name}/${{now:%Y-%m-%d_%H-%M-%S}}"
    # Logging set up anew would close the handlers of other libraries.
    quiet = [{"override hydra/hydra_logging": "none"}, {"override hydra/job_logging": "none"}]
    return {
        "defaults": [*defaults, "_self_", *quiet],
        **keys,
        "overwrite": False,
        "hydra": {
            "run": {"dir": folder},
            "sweep": {"dir": folder, "subdir": "${hydra:job.num}"},
            "job": {"chdir": False},
            "help": {"app_name": f"glasswright {name}"},
        },
    }


def field_types(node: type) -> dict[str, object]:
    """The keys of a node, with their types."""
    return {field.name: field.type for field in dataclasses.fields(node)}


@functools.cache
def schedules() -> dict[str, Component]:
    """The learning-rate schedules, as components that no plugin owns."""
    functions = {name: getattr(optax, name, None) for name in SCHEDULES}
    return {
        name: Component("schedule", name, function, "optax", optax.__version__, "")
        for name, function in functions.items()
        if function is not None
    }


def store(registry: Registry, nodes: Mapping[str, object]) -> None:
    """Put a node for every component into the ConfigStore, and those of a command by name."""
    config_store = ConfigStore.instance()
    components = [component for kind in KINDS for component in registry.components(kind).values()]
    for component in [*components, *schedules().values()]:
        for group, entry in _entries(component):
            config_store.repo.setdefault(group, {})[entry.name] = entry
    for name, node in nodes.items():
        config_store.store(name=name, node=node)


@functools.cache
def _entries(component: Component) -> list[tuple[str, ConfigNode]]:
    """What the ConfigStore holds for a component, by group.

    Kept, because making them anew would take as long as composing a configuration does; Hydra copies what it loads.
    """

    def entry(group: str, node: type | DictConfig, package: str | None = None) -> tuple[str, ConfigNode]:
        name, structured = f"{component.name}.yaml", OmegaConf.structured(node)
        return group, ConfigNode(name, structured, group, package, component.distribution)

    if component.kind == "property":
        return [
            entry("property", _term(component), f"terms.{component.name}"),
            # A property inside another one, without the objective and weight of a term.
            entry(NESTED_PROPERTY, _node(component, with_nested=True)),
        ]
    # There may be several trackers, each under its own name.
    package = f"trackers.{component.name}" if component.kind == "tracker" else None
    return [entry(component.kind, _node(component, with_nested=component.kind != "schedule"), package)]


def typed(component: Component, given: Mapping[str, Setting]) -> DictConfig:
    """The typed node of a component with these keys; what follows the system follows it."""
    node = OmegaConf.merge(_node(component), OmegaConf.create(dict(given)))
    assert isinstance(node, DictConfig)
    for name, parameter in parameters(component).items():
        if parameter.follows_system and name in given:
            node[name] = f"${{system.{name}}}"
    return node


def reread(component: Component, given: Mapping[str, Setting]) -> dict[str, Setting]:
    """The keys of a component as they come back from YAML, having gone through its typed node."""
    typed = OmegaConf.merge(_node(component), OmegaConf.create(dict(given)))
    data: Setting = OmegaConf.to_container(OmegaConf.create(OmegaConf.to_yaml(typed)), resolve=False)
    return {str(key): value for key, value in data.items()}


def _term(component: Component) -> DictConfig:
    node: DictConfig = OmegaConf.structured(TermNode)
    node.property = _node(component)
    defaults = ["_self_", {"/objective@objective": DEFAULT_OBJECTIVE}, *_nested(component, "property.")]
    term = OmegaConf.merge({"defaults": defaults}, node)
    assert isinstance(term, DictConfig)
    return term


def _nested(component: Component, prefix: str) -> list[dict[str, Setting]]:
    """The defaults list of the nested components (and schedules) of a component."""
    result: list[dict[str, Setting]] = []
    for parameter in parameters(component).values():
        if parameter.kind == "schedule":
            result.append({f"/schedule@{prefix}{parameter.name}": None})
        elif parameter.kind == "component":
            choice = "???" if parameter.default is REQUIRED else parameter.default
            group = NESTED_PROPERTY if parameter.group == "property" else parameter.group
            result.append({f"/{group}@{prefix}{parameter.name}": choice})
    return result


def _node(component: Component, *, with_nested: bool = False) -> DictConfig:
    node: DictConfig = OmegaConf.structured(_node_class(component, with_nested))
    return node


@functools.cache
def _node_class(component: Component, with_nested: bool) -> type:
    """The dataclass of a component's node, with the defaults list of its nested components or without.

    Kept, because `dataclasses` compiles each class anew: half of what composing a configuration would take.
    """
    fields: list[tuple[str, object, Setting]] = [("_target_", str, component.target)]
    if with_nested and (nested := _nested(component, "")):
        # `Any`: what OmegaConf does not check.
        fields.insert(0, ("defaults", list[Any], dataclasses.field(default_factory=lambda: ["_self_", *nested])))
    fields += [_field(parameter) for parameter in parameters(component).values()]
    return dataclasses.make_dataclass(f"{component.kind}_{component.name}", fields)


def _field(parameter: Parameter) -> tuple[str, object, Setting]:
    known = _TYPES.get(parameter.kind)
    # `Any`: OmegaConf does not check it, and it may be null.
    kind: object = Any if known is None else known | None if parameter.optional else known
    default = MISSING if parameter.default is REQUIRED else parameter.default
    if parameter.kind == "component":
        default = None  # the choice of the group fills it
    if parameter.follows_system:
        default = f"${{system.{parameter.name}}}"
    if isinstance(default, (list, dict)):
        return (parameter.name, kind, dataclasses.field(default_factory=lambda: default))
    return (parameter.name, kind, default)
