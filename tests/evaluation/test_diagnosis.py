"""A property or an objective that goes wrong is named, with the configuration, and without a traceback of JAX."""

import dataclasses

import equinox as eqx
import glasswright as gw
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from glasswright.evaluation.diagnosis import check_shapes, forget_warnings
from glasswright.registry import registry
from jaxtyping import Array, Float


class Still(gw.State):
    potential: gw.AbstractPotential
    configuration: gw.Configuration


class Nothing(gw.AbstractProtocol):
    """Leaves everything where it is: what is tested here has nothing to do with minima."""

    # A state that only this protocol can make: nothing can be found out about properties before the first one.
    provides = Still

    def prepare(self, potential, start, *, key):
        return gw.Prepared(start, gw.Outcome.converged)

    def attach(self, potential, prepared):
        return Still(potential, prepared.configuration)


class Constant(gw.AbstractPotential):
    """An energy without particles."""

    scale: Float[Array, ""] = eqx.field(converter=lambda x: jnp.asarray(x, dtype=float), default=1.0)

    @property
    def cutoff(self):
        return jnp.asarray(0.1)

    def energy(self, configuration, neighbors):
        return self.scale


class Raises(gw.AbstractProperty):
    def measure(self, state):
        raise KeyError("no such thing")


class Branches(gw.AbstractProperty):
    def measure(self, state):
        return state.potential.scale if state.potential.scale > 0 else 0.0


class Converts(gw.AbstractProperty):
    def measure(self, state):
        return float(state.potential.scale)


class NumPy(gw.AbstractProperty):
    def measure(self, state):
        return np.sum(np.array(state.potential.scale))


class NoArray(gw.AbstractProperty):
    def measure(self, state):
        return {"value": state.potential.scale}


class NotFinite(gw.AbstractProperty):
    def measure(self, state):
        return jnp.log(state.potential.scale - 2.0)


class Detached(gw.AbstractProperty):
    def measure(self, state):
        return jnp.round(state.potential.scale)


class Three(gw.AbstractProperty):
    def measure(self, state):
        return state.potential.scale * jnp.ones(3)


def experiment(measured, target=0.5):
    objective = registry().get("objective", "target").cls(target=target)
    sampler = registry().get("sampler", "tracked").cls(size=2)
    terms = {"mine": gw.Term(property=measured, objective=objective)}
    system = gw.System(n_particles=4, density=1.0)
    return gw.Experiment(
        Constant(), system, Nothing(), sampler, terms, {"scale": (0.1, 3.0)}, optax.sgd(0.1), steps=2, devices=1
    )


@pytest.mark.parametrize(
    ("measured", "message"),
    [
        (Raises(), r"Raises\.measure raised KeyError: 'no such thing' \(.*test_diagnosis\.py, line \d+\)"),
        (Branches(), r"Branches\.measure raised TracerBoolConversionError: .*no `if` on values"),
        (Converts(), r"Converts\.measure raised ConcretizationTypeError: .*no float\(\)"),
        (NumPy(), r"NumPy\.measure raised TracerArrayConversionError: .*no NumPy"),
        (NoArray(), r"NoArray\.measure returned a dictionary; measure must return a real number"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, gw.AbstractProperty) else "",
)
def test_a_property_that_raises_is_named_with_the_configuration(measured, message):
    with pytest.raises(gw.RunError, match=rf"^terms\.mine\.property: {message}.* on configuration 0") as raised:
        gw.train(experiment(measured))
    assert "\n" not in str(raised.value)


def test_a_property_that_raises_is_named_before_anything_is_prepared():
    harmonic_morse = registry().get("potential", "harmonic_morse").cls
    quench = registry().get("protocol", "quench").cls
    own = experiment(Raises())
    own = dataclasses.replace(own, potential=harmonic_morse(), protocol=quench(), system=gw.System())
    own = dataclasses.replace(own, design={"diameter": (0.1, 3.0)})
    with pytest.raises(
        gw.RequestError, match=r"^terms\.mine\.property: Raises\.measure raised KeyError: 'no such thing' \("
    ):
        gw.train(own)


@pytest.fixture
def nothing_warned():
    """As in a new process: each warning is logged once in a process."""
    forget_warnings()


def test_a_property_that_is_not_a_number_is_named_once(caplog, nothing_warned):
    result = gw.train(experiment(NotFinite()))
    assert result["rejected"] == {"nonfinite": 4}
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.name.startswith("glasswright.")
    assert record.getMessage().startswith("property mine: the value on configuration 0 is not finite")


def test_a_property_without_derivative_is_named(caplog, nothing_warned):
    gw.train(experiment(Detached()))
    (line,) = caplog.messages
    assert "property mine" in line
    assert "gradient is exactly zero, so it cannot be trained" in line


def test_an_objective_that_cannot_take_the_shape_is_named():
    with pytest.raises(gw.RunError, match=r"^terms\.mine\.objective: cannot take values of shape \(3,\): ") as raised:
        gw.train(experiment(Three(), target=[0.5, 0.5]))
    assert "\n" not in str(raised.value)


def test_shapes_that_differ_are_named():
    rows = [{"mine": np.zeros(2)}, {"mine": np.zeros(3)}]
    with pytest.raises(gw.RunError, match=r"mine.*shape \(3,\) on configuration 7, and \(2,\) on configuration 4"):
        check_shapes(rows, [4, 7])


def test_errors_of_others_are_not_attributed_to_properties(monkeypatch):
    from glasswright.evaluation import measurement

    def fails(*_):
        raise MemoryError("no memory left")

    monkeypatch.setattr(measurement, "measure_with_gradients", fails)
    with pytest.raises(MemoryError, match="no memory left"):
        gw.train(experiment(Three()))
    assert jax.default_backend()
