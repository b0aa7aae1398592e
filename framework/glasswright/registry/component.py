"""What a component is: its kind, its name, and the plugin that it comes from."""

import dataclasses
import inspect
import sys
from collections.abc import Callable
from typing import NamedTuple

import optax

from .._types import Built, Setting
from ..components.combination import AbstractCombination
from ..components.executor import AbstractExecutor
from ..components.objective import AbstractObjective
from ..components.property import AbstractProperty
from ..components.protocol import AbstractProtocol
from ..components.sampler import AbstractSampler
from ..components.study import AbstractStudy
from ..components.system import AbstractSystem
from ..components.tracker import AbstractTracker
from ..components.treatment import AbstractTreatment
from ..physics.potential import AbstractPotential


class Kind(NamedTuple):
    """A kind of component: the hook that registers it, and the type of its instances.

    **Attributes:**

    - `hook`: name of the hook in `hookspecs`.
    - `instance`: what parameters of this kind are annotated with.
    - `base`: what a registered class must be a subclass of; None where functions are registered.
    """

    hook: str
    instance: type
    base: type | None


# All kinds of components: every other list of them is made from this one.
KINDS: dict[str, Kind] = {
    "potential": Kind("register_potentials", AbstractPotential, AbstractPotential),
    "system": Kind("register_systems", AbstractSystem, AbstractSystem),
    "protocol": Kind("register_protocols", AbstractProtocol, AbstractProtocol),
    "treatment": Kind("register_treatments", AbstractTreatment, AbstractTreatment),
    "sampler": Kind("register_samplers", AbstractSampler, AbstractSampler),
    "property": Kind("register_properties", AbstractProperty, AbstractProperty),
    "objective": Kind("register_objectives", AbstractObjective, AbstractObjective),
    "combination": Kind("register_combinations", AbstractCombination, AbstractCombination),
    # A function that returns an optimizer.
    "optimizer": Kind("register_optimizers", optax.GradientTransformation, None),
    "tracker": Kind("register_trackers", AbstractTracker, AbstractTracker),
    "executor": Kind("register_executors", AbstractExecutor, AbstractExecutor),
    "study": Kind("register_studies", AbstractStudy, AbstractStudy),
}


def kind_of(cls: object) -> str | None:
    """The kind of component that instances of a class are; None for anything else."""
    if not isinstance(cls, type):
        return None
    return next((name for name, kind in KINDS.items() if issubclass(cls, kind.instance)), None)


class PluginError(Exception):
    """A plugin cannot be used: the message says why it was skipped."""


# Compared and hashed as the object that was registered: what is made for a component can be cached.
@dataclasses.dataclass(frozen=True, eq=False)
class Component:
    """One registered class (or optimizer function), under its name, with the plugin that owns it.

    **Attributes:**

    - `kind`: a key of `KINDS`.
    - `name`: the name that configurations choose it by, unique within its kind.
    - `cls`: the class, or the function that makes an optimizer.
    - `distribution`, `version`, `entry_point`: the plugin that registered it.
    - `defaults`: keyword arguments of `register`: default values of parameters, and for a nested component the name
      of the default choice.
    """

    kind: str
    name: str
    cls: Callable[..., Built]
    distribution: str
    version: str
    entry_point: str
    defaults: dict[str, Setting] = dataclasses.field(default_factory=dict)

    @property
    def target(self) -> str:
        """The `_target_` that stands for this component in a configuration."""
        # The module of a partial function is functools.
        module = getattr(self.cls, "func", self.cls).__module__
        package = module.split(".")[0]
        name = getattr(self.cls, "__qualname__", self.name)
        # The public `optax.adam` in place of the private module that defines it.
        if "._" in module and getattr(sys.modules.get(package), name, None) is inspect.unwrap(self.cls):
            return f"{package}.{name}"
        return f"{module}.{name}"
