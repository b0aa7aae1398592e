"""All checks of all components that a package registers, as tests for pytest."""

import dataclasses
import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Callable, Mapping

from .._errors import suggestion
from .._types import Built, Setting
from ..hookspecs import PROJECT
from ..registry.component import KINDS, Component
from ..registry.registry import PluginRecord, registry
from ._combination import combination_checks
from ._executor import executor_checks
from ._failures import ConformanceError, fail, listed, raised
from ._objective import objective_checks
from ._optimizer import optimizer_checks
from ._packings import default_instance
from ._potential import potential_checks
from ._property import PropertyGroup, property_checks
from ._protocol import protocol_checks
from ._sampler import sampler_checks
from ._static import static_checks
from ._study import study_checks
from ._system import system_checks
from ._tracker import tracker_checks
from ._treatment import treatment_checks

# Libraries that take a second or more to import, and are not needed to register anything.
HEAVY = (
    "ase",
    "flax",
    "freud",
    "jax_md",
    "jaxopt",
    "matplotlib",
    "ovito",
    "pandas",
    "pymatgen",
    "sklearn",
    "tensorflow",
    "torch",
)
# Seconds of computing that importing a plugin may take, beyond what glasswright itself has imported.
IMPORT_LIMIT = 1.0
_MEASURE_IMPORT = """
import importlib, json, sys, time
import glasswright, glasswright.config.compose, glasswright.registry
before, begin = set(sys.modules), time.process_time()
importlib.import_module(sys.argv[1])
seconds = time.process_time() - begin
print(json.dumps([seconds, sorted({name.split(".")[0] for name in set(sys.modules) - before})]))
"""


@dataclasses.dataclass(frozen=True)
class Case:
    """One check of one component: call `run`, which raises a `ConformanceError` if it fails."""

    name: str
    run: Callable[[], None]


def conformance_cases(
    package: str,
    parameters: Mapping[str, Mapping[str, Setting]] | None = None,
    *,
    dimensions: tuple[int, ...] = (2, 3),
) -> list[Case]:
    """Every check of every component that a package registers.

    **Arguments:**

    - `package`: name of the distribution, or of the entry point.
    - `parameters`: for components that need to be told something, by name: parameter → value.
    - `dimensions`: of the packings that properties are checked on.
    """
    record = find_plugin(package)
    if record is None or record.status != "loaded":
        return [Case("plugin", lambda: check_loaded(package))]
    cases = [Case("plugin", lambda: check_loaded(package)), Case("import", lambda: check_import(module_of(record)))]
    given = dict(parameters or {})
    built: dict[str, list[tuple[Component, Built]]] = {kind: [] for kind in KINDS}
    for kind in KINDS:
        for component in registry().components(kind).values():
            if (component.entry_point, component.distribution) != (record.entry_point, record.distribution):
                continue
            try:
                built[kind].append((component, default_instance(component, given.get(component.name))))
            except Exception as error:
                cases.append(Case(f"{kind}-{component.name}-construction", _not_built(component, error)))
    group = PropertyGroup({c.name: instance for c, instance in built["property"]}, dimensions)
    makers: dict[str, Callable[[Component, Built], dict[str, Callable[[], None]]]] = {
        "potential": potential_checks,
        "system": system_checks,
        "protocol": protocol_checks,
        "treatment": treatment_checks,
        "sampler": sampler_checks,
        "property": lambda component, instance: property_checks(component, instance, group),
        "objective": objective_checks,
        "combination": combination_checks,
        "optimizer": optimizer_checks,
        "tracker": tracker_checks,
        "executor": executor_checks,
        "study": study_checks,
    }
    for kind, members in built.items():
        for component, instance in members:
            make = makers.get(kind)
            checks = make(component, instance) if make else static_checks(instance, component)
            for name, check in checks.items():
                cases.append(Case(f"{kind}-{component.name}-{name}", check))
    return cases


def conformance_tests(
    package: str,
    parameters: Mapping[str, Mapping[str, Setting]] | None = None,
    *,
    dimensions: tuple[int, ...] = (2, 3),
) -> Callable[..., None]:
    """A test function for pytest with one case for every check of every component of a package.

    A whole test file: `test_conformance = glasswright.testing.conformance_tests("my-package")`. Arguments are those of
    `conformance_cases`.
    """
    import pytest

    cases = conformance_cases(package, parameters, dimensions=dimensions)

    @pytest.mark.parametrize("check", [pytest.param(case.run, id=case.name) for case in cases])
    def test_conformance(check: Callable[[], None]) -> None:
        __tracebackhide__ = True
        check()

    return test_conformance


def find_plugin(package: str) -> PluginRecord | None:
    """The plugin of that distribution or entry point."""
    wanted = package.replace("_", "-").lower()
    for record in registry().plugins:
        if wanted in (record.distribution.replace("_", "-").lower(), record.entry_point.replace("_", "-").lower()):
            return record
    return None


def check_loaded(package: str) -> None:
    """The plugin is installed, and was accepted."""
    record = find_plugin(package)
    if record is None:
        known = [name for record in registry().plugins for name in (record.distribution, record.entry_point)]
        fail(
            f"{package!r} is no installed plugin; {suggestion(package, known)}; install it (`pip install -e .`) with "
            f"an entry point in the group {PROJECT!r}"
        )
    if record.status != "loaded":
        fail(f"{record.label} is {record.status}: {record.error or 'see GLASSWRIGHT_DISABLE_PLUGINS'}")


def module_of(record: PluginRecord) -> str:
    """The module that an entry point names."""
    for entry_point in importlib.metadata.entry_points(group=PROJECT):
        if entry_point.name == record.entry_point and entry_point.dist and entry_point.dist.name == record.distribution:
            return entry_point.module
    raise ConformanceError(f"{record.label} has no entry point any more")


def check_import(module: str) -> None:
    """Importing the module is cheap: it happens for every command, `--help` included."""
    process = subprocess.run(
        [sys.executable, "-c", _MEASURE_IMPORT, module], capture_output=True, text=True, check=False
    )
    if process.returncode:
        fail(f"import {module} fails: {process.stderr.strip().splitlines()[-1]}")
    seconds, new = json.loads(process.stdout.strip().splitlines()[-1])
    heavy = [name for name in new if name in HEAVY]
    if heavy or seconds > IMPORT_LIMIT:
        fail(
            f"import {module} computes for {seconds:.2f} s ({IMPORT_LIMIT:g} s is allowed) and imports "
            f"{listed(heavy) or listed(new)}; every command pays for it, `--help` too: import inside the function that "
            "needs it"
        )


def _not_built(component: Component, error: Exception) -> Callable[[], None]:
    def check() -> None:
        fail(
            f"{component.kind} {component.name} cannot be built from its defaults: {raised(error)}; if it has to be "
            f"told something, write conformance_tests(…, parameters={{{component.name!r}: {{'parameter': value}}}})"
        )

    return check


__all__ = ["Case", "check_import", "conformance_cases", "conformance_tests"]
