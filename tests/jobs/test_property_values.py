"""What properties return: refused by name before the run, or measured without a gradient."""

import dataclasses
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import glasswright as gw
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from glasswright.commands.measure import MEASURE
from glasswright.components.objective import NoObjective
from glasswright.evaluation.design import resolve_design
from glasswright.evaluation.model import GivenPacking, Model
from glasswright.evaluation.problem import Problem
from glasswright.evaluation.property_value import describe_unusable, is_discrete
from glasswright.evaluation.value_shape import only_usable, value_shape
from glasswright.jobs.analysis import Analysis, check_analysis
from glasswright.jobs.experiment import check_experiment
from glasswright.jobs.measure import MeasureRequest, measure
from helpers import component, properties_of_equilibria


class Returns(gw.AbstractProperty):
    """Whatever a function makes of a state."""

    function: Callable[[Any], Any]

    def measure(self, state: Any) -> Any:
        return self.function(state)


def on_the_host(state: Any) -> Any:
    shape = jax.ShapeDtypeStruct((), float)
    return jax.pure_callback(lambda x: np.sum(x), shape, state.configuration.fractional)


def raises_when_it_runs(state: Any) -> Any:
    def fail(_: Any) -> Any:
        raise OSError("the disk of the property is gone")

    return jax.pure_callback(fail, jax.ShapeDtypeStruct((), float), state.configuration.fractional)


def a_loop(state: Any) -> Any:
    return jax.lax.while_loop(lambda x: x < 10.0, lambda x: 2.0 * x, state.potential.diameter[0])


# Nothing that can be kept, and the words for it.
UNUSABLE: dict[str, tuple[Callable[[Any], Any], str]] = {
    "complex": (lambda s: s.energy * (1 + 2j), r"complex numbers \(complex128\); .*jnp\.real"),
    "complex in a list": (lambda s: [s.energy, 1j], "a list with complex numbers"),
    "dictionary": (lambda s: {"a": s.energy}, "a dictionary"),
    "none": (lambda s: None, "None"),
    "none in a tuple": (lambda s: (s.energy, None), "a tuple with None"),
    "text": (lambda s: "hello", "a text"),
    "empty": (lambda s: jnp.zeros((3, 0)), r"an array without any number \(shape \(3, 0\)\)"),
    "empty list": (lambda s: [], "an array without any number"),
    "ragged": (lambda s: [jnp.zeros(2), jnp.zeros(3)], "a list whose items differ in shape"),
    "object": (lambda s: object(), "a object"),
    "key": (lambda s: jax.random.key(0), "an array of type key"),
}
# Values without a derivative.
WITHOUT_DERIVATIVE: dict[str, tuple[Callable[[Any], Any], str]] = {
    "integer": (lambda s: 3, "integers"),
    "integers": (lambda s: jnp.sum(s.neighbors.mask), r"integers \(int64\), which have no derivative"),
    "boolean": (lambda s: s.energy > 0, "booleans, which have no derivative"),
    "host": (on_the_host, "it has no derivative: Returns.measure raised ValueError: Pure callbacks"),
    "loop": (a_loop, "it has no derivative: .*[Rr]everse-mode"),
}
FAILING: dict[str, tuple[Callable[[Any], Any], str]] = {
    "raises": (lambda s: {}["missing"], "KeyError: 'missing'"),
    "float()": (lambda s: float(s.energy), "ConcretizationTypeError"),
    "NumPy": (lambda s: np.sum(np.asarray(s.configuration.fractional)), "TracerArrayConversionError"),
    "raises when it runs": (raises_when_it_runs, "JaxRuntimeError"),
}
GOOD: dict[str, Callable[[Any], Any]] = {
    "tuple": lambda s: (s.energy, 2 * s.energy),
    "float32": lambda s: s.energy.astype(jnp.float32),
    "nested list": lambda s: [[s.energy, 1.0], [2, s.energy]],
    "jitted": jax.jit(lambda s: s.energy),
    "loop that is not followed": lambda s: s.energy + jax.lax.stop_gradient(a_loop(s)),
}


@pytest.fixture(scope="module")
def prepared() -> gw.Prepared:
    start = gw.System(n_particles=64).start(jax.random.key(2))
    quench = component("protocol", "quench")()
    return quench.prepare(component("potential", "harmonic_morse")(), start, key=jax.random.key(0))


def experiment(function: Callable[[Any], Any], **changed: Any) -> gw.Experiment:
    term = gw.Term(Returns(function), component("objective", "target")(0.5), **changed)
    return gw.Experiment(
        potential=component("potential", "harmonic_morse")(),
        system=gw.System(n_particles=64),
        protocol=component("protocol", "quench")(),
        sampler=component("sampler", "tracked")(),
        terms={"mine": term},
        design={"diameter": (0.1, 3.0)},
        optimizer=optax.sgd(1e-3),
    )


def train(function: Callable[[Any], Any], prepared: gw.Prepared) -> None:
    check_experiment(experiment(function))


def validate(function: Callable[[Any], Any], prepared: gw.Prepared) -> None:
    own = experiment(function)
    check_experiment(dataclasses.replace(own, terms={"mine": gw.Term(Returns(function), NoObjective())}))


def request(prepared: gw.Prepared, gradient: bool = True, **functions: Callable[[Any], Any]) -> MeasureRequest:
    properties: dict[str, gw.AbstractProperty] = {name: Returns(function) for name, function in functions.items()}
    return MeasureRequest(
        configuration=prepared.configuration,
        potential=component("potential", "harmonic_morse")(),
        protocol=component("protocol", "quench")(),
        properties={"pressure": component("property", "pressure")(), **properties},
        gradient=gradient,
    )


def measured(function: Callable[[Any], Any], prepared: gw.Prepared) -> None:
    measure(request(prepared, mine=function))


def analyse(function: Callable[[Any], Any], prepared: gw.Prepared) -> None:
    packing = GivenPacking(prepared.configuration.box, prepared.configuration)
    model = Model(component("potential", "harmonic_morse")(), packing, component("protocol", "quench")())
    terms = {"mine": gw.Term(Returns(function), NoObjective())}
    problem = Problem(model, resolve_design(model, {"diameter": (0.1, 3.0)}), terms)
    check_analysis(Analysis(problem, ("tunability",), prepared.configuration))


COMMANDS = {"train": train, "validate": validate, "measure": measured, "analyse": analyse}


@pytest.mark.wrong_types
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("kind", UNUSABLE)
def test_what_cannot_be_kept_is_refused_by_name(kind: str, command: str, prepared: gw.Prepared) -> None:
    function, words = UNUSABLE[kind]
    with pytest.raises(gw.RequestError, match=rf"^terms\.mine\.property: Returns\.measure returned {words}") as raised:
        COMMANDS[command](function, prepared)
    assert "measure must return a real number or an array of real numbers" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.wrong_types
@pytest.mark.parametrize("command", ["train", "analyse"])
@pytest.mark.parametrize("kind", WITHOUT_DERIVATIVE)
def test_what_has_no_derivative_cannot_be_trained(kind: str, command: str, prepared: gw.Prepared) -> None:
    function, words = WITHOUT_DERIVATIVE[kind]
    with pytest.raises(gw.RequestError, match=rf"^terms\.mine\.property: .*{words}"):
        COMMANDS[command](function, prepared)
    # It may be watched, and validated.
    validate(function, prepared)
    check_experiment(experiment(function, weight=0.0))


@pytest.mark.parametrize("command", ["train", "validate", "analyse"])
@pytest.mark.parametrize("kind", GOOD)
def test_what_is_good_stays_good(kind: str, command: str, prepared: gw.Prepared) -> None:
    COMMANDS[command](GOOD[kind], prepared)


def test_what_has_no_derivative_takes_nothing_along(
    prepared: gw.Prepared, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    functions = {kind.replace(" ", "_"): function for kind, (function, _) in WITHOUT_DERIVATIVE.items()}
    with caplog.at_level(logging.WARNING, logger="glasswright"):
        report = measure(request(prepared, **functions), tmp_path)["properties"]
    alone = measure(request(prepared))["properties"]["pressure"]
    assert report["pressure"]["gradient"] == alone["gradient"]
    assert report["pressure"]["value"] == pytest.approx(alone["value"], rel=1e-14)
    for name in functions:
        assert isinstance(report[name]["value"], float)
        assert report[name]["gradient"] is None
        assert sum(message.startswith(f"property {name}: no gradient: ") for message in caplog.messages) == 1
    assert json.loads((tmp_path / "measure.json").read_text())["properties"] == report
    assert MEASURE.failure(measure(request(prepared, gradient=False, integer=functions["integer"]))) is None


def test_what_fails_takes_nothing_along(prepared: gw.Prepared, tmp_path: Path) -> None:
    functions = {f"f{k}": function for k, (function, _) in enumerate(FAILING.values())}
    whole = measure(request(prepared, gradient=False, **functions), tmp_path)
    report = whole["properties"]
    alone = measure(request(prepared, gradient=False))["properties"]["pressure"]
    assert report["pressure"] == alone
    failure = MEASURE.failure(whole)
    for name, (_, words) in zip(functions, FAILING.values(), strict=True):
        assert report[name]["value"] is None
        assert report[name]["error"].startswith(f"terms.{name}.property: Returns.measure raised ")
        assert words in report[name]["error"]
        assert report[name]["error"] in str(failure)
    assert "\n" not in str(failure)
    assert json.loads((tmp_path / "measure.json").read_text())["properties"] == report


@pytest.mark.parametrize("kind", FAILING)
def test_where_all_fail_nothing_is_written(kind: str, prepared: gw.Prepared, tmp_path: Path) -> None:
    function, words = FAILING[kind]
    own = dataclasses.replace(request(prepared, gradient=False), properties={"mine": Returns(function)})
    with pytest.raises((gw.RequestError, gw.RunError), match=words):
        measure(own, tmp_path)
    assert not list(tmp_path.iterdir())


def test_of_properties_that_nobody_named_only_the_usable_are_taken(
    prepared: gw.Prepared, caplog: pytest.LogCaptureFixture
) -> None:
    functions = {"good": GOOD["tuple"], "integer": WITHOUT_DERIVATIVE["integer"][0], "none": UNUSABLE["none"][0]}
    properties = {name: Returns(function) for name, function in functions.items()}
    packing = GivenPacking(prepared.configuration.box, prepared.configuration)
    model = component("potential", "harmonic_morse")(), packing, gw.Equilibrium
    with caplog.at_level(logging.INFO, logger="glasswright"):
        assert set(only_usable(properties, *model)) == {"good", "integer"}
        assert set(only_usable(properties, *model, trained=True)) == {"good"}
    assert "note: left out property none: Returns.measure returned None" in caplog.text


def test_no_property_of_ours_is_refused() -> None:
    """Traced for two and three dimensions, as for a training: all of them are real and have a derivative."""
    potential = component("potential", "harmonic_morse")()
    for dimension, n in ((2, 64), (3, 256)):
        system = gw.System(n_particles=n, dimension=dimension)
        for name, entry in properties_of_equilibria().items():
            try:
                measured = entry.cls()
            except (TypeError, ValueError):
                continue  # needs parameters
            assert value_shape(name, measured, potential, system, gw.Equilibrium, trained=True) is not None


def test_values_are_described() -> None:
    assert describe_unusable(1.5) is None
    assert describe_unusable([1.5, 2]) is None
    assert not is_discrete([1.5, 2])
    assert is_discrete(np.arange(3))
    assert "whose items differ in shape" in str(describe_unusable([[1.0], [1.0, 2.0]]))
