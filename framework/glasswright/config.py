"""From a composed configuration to the objects it describes, through the registry: no import by name."""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ._design import resolve_design
from ._errors import RequestError, one_line, suggestion
from ._experiment import Experiment, check_cutoff, check_experiment
from ._messages import explain
from ._nodes import NESTED_PROPERTY, SystemNode, TermNode, TrainNode, schedules
from ._numbers import names_numbers, read_numbers
from ._objective import Term
from ._property import AbstractProperty
from ._protocol import AbstractProtocol
from ._schema import REQUIRED, parameters
from ._system import System
from ._team import MAX_OVERSUBSCRIPTION, available_devices
from ._values import (
    MISSING,
    at_least_zero,
    boolean,
    check_names,
    check_value,
    integer,
    missing_keys,
    number,
    share,
)
from .registry import Component, registry

_TRAIN_KEYS = dict.fromkeys(
    (
        "potential",
        "system",
        "protocol",
        "sampler",
        "terms",
        "design",
        "combination",
        "optimizer",
        "train",
        "seed",
        "devices",
        "chunk_size",
    )
)
_VALIDATE_KEYS = _TRAIN_KEYS | dict.fromkeys(("run", "n_configurations", "n_untrained", "trained"))
# The others of the system's parameters are numbers.
_COUNTS = ("n_particles", "n_species", "dimension")
_MEASURE_KEYS = dict.fromkeys(("potential", "protocol", "terms", "configuration", "relax", "gradient", "system"))


def plain(config: DictConfig | Mapping[str, Any]) -> dict[str, Any]:
    """A configuration as plain data, everything resolved, without its `hydra` node."""
    try:
        data: Any = OmegaConf.to_container(config, resolve=True) if OmegaConf.is_config(config) else dict(config)
    except OmegaConfBaseException as error:
        raise RequestError(explain(error)) from error
    return {key: value for key, value in data.items() if key != "hydra"}


def _without_hydra(config: DictConfig | Mapping[str, Any]) -> DictConfig:
    # Parts of the hydra node can only be resolved while a job runs.
    node = config if isinstance(config, DictConfig) else OmegaConf.create(dict(config))
    return OmegaConf.masked_copy(node, [str(key) for key in node if key != "hydra"])


def build(config: DictConfig | Mapping[str, Any]) -> Experiment:
    """The experiment that a configuration of `train` describes.

    Raises `RequestError` with one line that names the key for everything that is wrong with it.
    """
    data = plain(_without_hydra(config))
    check_names(data, _TRAIN_KEYS, "", "key")
    _require_terms(data.get("terms"))
    _check_required(data)
    system = _system(data.get("system") or {})
    size = dataclasses.asdict(system) | {"density": float(system.density)}
    train = data.get("train") or {}
    check_names(train, TrainNode.__dataclass_fields__, "train", "key")
    train = dataclasses.asdict(TrainNode()) | train
    protocol = instantiate("protocol", data.get("protocol"), "protocol", size)
    experiment = Experiment(
        potential=instantiate("potential", data.get("potential"), "potential", size),
        system=system,
        protocol=protocol,
        sampler=instantiate("sampler", data.get("sampler"), "sampler", size),
        terms={name: _term(name, node, protocol, size) for name, node in data["terms"].items()},
        design=_design(data.get("design")),
        optimizer=instantiate("optimizer", data.get("optimizer"), "optimizer", size),
        combination=None
        if data.get("combination") is None
        else instantiate("combination", data["combination"], "combination", size),
        steps=integer(train["steps"], "train.steps", least=1),
        tolerance=at_least_zero(train["tolerance"], "train.tolerance"),
        seed=integer(data.get("seed", 0), "seed", least=0),
        checkpoint_interval=integer(train["checkpoint_interval"], "train.checkpoint_interval", least=1),
        rejection_limit=share(train["rejection_limit"], "train.rejection_limit"),
        clip=None if train["clip"] is None else number(train["clip"], "train.clip"),
        devices=_devices(data.get("devices", "auto")),
        chunk_size=_chunk_size(data.get("chunk_size", "auto")),
        config=OmegaConf.to_yaml(OmegaConf.create(data)),
    )
    check_experiment(experiment)
    return experiment


def build_validation(config: DictConfig | Mapping[str, Any]) -> Any:
    """The `Validation` that a configuration of `validate` describes."""
    from ._validate import Unjudged, Validation

    data = plain(_without_hydra(config))
    check_names(data, _VALIDATE_KEYS, "", "key")
    own = {name: data.pop(name, None) for name in ("run", "n_configurations", "n_untrained", "trained")}
    numbers = {
        "trained": integer(own["n_configurations"], "n_configurations", least=1),
        "untrained": integer(own["n_untrained"], "n_untrained", least=0),
    }
    unjudged = [name for name, node in (data.get("terms") or {}).items() if _wants_nothing(node)]
    for name in unjudged:
        data["terms"][name]["objective"] = None
    kept = OmegaConf.to_yaml(OmegaConf.create(data | own))
    for name in unjudged:
        # A placeholder, so that all the rest is checked as in a training.
        data["terms"][name]["objective"] = {
            "_target_": registry().components("objective")["target"].target,
            "target": 0,
        }
    experiment = build(data)
    if experiment.potential.start is not None:
        raise RequestError(
            f"run={own['run']}: {type(experiment.potential).__name__} belongs to the one packing that it was trained "
            "on: there are no others to validate it on"
        )
    terms = {
        name: dataclasses.replace(term, objective=Unjudged()) if name in unjudged else term
        for name, term in experiment.terms.items()
    }
    design = resolve_design(experiment.world, experiment.design)
    start = design.values(experiment.world)
    trained = dict(start)
    for name, value in (own["trained"] or {}).items():
        if name not in start:
            raise RequestError(f"trained.{name}: no design variable of the run; {suggestion(name, start)}")
        number_of, expected = np.shape(value), start[name].shape
        if number_of != expected:
            raise RequestError(
                f"trained.{name}: the run has {number_of} numbers, this system needs {expected}; a design can only be "
                "validated with as many species as it was trained with"
            )
        trained[name] = jnp.asarray(value, dtype=float)
    worlds = {"trained": design.insert(experiment.world, trained), "untrained": experiment.world}
    given = f"system.n_particles={experiment.system.n_particles}"
    check_cutoff(worlds["trained"]["potential"], worlds["trained"]["system"].largest_particles, given)
    return Validation(
        worlds={name: world for name, world in worlds.items() if numbers[name]},
        numbers=numbers,
        terms=terms,
        design=design,
        seed=experiment.seed,
        rejection_limit=experiment.rejection_limit,
        devices=experiment.devices,
        chunk_size=experiment.chunk_size,
        config=kept,
    )


def _wants_nothing(node: Any) -> bool:
    """Whether a term has a property and no objective, or one whose target is still open."""
    objective = node.get("objective") if isinstance(node, dict) else None
    return objective is None or (isinstance(objective, dict) and MISSING in objective.values())


def build_measurement(config: DictConfig | Mapping[str, Any], folder: Path | None = None) -> Any:
    """The `MeasureRequest` of a configuration of `measure`; file names are relative to `folder`."""
    from ._measure import MeasureRequest
    from .run.extxyz import read_configuration

    given = _without_hydra(config)
    OmegaConf.set_struct(given, False)
    if "system" in given:
        raise RequestError("system: the number of particles, species and the density come from configuration=FILE")
    if OmegaConf.is_missing(given, "configuration") or given.get("configuration") is None:
        raise RequestError("configuration is required: configuration=FILE.extxyz")
    name = given.configuration
    if not isinstance(name, str):
        raise RequestError(f"configuration={name!r}: must be the name of a file")
    packing = read_configuration((folder or Path.cwd()) / name)
    size = {
        "n_particles": packing.n_particles,
        "n_species": int(packing.species.max()) + 1,
        "dimension": packing.dimension,
        "density": float(packing.n_particles / packing.volume),
    }
    given.system = size  # parameters left out follow the file
    data = plain(given)
    check_names(data, _MEASURE_KEYS, "", "key")
    terms = data.get("terms") or {}
    for term in terms.values():
        if isinstance(term, dict):
            term.pop("objective", None)
    _check_required(data)
    protocol = instantiate("protocol", data.get("protocol"), "protocol", size)
    properties = {key: _property(key, node, protocol, size) for key, node in terms.items()}
    return MeasureRequest(
        configuration=packing,
        potential=instantiate("potential", data.get("potential"), "potential", size),
        protocol=protocol,
        properties=properties or _fitting_properties(protocol),
        relax=boolean(data.get("relax", False), "relax"),
        gradient=boolean(data.get("gradient", False), "gradient"),
    )


def instantiate(kind: str, node: Any, key: str, system: Mapping[str, Any]) -> Any:
    """The component that a node describes; parameters such as `n_species` have to agree with `system`."""
    if node is None or node == MISSING:
        possible = ", ".join(schedules() if kind == "schedule" else registry().components(kind))
        raise RequestError(f"{key} is required: no {kind} is chosen; possible: {possible}")
    return construct(_component(kind, node, key), node, key, system)


def construct(component: Component, node: dict[str, Any], key: str, system: Mapping[str, Any]) -> Any:
    """This component with the parameters of a node, each checked against its type."""
    known = parameters(component)
    given = {name: value for name, value in node.items() if name != "_target_"}
    check_names(given, known, key, f"parameter of {component.name}")
    arguments = {}
    for name, value in given.items():
        path, parameter = f"{key}.{name}", known[name]
        if parameter.kind == "component" and isinstance(value, dict):
            arguments[name] = instantiate(parameter.group, value, path, system)
        elif parameter.kind == "schedule" and isinstance(value, dict):
            arguments[name] = instantiate("schedule", value, path, system)
        elif parameter.kind == "component" and (value is not None or not parameter.optional):
            group = NESTED_PROPERTY if parameter.group == "property" else parameter.group
            shown = "null" if value is None else repr(value)
            raise RequestError(f"{path}={shown}: must be a {parameter.group}; choose {group}@{path}=…")
        else:
            if parameter.kind == "array" and names_numbers(value):
                # In place, so that the configuration that is kept has the numbers.
                value = node[name] = read_numbers(value, path)
            arguments[name] = check_value(parameter, value, path)
        if parameter.follows_system and name in system and value is not None and value != system[name]:
            raise RequestError(f"{path}={value}: it follows the system, which has {system[name]}; set system.{name}")
    for name, parameter in known.items():
        if parameter.default is REQUIRED and name not in arguments:
            raise RequestError(f"{key}.{name} is required")
    try:
        return component.cls(**arguments)
    except RequestError:
        raise
    except Exception as error:  # a constructor may object in any way
        raise RequestError(_constructor_error(error, key, known)) from error


def _component(kind: str, node: Any, key: str) -> Component:
    if not isinstance(node, dict):
        raise RequestError(f"{key}={node!r}: must be a {kind}; choose one with {key}=NAME")
    target = node.get("_target_")
    candidates = schedules() if kind == "schedule" else registry().components(kind)
    for component in candidates.values():
        if component.target == target:
            return component
    if target is None:
        raise RequestError(f"{key}: no {kind} is chosen; possible: {', '.join(candidates)}")
    targets = [component.target for component in candidates.values()]
    raise RequestError(f"{key}._target_={target}: refused, it is no registered {kind}; {suggestion(target, targets)}")


def _constructor_error(error: Exception, key: str, known: Mapping[str, Any]) -> str:
    """The constructor's message behind the key it is about, which a good message quotes as `name=`."""
    text = one_line(error) or type(error).__name__
    if not isinstance(error, ValueError):
        text = f"{type(error).__name__}: {text}"
    for name in re.findall(r"\b(\w+)=", text):
        if name in known:
            return f"{key}.{name}: {text}"
    return f"{key}: {text}"


def _require_terms(terms: Any) -> None:
    if not terms:
        possible = ", ".join(registry().components("property"))
        raise RequestError(f"property: nothing is asked for; choose with property=[…]; possible: {possible}")
    for name, node in terms.items():
        if not isinstance(node, dict) or not isinstance(node.get("property"), dict):
            known = registry().components("property")
            hint = f"add it with property=[{name}]" if name in known else suggestion(name, known)
            raise RequestError(f"terms.{name}: there is no such term: it has no property; {hint}")


def _check_required(data: Mapping[str, Any]) -> None:
    missing = missing_keys(data)
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        hint = f"for instance {missing[0]}=VALUE"
        raise RequestError(f"{', '.join(missing)} {verb} required: {hint}")


def _term(name: str, node: Mapping[str, Any], protocol: AbstractProtocol, system: Mapping[str, Any]) -> Term:
    key = f"terms.{name}"
    check_names(node, TermNode.__dataclass_fields__, key, "key of a term")
    measured = _property(name, node, protocol, system)
    objective = instantiate("objective", node.get("objective"), f"{key}.objective", system)
    weight = number(node.get("weight", 1.0), f"{key}.weight")
    if weight < 0:
        raise RequestError(f"{key}.weight={weight:g}: must not be negative")
    scale = number(node.get("scale", 1.0), f"{key}.scale")
    if scale <= 0:
        raise RequestError(f"{key}.scale={scale:g}: must be positive")
    return Term(property=measured, objective=objective, weight=weight, scale=scale)


def _property(name: str, node: Any, protocol: AbstractProtocol, system: Mapping[str, Any]) -> AbstractProperty:
    key = f"terms.{name}.property"
    measured = instantiate("property", node.get("property") if isinstance(node, dict) else node, key, system)
    if not issubclass(protocol.provides, measured.requires):
        raise RequestError(
            f"{key}: {type(measured).__name__} needs a state of type {measured.requires.__name__}, but the "
            f"protocol {type(protocol).__name__} provides {protocol.provides.__name__}"
        )
    return measured


def _fitting_properties(protocol: AbstractProtocol) -> dict[str, AbstractProperty]:
    """Every registered property that the protocol's state is enough for and that needs no parameters."""
    result = {}
    for name, component in registry().components("property").items():
        required = [p for p in parameters(component).values() if p.default is REQUIRED]
        if not required:
            measured = component.cls()
            if issubclass(protocol.provides, measured.requires):
                result[name] = measured
    return result


def _system(node: Mapping[str, Any]) -> System:
    check_names(node, SystemNode.__dataclass_fields__, "system", "key")
    values: dict[str, Any] = {}
    for name, value in node.items():
        path = f"system.{name}"
        values[name] = integer(value, path, least=1) if name in _COUNTS else number(value, path)
    try:
        return System(**values)
    except ValueError as error:
        raise RequestError(_constructor_error(error, "system", values)) from error


def _design(node: Any, key: str = "") -> dict[str, tuple[float, float]]:
    """Bounds by dotted path; `design.potential.diameter` on the command line arrives as nested keys."""
    result: dict[str, tuple[float, float]] = {}
    for name, bounds in (node or {}).items():
        path = f"{key}.{name}" if key else str(name)
        if isinstance(bounds, dict):
            result |= _design(bounds, path)
        elif isinstance(bounds, list) and len(bounds) == 2:
            lower, upper = (number(bound, f"design.{path}", infinite=True) for bound in bounds)
            result[path] = (lower, upper)
        else:
            raise RequestError(f"design.{path}={bounds!r}: bounds must be [lower, upper]")
    return result


def _chunk_size(value: Any) -> int | None:
    """How many configurations are in work at a time; None lets memory decide."""
    return None if value == "auto" else integer(value, "chunk_size", least=1)


def _devices(devices: Any) -> int | None:
    """How many devices; None for all there are."""
    if devices == "auto":
        return None
    if isinstance(devices, bool) or not isinstance(devices, int) or devices < 1:
        raise RequestError(f"devices={devices!r}: must be auto or a number of devices")
    there = available_devices()
    if jax.default_backend() == "cpu":
        # More threads than cores gain nothing but change nothing either: the results are the same.
        there = max(MAX_OVERSUBSCRIPTION * there, jax.local_device_count())
    if devices > there:
        raise RequestError(f"devices={devices}: at most {there} are possible here")
    return devices
