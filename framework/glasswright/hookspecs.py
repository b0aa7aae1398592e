"""What a plugin can implement: mark functions of a module with `gw.hookimpl` and name it in the entry points.

Every hook is optional. Implementations may take fewer arguments than the specification, so hooks can
grow.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import pluggy

PROJECT = "glasswright"
API_VERSION = 1

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

Register = Callable[..., None]


@hookspec
def register_potentials(register: Register) -> None:
    """Call `register("name", Class)` for each `AbstractPotential`."""


@hookspec
def register_systems(register: Register) -> None:
    """Call `register("name", Class)` for each `AbstractSystem`."""


@hookspec
def register_protocols(register: Register) -> None:
    """Call `register("name", Class)` for each `AbstractProtocol`."""


@hookspec
def register_treatments(register: Register) -> None:
    """Call `register("name", Class)` for each `AbstractTreatment`."""


@hookspec
def register_samplers(register: Register) -> None:
    """Call `register("name", Class)` for each `AbstractSampler`."""


@hookspec
def register_properties(register: Register) -> None:
    """Call `register("name", Class)` for each `AbstractProperty`."""


@hookspec
def register_objectives(register: Register) -> None:
    """Call `register("name", Class)` for each `AbstractObjective`."""


@hookspec
def register_combinations(register: Register) -> None:
    """Call `register("name", Class)` for each `AbstractCombination`."""


@hookspec
def register_optimizers(register: Register) -> None:
    """Call `register("name", function)` for each function that returns an `optax.GradientTransformation`."""


@hookspec
def register_trackers(register: Register) -> None:
    """Call `register("name", Class)` for each `AbstractTracker`."""


@hookspec
def register_executors(register: Register) -> None:
    """Call `register("name", Class)` for each `AbstractExecutor`."""


@hookspec
def register_studies(register: Register) -> None:
    """Call `register("name", Class)` for each `AbstractStudy`."""


@hookspec
def config_search_paths() -> Iterable[str | Path]:
    """Folders with configuration of yours (`experiment/*.yaml`): paths, or `pkg://package.folder`."""
    return ()
