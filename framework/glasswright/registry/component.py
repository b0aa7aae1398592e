import dataclasses
import inspect
import sys
from collections.abc import Callable
from typing import Any

from ..components.combination import AbstractCombination
from ..components.objective import AbstractObjective
from ..components.property import AbstractProperty
from ..components.protocol import AbstractProtocol
from ..components.sampler import AbstractSampler
from ..physics.potential import AbstractPotential

# Kind of component → the hook that registers it, and what it must be a subclass of: optimizers are functions.
KINDS: dict[str, tuple[str, type | None]] = {
    "potential": ("register_potentials", AbstractPotential),
    "protocol": ("register_protocols", AbstractProtocol),
    "sampler": ("register_samplers", AbstractSampler),
    "property": ("register_properties", AbstractProperty),
    "objective": ("register_objectives", AbstractObjective),
    "combination": ("register_combinations", AbstractCombination),
    "optimizer": ("register_optimizers", None),
}


class PluginError(Exception):
    """Why a plugin was skipped."""


@dataclasses.dataclass(frozen=True)
class Component:
    """One registered class (or optimizer function), under its name, with the plugin that owns it.

    **Attributes:**

    - `defaults`: what `register` was given besides the class: default values of parameters, and for a nested
      component the name of the default choice.
    """

    kind: str
    name: str
    cls: Callable[..., Any]
    distribution: str
    version: str
    entry_point: str
    defaults: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def target(self) -> str:
        """The `_target_` that stands for this component in a configuration."""
        # A partial function says of itself that it comes from functools.
        module = getattr(self.cls, "func", self.cls).__module__
        package = module.split(".")[0]
        name = getattr(self.cls, "__qualname__", self.name)
        # `optax.adam` rather than the private module it happens to be defined in.
        if "._" in module and getattr(sys.modules.get(package), name, None) is inspect.unwrap(self.cls):
            return f"{package}.{name}"
        return f"{module}.{name}"
