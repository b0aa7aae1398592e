"""The kit of checks: it passes everything built in, and catches one planted fault after the other."""

import random
import re
import textwrap

import numpy as np
import planted_faults
import pytest
from glasswright.registry import registry
from glasswright.testing import (
    ConformanceError,
    check_combination,
    check_import,
    check_objective,
    check_optimizer,
    check_sampler,
    conformance_cases,
    conformance_tests,
)
from glasswright.testing._property import PropertyGroup, property_checks
from glasswright.testing._static import as_component, check_configuration
from helpers import REFERENCE, ROOT, component

# Components that have to be told something.
PARAMETERS = {
    "band": {"lower": 0.3, "upper": 0.35},
    "curve": {"target": [0.3, 0.4]},
    "file": {"path": str(REFERENCE / "2d_n368_sp2_a5.extxyz")},
    "harmonic_spring_network": {"packing": str(REFERENCE / "2d_n368_sp2_a5.extxyz"), "rest_ratio": 0.97},
    "jax_md": {"function": "soft_sphere", "parameters": {"sigma": [0.8, 1.0]}, "cutoff": 1.0, "n_species": 2},
    "ratio": {"target": 0.3},
    "target": {"target": 0.3},
    "target_each": {"target": 0.3},
    "tabulated": {"path": str(REFERENCE / "lennard_jones.txt"), "n_species": 2, "length": [1.0, 0.9, 0.8]},
    "sum": {"first": "soft_sphere", "second": "morse"},
}

CASES = conformance_cases("glasswright", PARAMETERS)
# Minutes of compiling. By default test_properties.py checks derivatives of properties.
LONG = ("potential-", "protocol-", "property-", "treatment-")


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.name, marks=[pytest.mark.slow] if case.name.startswith(LONG) else [])
        for case in CASES
    ],
)
def test_builtin(case):
    case.run()


def test_the_tests_of_a_package_are_its_cases():
    (mark,) = conformance_tests("glasswright", PARAMETERS).pytestmark
    assert [parameter.id for parameter in mark.args[1]] == [case.name for case in CASES]


# Fault → the check that finds it, and what the message says.
FAULTS = {
    "DetachedArray": ("gradient", r"central differences .* off by .* of the gradient's norm"),
    "Impure": ("determinism", "measured twice .* no counters"),
    "WrongShape": ("shape", r"declares Float\[Array, ''\], but returned float64 of shape \(1,\)"),
    "HiddenFloat32": ("precision", "computes with float32"),
    "NanAtOneNeighbour": ("value", "two with a single neighbour.* not finite"),
    "NotInvariant": ("invariance (translated)", "with particles translated it is"),
    "MissingUnits": ("documentation", "does not state its units"),
    "Unpicklable": ("pickling", "cannot be pickled .*joblib"),
    "Nondeterministic": ("determinism", "measured twice .* random numbers"),
}


@pytest.fixture(scope="module")
def planted():
    """Every property of `planted_faults`, measured together in two dimensions: name → its checks."""
    instances = {name: getattr(planted_faults, name)() for name in ["Healthy", *FAULTS]}
    # A derivative that is not a number makes the others of its group be compiled one by one, so it has its own.
    alone = {"NanAtOneNeighbour": instances["NanAtOneNeighbour"]}
    together = {name: instance for name, instance in instances.items() if name not in alone}
    groups = [PropertyGroup(members, dimensions=(2,)) for members in (together, alone)]
    return {
        name: property_checks(as_component(instance, name), instance, group)
        for group in groups
        for name, instance in group.properties.items()
    }


def test_a_healthy_property_passes_all_checks(planted):
    for check in planted["Healthy"].values():
        check()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_caught(planted, fault):
    check, message = FAULTS[fault]
    with pytest.raises(ConformanceError) as raised:
        planted[fault][check]()
    assert re.search(message, str(raised.value)), raised.value


def test_a_heavy_import_is_caught(tmp_path, monkeypatch):
    (tmp_path / "heavy_plugin.py").write_text("import matplotlib.pyplot\n")
    (tmp_path / "light_plugin.py").write_text("import glasswright as gw\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    with pytest.raises(ConformanceError, match=r"import heavy_plugin computes for .* imports matplotlib"):
        check_import("heavy_plugin")
    check_import("light_plugin")


def test_every_planted_fault_is_in_the_documentation():
    page = (ROOT / "docs" / "testing_plugins.md").read_text()
    rows = re.findall(r"^\| [^|]+ \| `([^`|]+)` \|", page, re.MULTILINE)
    wanted = [*(check for check, _ in FAULTS.values()), "import"]
    assert sorted(rows[: len(wanted)]) == sorted(wanted)


def test_every_builtin_component_is_checked():
    names = {case.name.rsplit("-", 1)[0] for case in CASES}
    own = [c for c in registry().by_target().values() if c.distribution == "glasswright"]
    registered = {f"{kind}-{name}" for kind in {c.kind for c in own} for name in registry().components(kind)}
    assert registered <= names


def test_a_package_that_is_not_there_is_one_failing_case():
    (case,) = conformance_cases("glaswright")
    with pytest.raises(ConformanceError, match="no installed plugin; did you mean 'glasswright'"):
        case.run()


def test_a_component_that_has_to_be_told_something_says_so():
    (case,) = [c for c in conformance_cases("glasswright") if c.name == "objective-target-construction"]
    with pytest.raises(ConformanceError, match=r"target.target is required; .*parameters="):
        case.run()


SAMPLER = """
class Wrong(gw.AbstractSampler):
    '''Wrong.'''
    size: int = 2
    is_population = False
    def indices(self, step):
        return {indices}
"""
OBJECTIVE = """
class Wrong(gw.AbstractObjective):
    '''Wrong.'''
    def loss(self, values, accepted, sampling):
        return {loss}
"""


COMBINATION = """
class Wrong(gw.AbstractCombination):
    '''Wrong.'''
    def start(self, names):
        return {start}
    def factors(self, gradients, losses, weights, state):
        return {factors}, state
"""


def make(source: str):
    """An instance of the class `Wrong` that a source text defines, in a module of its own."""
    import sys
    import types

    import glasswright as gw
    import jax
    import jax.numpy as jnp

    module = types.ModuleType("wrong_components")
    vars(module).update(gw=gw, jax=jax, jnp=jnp, np=np, random=random)
    sys.modules[module.__name__] = module
    exec(textwrap.dedent(source), vars(module))
    return module.Wrong()


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ("[step]", "it must be 2 different configurations"),
        ("[step, step]", "it must be 2 different configurations"),
        ("[-1, step]", "integers from 0 on"),
        ("[step, 1e3]", "integers from 0 on"),
    ],
)
def test_wrong_samplers_are_caught(indices, message):
    with pytest.raises(ConformanceError, match=message):
        check_sampler(make(SAMPLER.format(indices=indices)))


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ("jnp.sum(values)", "rejected packings"),
        ("jnp.sum(jnp.where(accepted, values, 0.0), keepdims=True)", r"of shape \(\)"),
        ("values[0] + 0.0 * jnp.sum(values)", "when packings change places"),
        ("jax.lax.stop_gradient(values[0]) * jnp.sum(jnp.where(accepted, values, 0.0))", "dependence on the values"),
        ("jnp.float32(0.0) * 1", "finite float64"),
    ],
)
def test_wrong_objectives_are_caught(loss, message):
    with pytest.raises(ConformanceError, match=message):
        check_objective(make(OBJECTIVE.format(loss=loss)))


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    ("start", "factors", "message"),
    [
        ("()", "{name: 1.0 - losses[name] for name in gradients}", "must be a finite number of at least zero"),
        ("()", "{name: 1.0 / losses[name] for name in gradients}", "raised ZeroDivisionError"),
        ("()", "{'pressure': 1.0}", "it returns factors for pressure; the terms are pressure, poisson_ratio"),
        ("()", "{name: float(name == next(iter(gradients))) for name in gradients}", "with the terms reversed"),
        ("()", "{name: random.random() for name in gradients}", "asked twice it gave"),
        ("()", "dict.fromkeys(gradients, 0.0)", "nothing would train"),
        ("()", "{name: gradients[name]['diameter'].sort() or 1.0 for name in gradients}", "changes the gradients"),
        ("{'last': None, 'names': 'none'}", "dict.fromkeys(gradients, 1.0)", "start returns str; keep arrays only"),
    ],
)
def test_wrong_combinations_are_caught(start, factors, message):
    with pytest.raises(ConformanceError, match=message):
        check_combination(make(COMBINATION.format(start=start, factors=factors)))


@pytest.mark.wrong_types
def test_wrong_optimizers_are_caught():
    import optax

    with pytest.raises(ConformanceError, match="no less than"):
        check_optimizer(optax.sgd(-1e-2))
    with pytest.raises(ConformanceError, match=r"not an optax\.GradientTransformation"):
        check_optimizer(lambda: None)  # type: ignore[arg-type]


def test_choices_of_a_component_within_may_be_left_open() -> None:
    """The box of the quench that prepares the packing is neither fixed nor free until there is a pressure."""
    instance = component("protocol", "shear")()
    assert instance.preparation.box is None
    check_configuration(instance, as_component(instance))
