"""The potential that a file of packings carries, written by a run and read as a configuration is."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path

import equinox as eqx
import numpy as np
import yaml
from omegaconf.errors import OmegaConfBaseException

from .._errors import RequestError
from .._types import JSON, Built, Setting
from ..evaluation.design import replace_leaves, trainable_leaves
from ..physics.potential import AbstractPotential
from ..registry.parameters import parameters
from ..registry.registry import registry
from ..run.extxyz import read_potential
from ..run.files import run_configuration
from .instantiate import instantiate
from .nodes import typed


def potential_as_text(potential: AbstractPotential, config: str | None = None) -> str:
    """A potential as the JSON that packings carry: its node, and the values of parameters that no node can say.

    A potential that no configuration describes is only named.

    **Arguments:**

    - `config`: the resolved configuration (YAML) of the run, whose `potential` describes the potential before it was
      trained; None for one that was made by hand.
    """
    described = yaml.safe_load(config).get("potential") if config is not None else _node_of(potential)
    leaves = {path: leaf.tolist() for path, leaf in trainable_leaves({"potential": potential}).items()}
    if isinstance(described, dict):
        own = {path.removeprefix("potential."): value for path, value in leaves.items()}
        for content in ({"potential": _filled(described, own)}, {"potential": described, "trained": leaves}):
            if _describes(content, potential):
                return json.dumps(content)
    cls = type(potential)
    return json.dumps({"class": f"{cls.__module__}.{cls.__qualname__}"})


def carried_potential(path: Path, key: str) -> dict[str, Setting] | None:
    """The node of the potential that a file carries, and its `trained` values; None if it carries none.

    Raises `RequestError`, which begins with the key and the file, for anything but the plain description of a
    registered potential.
    """
    text = read_potential(path, key)
    if text is None:
        return None
    where, advice = f"{key}={path}", "name one: potential=NAME"
    try:
        content = json.loads(text)
    except ValueError:
        content = None
    if isinstance(content, dict) and isinstance(content.get("class"), str):
        raise RequestError(f"{where}: was made with {content['class']}, which no configuration describes; {advice}")
    node = content.get("potential") if isinstance(content, dict) else None
    trained = content.get("trained", {}) if isinstance(content, dict) else None
    if not isinstance(node, dict) or not isinstance(trained, dict) or "${" in text:
        raise RequestError(f"{where}: the potential that it carries cannot be understood; {advice}")
    known = {component.target: component for component in registry().components("potential").values()}
    component = known.get(str(node.get("_target_")))
    if component is None:
        raise RequestError(
            f"{where}: was made with {node.get('_target_')}, which is no registered potential; install the plugin "
            f"that has it, or {advice}"
        )
    try:
        return {"potential": typed(component, node), "trained": trained}
    except (ValueError, OmegaConfBaseException) as error:
        raise RequestError(
            f"{where}: the potential that it carries is no {component.name}: {' '.join(str(error).split())}"
        ) from error


def refuse_packing_of_run(path: Path, key: str) -> None:
    """Raise `RequestError` if a packing that carries no potential is of a run: it is at rest under the trained one.

    Trajectories carry none, and neither does what `export` writes for other programs, nor packings of earlier versions.
    """
    folder = path.resolve().parent
    run = folder.parent if folder.name == "export" else folder
    if (run / "config.yaml").exists() and "optimizer" in run_configuration(run):
        given = path.parent.parent if folder.name == "export" else path.parent
        raise RequestError(
            f"{key}={path}: is of a run and carries no potential; relax=true would relax it under another one than the "
            f"trained; glasswright measure {shlex.quote(f'run={given}')} uses that"
        )


def with_trained(model: Mapping[str, Built], trained: Mapping[str, Setting]) -> dict[str, Built]:
    """Potential and protocol by name with trained values, named as design variables are, in their place.

    Variables of the system are left out: the box is that of the packing.
    """
    leaves = trainable_leaves(dict(model))
    values = {}
    for name, value in trained.items():
        paths = [path for path in leaves if path == name or path.rsplit(".", 1)[-1] == name]
        if len(paths) == 1:
            if np.shape(value) != leaves[paths[0]].shape:
                raise RequestError(
                    f"trained.{name}: has the shape {np.shape(value)}, and that of {paths[0]} here is "
                    f"{leaves[paths[0]].shape}"
                )
            values[paths[0]] = np.asarray(value, dtype=float)
    return dict(replace_leaves(dict(model), values))


def _node_of(potential: AbstractPotential) -> dict[str, Setting] | None:
    """The node of a potential that was made by hand, from the fields that have the names of its parameters."""
    components = [c for c in registry().components("potential").values() if c.cls is type(potential)]
    if not components:
        return None
    node: dict[str, Setting] = {"_target_": components[0].target}
    for name in parameters(components[0]):
        value = getattr(potential, name, None)
        node[name] = np.asarray(value).tolist() if eqx.is_array(value) else value
    try:
        json.dumps(node)
    except TypeError:
        return None
    return node


def _filled(node: Mapping[str, Setting], values: Mapping[str, Setting], prefix: str = "") -> dict[str, Setting]:
    """The node of a component, those of its parts included, with these values by dotted path in their places."""
    return {
        name: _filled(value, values, f"{prefix}{name}.")
        if isinstance(value, dict)
        else values.get(f"{prefix}{name}", value)
        for name, value in node.items()
    }


def _describes(content: Mapping[str, JSON], potential: AbstractPotential) -> bool:
    """Whether the potential can be made again from what is said about it, to the last bit."""
    try:
        again = instantiate("potential", json.loads(json.dumps(content["potential"])), "potential", {})
        again = with_trained({"potential": again}, content.get("trained", {}))["potential"]
    except (RequestError, TypeError):
        return False
    return bool(eqx.tree_equal(again, potential))
