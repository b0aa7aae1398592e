"""A training that has lost its way is stopped and says so; no other one is."""

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import glasswright as gw
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from glasswright.commands.train import TRAIN
from glasswright.config.folder import configuration_folder
from glasswright.jobs.ending import WINDOW, has_diverged, has_left, lost_its_way
from glasswright.jobs.train import resume, train
from glasswright.run.directory import run_design
from glasswright.run.reached import average_design, last_half
from helpers import component
from jaxtyping import Array, PyTree

EVER = 2 * WINDOW
PRESETS = sorted(path.stem for path in (configuration_folder() / "experiment").glob("*.yaml"))
# In two dimensions at the presets' densities, smaller packings are quicker and wide enough.
SMALL = ["system.n_particles=128"]
OWN_SIZE = ("three_dimensions", "kob_andersen", "kob_andersen_2d")


class Scripted(gw.AbstractProperty):
    """The first diameter, in place of a property; its bounds are those of Poisson's ratio in two dimensions."""

    def physical_bounds(self, dimension: int) -> tuple[float, float]:
        return -1.0, 1.0

    def measure(self, state: Any) -> Array:
        return state.potential.diameter[0]


def script(*diameters: float) -> optax.GradientTransformation:
    """An optimizer that sets the first diameter to one number after the other, and leaves it at the last."""
    numbers = jnp.asarray(diameters)

    def init(parameters: PyTree) -> Array:
        return jnp.asarray(0)

    def change(gradient: PyTree, step: Array, parameters: PyTree = None) -> tuple[PyTree, Array]:
        wanted = numbers[jnp.minimum(step, len(diameters) - 1)]
        diameter = parameters["diameter"]
        return {"diameter": jnp.zeros_like(diameter).at[0].set(wanted - diameter[0])}, step + 1

    return optax.GradientTransformation(init, change)


@pytest.fixture(scope="module")
def experiment() -> gw.Experiment:
    return gw.Experiment(
        potential=component("potential", "harmonic_morse")(),
        system=gw.System(n_particles=64),
        protocol=component("protocol", "quench")(),
        sampler=component("sampler", "tracked")(),
        terms={"mine": gw.Term(Scripted(), component("objective", "target")(0.83))},
        design={"diameter": (0.1, 3.0)},
        optimizer=optax.sgd(1e-3),
        steps=EVER,
        tolerance=0.0,
        checkpoint_interval=10,
        devices=1,
        config="train: {}\n",
    )


def test_a_value_that_leaves_its_bounds_ends_the_run(
    experiment: gw.Experiment, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = dataclasses.replace(experiment, optimizer=script(0.85, 0.9, 1.05))
    with caplog.at_level(logging.WARNING, logger="glasswright"):
        result = train(own, tmp_path, progress=False)
    assert (result["ended"], result["success"], result["steps"]) == ("out_of_bounds", False, 3 + WINDOW)
    (message,) = caplog.messages
    last = 2 + WINDOW
    assert message.startswith(
        f"stopped after step {last} of {EVER}: mine was outside [-1, 1], where no solid is stable"
    )
    assert result["best"]["step"] == int(np.argmin([line["loss"] for line in _lines(tmp_path)]))
    summary = TRAIN.summarise(result, tmp_path)
    assert f"best was step {result['best']['step']} with loss" in "\n".join(summary)
    # It has come to its end, and would come to the same one again.
    assert TRAIN.resumption is not None
    assert TRAIN.resumption.finished(own, tmp_path) == result
    (tmp_path / "result.json").unlink()
    assert resume(own, tmp_path, progress=False) | {"seconds": 0} == result | {"seconds": 0}


def _lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def lines_of(losses: list[float | None], values: list[float] | None = None) -> list[dict[str, Any]]:
    values = [0.5] * len(losses) if values is None else values
    return [
        {"step": k, "loss": loss, "terms": {} if loss is None else {"mine": {"value": value}}}
        for k, (loss, value) in enumerate(zip(losses, values, strict=True))
    ]


@pytest.mark.parametrize(
    ("losses", "diverged"),
    [
        ([0.1] + [20.0] * WINDOW, True),
        ([0.1, 1e-6] + [20.0] * WINDOW, True),
        # One step that is not far off, none that is known, a worse beginning, too few steps.
        ([0.1] + [20.0] * (WINDOW - 1) + [0.5] + [20.0] * (WINDOW - 1), False),
        ([0.1] + [20.0] * (WINDOW - 1) + [None], False),
        ([0.3] + [20.0] * WINDOW, False),
        ([0.1] + [20.0] * (WINDOW - 1), False),
        # By chance at the target in the beginning, or later: the optimizer's steps are noise around it.
        ([1e-12] + [0.02] * WINDOW, False),
        ([0.1, 1e-12] + [0.1] * WINDOW, False),
        ([None] * 3 + [20.0] * WINDOW, False),
        ([None] * 3 + [0.1] + [20.0] * WINDOW, True),
    ],
)
def test_a_loss_diverges_only_far_above_its_beginning(
    losses: list[float | None], diverged: bool, experiment: gw.Experiment
) -> None:
    assert has_diverged(experiment, lines_of(losses)) is diverged
    ending = lost_its_way(experiment, lines_of(losses))
    assert (ending is not None and ending[0] == "diverged") is diverged
    # Where a loss has no least value there is no beginning to compare with.
    endless = {"mine": gw.Term(Scripted(), component("objective", "maximize")())}
    assert not has_diverged(dataclasses.replace(experiment, terms=endless), lines_of(losses))


def test_the_loss_of_a_sample_is_compared_with_several(experiment: gw.Experiment) -> None:
    fresh = dataclasses.replace(experiment, sampler=component("sampler", "fresh")(2))
    noise = [0.001] + [0.2, -0.1] * (WINDOW // 2)
    assert not has_diverged(fresh, lines_of([*noise, *[19.0] * WINDOW]))
    assert has_diverged(fresh, lines_of([*noise, *[21.0] * WINDOW]))


@pytest.mark.parametrize(
    ("values", "left"),
    [
        ([0.5] + [1.2] * WINDOW, True),
        ([0.5] + [1.2, -1.2] * (WINDOW // 2), True),
        # It has always been outside, and may be on its way back; it comes back now and then; there is none.
        ([1.2] * EVER, False),
        ([0.5] + [1.2] * (WINDOW - 1) + [0.9] + [1.2] * (WINDOW - 1), False),
        ([0.5] + [1.2] * (WINDOW - 1) + [None], False),
        ([0.5, *[[1.2, 1.3]] * WINDOW], False),
    ],
)
def test_bounds_are_left_only_for_good(values: list[Any], left: bool) -> None:
    assert has_left((-1.0, 1.0), values) is left


def test_bounds_of_poissons_ratio() -> None:
    poisson_ratio = component("property", "poisson_ratio")()
    assert poisson_ratio.physical_bounds(2) == (-1.0, 1.0)
    assert poisson_ratio.physical_bounds(3) == (-1.0, 0.5)
    assert component("property", "pressure")().physical_bounds(2) is None


def test_an_average_is_over_the_last_half(experiment: gw.Experiment, tmp_path: Path) -> None:
    """And the same after an interruption, for it is made of the metrics."""
    fresh = dataclasses.replace(
        experiment, sampler=component("sampler", "fresh")(2), steps=5, optimizer=script(0.8, 0.81, 0.83, 0.87)
    )
    result = train(fresh, tmp_path, progress=False)
    designs = [line["design"]["diameter"] for line in _lines(tmp_path)]
    average = result["average"]
    assert (average["first_step"], average["last_step"]) == (2, 4)
    assert average["design"]["diameter"] == np.mean(designs[2:], axis=0).tolist()
    assert average["design"]["inverse_range"] == result["design"]["inverse_range"]
    assert result["ended"] == "last_step"
    assert run_design(tmp_path, "average") == {"diameter": average["design"]["diameter"]}
    assert run_design(tmp_path) == {"diameter": designs[-1]}
    assert "design_of=average" in "\n".join(TRAIN.summarise(result, tmp_path))
    (tmp_path / "result.json").unlink()
    assert resume(fresh, tmp_path, progress=False) | {"seconds": 0} == result | {"seconds": 0}


@pytest.mark.parametrize(("n", "steps"), [(1, [0]), (2, [1]), (5, [2, 3, 4])])
def test_the_last_half(n: int, steps: list[int]) -> None:
    assert list(last_half(n)) == steps
    lines = [{"design": {"x": [float(k), 2.0]}} for k in range(n)]
    assert average_design(lines) == {"x": [float(np.mean(steps)), 2.0]}


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
def test_no_preset_is_taken_for_lost(preset: str, tmp_path: Path) -> None:
    """For twice the steps after which a training can be stopped, from the beginning, where losses are farthest off."""
    size = [] if preset in OWN_SIZE else SMALL
    result = gw.train(f"experiment={preset}", *size, f"train.steps={EVER}", directory=tmp_path / "run")
    assert result["ended"] in ("target", "last_step")
