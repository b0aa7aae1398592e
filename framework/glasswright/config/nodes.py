"""The configuration nodes of all components, kept in Hydra's ConfigStore: no component has a YAML file."""

import dataclasses
from typing import Any

import optax
from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, OmegaConf

from ..physics.system import System
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
_TYPES = {"integer": int, "number": float, "boolean": bool, "text": str}


@dataclasses.dataclass
class TermNode:
    """A wish: a property, what is wanted of it, its weight, and what counts as one."""

    property: Any = MISSING
    objective: Any = None
    weight: float = 1.0
    scale: float = 1.0


@dataclasses.dataclass
class TrainNode:
    """How long to train."""

    steps: int = 1000
    tolerance: float = 1e-6
    checkpoint_interval: int = 100
    rejection_limit: float = 0.5
    clip: float | None = None


@dataclasses.dataclass
class SystemNode:
    """How many particles of which kinds in what box."""

    n_particles: int = System.n_particles
    n_species: int = System.n_species
    dimension: int = System.dimension
    density: float = 1.6
    polydispersity: float = System.polydispersity
    heterogeneity: float = System.heterogeneity


def schedules() -> dict[str, Component]:
    """The learning-rate schedules, as components that no plugin owns."""
    found = {name: getattr(optax, name, None) for name in SCHEDULES}
    return {
        name: Component("schedule", name, function, "optax", optax.__version__, "")
        for name, function in found.items()
        if function is not None
    }


def store(registry: Registry) -> None:
    """Put a node for every component into the ConfigStore."""
    config_store = ConfigStore.instance()
    for kind in KINDS:
        for component in registry.components(kind).values():
            if kind == "property":
                config_store.store(
                    group=kind,
                    name=component.name,
                    node=_term(component),
                    package=f"terms.{component.name}",
                    provider=component.distribution,
                )
                # A property inside another one, without the objective and weight of a term.
                node = _node(component, _nested(component, ""))
                config_store.store(
                    group=NESTED_PROPERTY, name=component.name, node=node, provider=component.distribution
                )
            else:
                node = _node(component, _nested(component, ""))
                config_store.store(group=kind, name=component.name, node=node, provider=component.distribution)
    for component in schedules().values():
        config_store.store(group="schedule", name=component.name, node=_node(component, []), provider="optax")
    config_store.store(name="train_base", node={**_base(), "train": TrainNode, "system": SystemNode, "design": {}})
    config_store.store(name="measure_base", node=_base())
    # `trained`: the design variables that the run has reached, filled in from its directory. `system`: a run
    # of an earlier version may not know all of its keys.
    config_store.store(name="validate_base", node={**_base(), "system": SystemNode, "trained": {}})


def _base() -> dict[str, Any]:
    return {"terms": {}}


def _term(component: Component) -> Any:
    node = OmegaConf.structured(TermNode)
    node.property = _node(component, [])
    defaults = ["_self_", {"/objective@objective": DEFAULT_OBJECTIVE}, *_nested(component, "property.")]
    return OmegaConf.merge({"defaults": defaults}, node) if defaults else node


def _nested(component: Component, prefix: str) -> list[Any]:
    """The defaults list of the nested components (and schedules) of a component."""
    result: list[Any] = []
    for parameter in parameters(component).values():
        if parameter.kind == "schedule":
            result.append({f"/schedule@{prefix}{parameter.name}": None})
        elif parameter.kind == "component":
            choice = "???" if parameter.default is REQUIRED else parameter.default
            group = NESTED_PROPERTY if parameter.group == "property" else parameter.group
            result.append({f"/{group}@{prefix}{parameter.name}": choice})
    return result


def _node(component: Component, defaults: list[Any]) -> Any:
    fields: list[tuple] = [("_target_", str, component.target)]
    if defaults:
        fields.insert(0, ("defaults", list[Any], dataclasses.field(default_factory=lambda: ["_self_", *defaults])))
    fields += [_field(parameter) for parameter in parameters(component).values()]
    return OmegaConf.structured(dataclasses.make_dataclass(f"{component.kind}_{component.name}", fields))


def _field(parameter: Parameter) -> tuple:
    kind: Any = _TYPES.get(parameter.kind, Any)
    if kind is not Any and parameter.optional:
        kind = kind | None
    default = MISSING if parameter.default is REQUIRED else parameter.default
    if parameter.kind == "component":
        default = None  # the choice of the group fills it
    if parameter.follows_system:
        default = f"${{system.{parameter.name}}}"
    if isinstance(default, (list, dict)):
        return (parameter.name, kind, dataclasses.field(default_factory=lambda: default))
    return (parameter.name, kind, default)
