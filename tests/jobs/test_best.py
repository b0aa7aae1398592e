"""The best step of a run is kept, and checkpoints keep of a packing what makes it again to the last bit."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import glasswright as gw
import jax
import numpy as np
import optax
import pytest
from glasswright.execution.executor import Executor
from glasswright.jobs.train import evaluate_step, resume, train, update
from glasswright.jobs.training_state import from_checkpoint, initial_state, to_checkpoint
from glasswright.run.checkpoint import Checkpoint, pack
from glasswright.run.directory import RunDirectory
from glasswright.run.extxyz import read_frames
from helpers import component

STEPS = 9


@pytest.fixture(scope="module")
def experiment() -> gw.Experiment:
    """Steps so long that the loss goes down and up again."""
    return gw.Experiment(
        potential=component("potential", "harmonic_morse")(),
        system=gw.System(n_particles=64),
        protocol=component("protocol", "quench")(),
        sampler=component("sampler", "tracked")(2),
        terms={"pressure": gw.Term(component("property", "pressure")(), component("objective", "target")(0.1))},
        design={"diameter": (0.1, 3.0)},
        optimizer=optax.rmsprop(0.08),
        steps=STEPS,
        tolerance=0.0,
        checkpoint_interval=STEPS - 1,
        devices=1,
        config="train:\n  steps: 9\n",
    )


@pytest.fixture(scope="module")
def run(experiment: gw.Experiment, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("run")
    return folder, train(experiment, folder, progress=False)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) | {"seconds": 0} for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_the_best_step_is_that_of_the_lowest_loss(run: tuple[Path, Any], experiment: gw.Experiment) -> None:
    folder, result = run
    metrics = lines(folder)
    losses = [line["loss"] for line in metrics]
    best = result["best"]
    assert (best["step"], best["loss"]) == (int(np.argmin(losses)), min(losses))
    assert 0 < best["step"] < STEPS - 1, "the run should pass its best step"
    line = metrics[best["step"]]
    assert best["values"] == {"pressure": line["terms"]["pressure"]["value"]}
    assert best["design"]["diameter"] == line["design"]["diameter"]
    assert set(best["design"]) == set(result["design"])
    assert json.loads((folder / "result.json").read_text())["best"] == best
    # The packings are those of that step: they give its values with its design.
    frames = read_frames(folder / "best.extxyz")
    assert len(frames) == len(read_frames(folder / "final.extxyz")) == 2
    potential = type(experiment.potential)(**best["design"])
    pressure = component("property", "pressure")()
    quench = experiment.protocol
    values = [
        float(pressure.measure(quench.attach(potential, quench.prepare(potential, frame, key=jax.random.key(0)))))
        for frame in frames
    ]
    assert np.mean(values) == pytest.approx(best["values"]["pressure"], abs=1e-11)


@pytest.mark.parametrize("steps_before", [0, 1])
def test_the_best_step_survives_an_interruption(
    run: tuple[Path, Any], experiment: gw.Experiment, tmp_path: Path, steps_before: int
) -> None:
    """Also where it was before the checkpoint that the run goes on from."""
    folder, result = run
    interval = STEPS - 1 if steps_before == 0 else 2
    own = dataclasses.replace(experiment, checkpoint_interval=interval, steps=STEPS - 1 if steps_before == 0 else 3)
    train(own, tmp_path, progress=False)
    resumed = resume(dataclasses.replace(experiment, checkpoint_interval=interval), tmp_path, progress=False)
    assert resumed | {"seconds": 0} == result | {"seconds": 0}
    assert lines(tmp_path) == lines(folder)
    for name in ("best.extxyz", "final.extxyz"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_a_sample_of_an_ensemble_has_no_best_step(experiment: gw.Experiment, tmp_path: Path) -> None:
    fresh = dataclasses.replace(experiment, sampler=component("sampler", "fresh")(2), steps=2)
    assert "best" not in train(fresh, tmp_path, progress=False)
    assert not (tmp_path / "best.extxyz").exists()


def test_steps_without_a_loss_are_not_the_best(experiment: gw.Experiment) -> None:
    hopeless = dataclasses.replace(experiment, protocol=component("protocol", "quench")(max_steps=3), steps=2)
    assert "best" not in train(hopeless, progress=False)


METHODS: dict[str, dict[str, Any]] = {
    "newton": {},
    "fire": {"method": "fire"},
    "matrix free": {"hessian": "matrix_free"},
    "elastic": {"stability": "elastic"},
}


@pytest.mark.parametrize(
    "method", ["newton", "elastic", *(pytest.param(name, marks=pytest.mark.slow) for name in ("fire", "matrix free"))]
)
def test_a_checkpoint_is_small_and_makes_the_same_packing(method: str, experiment: gw.Experiment) -> None:
    """To the last bit: pairs, factored Hessian, and the next step; also where a packing was followed."""
    own = dataclasses.replace(
        experiment, protocol=component("protocol", "quench")(**METHODS[method]), optimizer=optax.sgd(1e-4)
    )
    with Executor(1) as executor:
        state = initial_state(own)
        for _ in range(3):
            samples, evaluation = evaluate_step(own, executor, state)
            state = update(own, state, samples, evaluation)
        checkpoint = to_checkpoint(own, state, executor)
        again = from_checkpoint(own, checkpoint)
        assert again.prepared.keys() == state.prepared.keys()
        for index, prepared in state.prepared.items():
            if prepared.memory is not None:
                assert pack(again.prepared[index].memory) == pack(prepared.memory)
                assert checkpoint.content["prepared"][index]["memory"] is None
        # The factor alone would have 131 kB for each packing.
        assert len(checkpoint.to_bytes()) < 100_000
        _, first = evaluate_step(own, executor, state)
        _, second = evaluate_step(own, executor, again)
    assert first.loss == second.loss
    for name in first.gradient:
        assert np.array_equal(first.gradient[name], second.gradient[name])


def test_what_cannot_be_made_again_is_kept_whole(experiment: gw.Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where another number of threads would sum in another order."""
    quench = component("protocol", "quench")
    expand = quench.expand
    with Executor(1) as executor:
        state = initial_state(experiment)
        state = update(experiment, state, *evaluate_step(experiment, executor, state))
        with monkeypatch.context() as patch:
            patch.setattr(quench, "expand", lambda *a: jax.tree.map(lambda x: np.nextafter(x, 9.0), expand(*a)))
            checkpoint = to_checkpoint(experiment, state, executor)
        assert all("compressed" not in packed for packed in checkpoint.content["prepared"].values())
        again = from_checkpoint(experiment, checkpoint)
    for index, prepared in state.prepared.items():
        assert pack(again.prepared[index].memory) == pack(prepared.memory)


def test_checkpoints_of_before_are_read(
    run: tuple[Path, Any], experiment: gw.Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They hold whole caches, and neither a best step nor the design that the packings were prepared with."""
    folder, result = run
    with monkeypatch.context() as patch:
        patch.setattr(component("protocol", "quench"), "compress", lambda self, memory: memory)
        train(dataclasses.replace(experiment, steps=3, checkpoint_interval=2), tmp_path, progress=False)
    (path,) = RunDirectory.checkpoints(tmp_path)
    content = Checkpoint.read(path).content
    assert all(packed["memory"] is not None for packed in content["prepared"].values())
    old = {name: item for name, item in content.items() if name not in ("best", "prepared_values")}
    path.write_bytes(Checkpoint(2, old).to_bytes())
    resumed = resume(dataclasses.replace(experiment, checkpoint_interval=100), tmp_path, progress=False)
    assert resumed | {"seconds": 0} == result | {"seconds": 0}
    assert (tmp_path / "best.extxyz").read_bytes() == (folder / "best.extxyz").read_bytes()
