"""A design, an optimizer or a start that is not finite ends a run in one line, and the last good state is kept."""

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import glasswright as gw
import jax
import jax.numpy as jnp
import optax
import pytest
from glasswright import cli
from glasswright.jobs.train import resume, train
from glasswright.jobs.training_state import first_not_finite, initial_state
from glasswright.run.directory import RunDirectory
from helpers import component
from jaxtyping import Array, PyTree

NAN, INFINITY = math.nan, math.inf


class Counted(NamedTuple):
    """The state of an optimizer that breaks at one of its updates."""

    number: Array
    memory: Array


def breaking(
    at: int, *, update: float = 0.0, state: float = 0.0, variable: str = "diameter", start: float = 0.0
) -> optax.GradientTransformation:
    """An optimizer whose update `at`, or its state from then on, is what is given."""

    def init(parameters: PyTree) -> Counted:
        return Counted(jnp.asarray(0), jnp.asarray(start))

    def change(gradient: PyTree, counted: Counted, parameters: PyTree = None) -> tuple[PyTree, Counted]:
        due = counted.number == at
        updates = jax.tree.map(jnp.zeros_like, gradient)
        updates[variable] = jnp.where(due, update, updates[variable])
        return updates, Counted(counted.number + 1, jnp.where(due, state, counted.memory))

    return optax.GradientTransformation(init, change)


@pytest.fixture(scope="module")
def experiment() -> gw.Experiment:
    target = component("objective", "target")(0.35)
    return gw.Experiment(
        potential=component("potential", "harmonic_morse")(),
        system=gw.System(n_particles=64),
        protocol=component("protocol", "quench")(),
        sampler=component("sampler", "tracked")(),
        terms={"poisson_ratio": gw.Term(component("property", "poisson_ratio")(), target)},
        design={"diameter": (0.1, 3.0), "binding_energy": (0.0, 10.0)},
        optimizer=optax.sgd(1e-3),
        steps=4,
        tolerance=0.0,
        devices=1,
    )


@pytest.mark.parametrize(
    ("at", "variable", "update"),
    [(0, "diameter", NAN), (2, "binding_energy", NAN), (0, "binding_energy", -INFINITY), (2, "diameter", INFINITY)],
)
def test_a_design_that_is_not_finite_ends_the_run(
    experiment: gw.Experiment, tmp_path: Path, update: float, variable: str, at: int
) -> None:
    own = dataclasses.replace(experiment, optimizer=breaking(at, update=update, variable=variable))
    if math.isnan(update):
        with pytest.raises(
            gw.RunError, match=rf"^the design \({variable}\) is not a number after step {at}; "
        ) as raised:
            train(own, tmp_path, progress=False)
        assert "\n" not in str(raised.value)
        assert [path.name for path in RunDirectory.checkpoints(tmp_path)] == [f"step_{at:08d}.ckpt"]
        assert len(RunDirectory.read_metrics(tmp_path)) == at + 1
        assert not (tmp_path / "result.json").exists()
        # Nothing is lost: with another optimizer of the same state the run goes on from there.
        assert resume(dataclasses.replace(experiment, optimizer=breaking(9)), tmp_path, progress=False)["steps"] == 4
    else:
        # The bounds of the design hold it.
        assert train(own, tmp_path, progress=False)["steps"] == 4


@pytest.mark.parametrize("state", [NAN, INFINITY])
def test_a_state_of_the_optimizer_that_is_not_finite_ends_the_run(
    experiment: gw.Experiment, tmp_path: Path, state: float
) -> None:
    own = dataclasses.replace(experiment, optimizer=breaking(1, state=state))
    with pytest.raises(gw.RunError, match=r"^the state of the optimizer \(memory\) is not a number after step 1; "):
        train(own, tmp_path, progress=False)
    assert [path.name for path in RunDirectory.checkpoints(tmp_path)] == ["step_00000001.ckpt"]


def test_a_state_may_begin_with_infinities(experiment: gw.Experiment) -> None:
    """As the best value so far does in `optax.contrib.reduce_on_plateau`."""
    own = dataclasses.replace(experiment, optimizer=breaking(1, state=INFINITY, start=INFINITY), steps=3)
    assert train(own, progress=False)["steps"] == 3
    state = initial_state(own)
    assert first_not_finite(state, state) is None
    worse = eqx.tree_at(lambda s: s.optimizer.memory, state, jnp.asarray(NAN))
    assert first_not_finite(state, worse) == "the state of the optimizer (memory)"
    combination = dataclasses.replace(state, combination=jnp.asarray(NAN))
    assert "combination" in str(first_not_finite(state, combination))


class BreaksInPhaseTwo(gw.AbstractProperty):
    """Values of an array property whose gradient is not a number."""

    def measure(self, state: Any) -> Array:
        return jnp.sqrt(jnp.maximum(state.potential.diameter - 10.0, 0.0))


def test_a_gradient_that_is_not_finite_is_named(experiment: gw.Experiment) -> None:
    target = component("objective", "target")([1.0, 1.0])
    own = dataclasses.replace(experiment, terms={"mine": gw.Term(BreaksInPhaseTwo(), target)})
    with pytest.raises(gw.RunError, match=r"after step 0; the gradient of terms\.mine is not finite"):
        train(own, progress=False)


@pytest.mark.parametrize(
    "optimizer", [["optimizer=rmsprop", "optimizer.decay=2"], ["optimizer=adam", "optimizer.b1=1.0"]]
)
def test_the_command_ends_in_one_line(optimizer: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The case `nan_design_hangs`."""
    own = ["system.n_particles=64", "train.steps=3", "train.tolerance=0", f"hydra.run.dir={tmp_path / 'run'}"]
    assert cli.main(["train", *optimizer, *own]) == cli.RUN_FAILED
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("glasswright: error: the design (binding_energy, diameter) is not a number after step 0; ")
    (line,) = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(line)["loss"] > 0.0


UNUSABLE = {
    "line search": optax.chain(optax.sgd(1.0), optax.scale_by_backtracking_linesearch(max_backtracking_steps=5)),
    "L-BFGS": optax.lbfgs(),
    "no optimizer": "adam",
    "part of the design": optax.GradientTransformation(
        lambda p: (), lambda g, s, p=None: ({"diameter": g["diameter"]}, s)
    ),
    "one number for all": optax.GradientTransformation(
        lambda p: (), lambda g, s, p=None: (jax.tree.map(jnp.sum, g), s)
    ),
}


@pytest.mark.wrong_types
@pytest.mark.parametrize("name", UNUSABLE)
def test_what_cannot_take_a_step_is_refused_before_the_run(experiment: gw.Experiment, name: str) -> None:
    with pytest.raises(gw.RequestError, match=r"^optimizer: ") as raised:
        gw.train(dataclasses.replace(experiment, optimizer=UNUSABLE[name]))
    assert "\n" not in str(raised.value)


def _potential(**numbers: Any) -> Callable[[gw.Configuration], tuple[Any, gw.Configuration]]:
    def change(start: gw.Configuration) -> tuple[Any, gw.Configuration]:
        return eqx.tree_at(
            lambda p: [getattr(p, name) for name in numbers],
            component("potential", "harmonic_morse")(),
            [jnp.full_like(getattr(component("potential", "harmonic_morse")(), k), x) for k, x in numbers.items()],
        ), start

    return change


def _start(name: str, number: float) -> Callable[[gw.Configuration], tuple[Any, gw.Configuration]]:
    def change(start: gw.Configuration) -> tuple[Any, gw.Configuration]:
        broken = eqx.tree_at(lambda c: getattr(c, name), start, getattr(start, name).at[0, 0].set(number))
        return component("potential", "harmonic_morse")(), broken

    return change


BROKEN = {
    "diameter": _potential(diameter=NAN),
    "binding energy": _potential(binding_energy=NAN),
    "infinite binding energy": _potential(binding_energy=INFINITY),
    "position": _start("fractional", NAN),
    "infinite position": _start("fractional", INFINITY),
    "box": _start("box", NAN),
}


@pytest.mark.parametrize("method", ["newton", "fire"])
@pytest.mark.parametrize("what", BROKEN)
def test_no_search_is_endless(what: str, method: str) -> None:
    """Whatever is not a number, a search of one packing and of several ends and says so."""
    quench = component("protocol", "quench")(method=method)
    start = gw.System(n_particles=64).start(jax.random.key(1))
    potential, broken = BROKEN[what](start)
    assert int(quench.prepare(potential, broken, key=jax.random.key(0)).outcome) == gw.Outcome.nonfinite
    if what in ("diameter", "binding energy", "infinite binding energy"):
        good = component("potential", "harmonic_morse")()
        before = quench.prepare(good, start, key=jax.random.key(0))
        assert int(quench.follow(potential, before, key=jax.random.key(0)).outcome) == gw.Outcome.nonfinite
    stacked = jax.tree.map(lambda x, y: jnp.stack([jnp.asarray(x), jnp.asarray(y)]), broken, start)
    several = quench.prepare_many(potential, stacked, width=2)
    assert several is None or int(several.outcome[0]) == gw.Outcome.nonfinite
