"""Runs at constant pressure: packings keep boxes of their own in files and checkpoints, and the pressure is trained."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from glasswright import cli
from glasswright.run.extxyz import read_frames, write_configuration

STEPS = 6
RUN = [
    "property=[density]",
    "terms.density.objective.target=1.5",
    "protocol.pressure=0.2",
    "protocol.box=flexible",
    "system.n_particles=64",
    "sampler.size=2",
    "~design.diameter",
    "~design.binding_energy",
    "+design.protocol.pressure=[-1.0,1.0]",
    "optimizer.learning_rate=1e-2",
    f"train.steps={STEPS}",
    "train.tolerance=0",
    "train.checkpoint_interval=2",
    "devices=1",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pressure") / "run"
    assert cli.main(["train", *RUN, f"hydra.run.dir={folder}"]) == 0
    return folder


def lines(folder: Path) -> list[dict]:
    metrics = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line | {"seconds": 0} for line in metrics]


@pytest.mark.slow
def test_the_pressure_is_trained_to_a_density(run):
    first, last = lines(run)[0], lines(run)[-1]
    assert first["design"]["pressure"] == 0.2
    # Less dense at a lower pressure.
    assert last["design"]["pressure"] < 0.2
    assert last["loss"] < 0.5 * first["loss"]


def test_packings_keep_their_boxes(run):
    frames = read_frames(run / "final.extxyz")
    densities = [frame.n_particles / float(frame.volume) for frame in frames]
    assert densities[0] != densities[1]
    assert np.mean(densities) == pytest.approx(lines(run)[-1]["terms"]["density"]["value"], rel=1e-12)
    # Their shapes are their own as well.
    assert all(abs(float(frame.box[0, 1])) > 1e-6 for frame in frames)


def test_a_resumed_run_goes_on_in_the_same_boxes(run, tmp_path):
    again = tmp_path / "run"
    shutil.copytree(run, again)
    for name in ("result.json", "training.png", "final.extxyz"):
        (again / name).unlink(missing_ok=True)
    text = (again / "metrics.jsonl").read_text()
    (again / "metrics.jsonl").write_text("".join(text.splitlines(keepends=True)[: STEPS - 1]))
    assert cli.main(["resume", str(again)]) == 0
    assert lines(again) == lines(run)
    assert (again / "final.extxyz").read_bytes() == (run / "final.extxyz").read_bytes()


def test_the_packing_of_a_run_is_measured_under_its_pressure(run, tmp_path, capsys):
    assert cli.main(["measure", f"run={run}", "property=[pressure,density]", f"hydra.run.dir={tmp_path}/under"]) == 0
    report = json.loads((tmp_path / "under" / "measure.json").read_text())
    trained = json.loads((run / "result.json").read_text())["design"]["pressure"]
    assert report["properties"]["pressure"]["value"] == pytest.approx(trained, abs=1e-10)
    # Under another pressure its box is not at rest.
    first = tmp_path / "first.extxyz"
    first.write_text(write_configuration(read_frames(run / "final.extxyz")[0]))
    potential = ["potential=harmonic_morse", f"configuration={first}"]
    wrong = ["measure", *potential, "property=[density]", "protocol.pressure=0.15", f"hydra.run.dir={tmp_path}/wrong"]
    assert cli.main(wrong) == 2
    assert "not at rest under protocol.pressure" in capsys.readouterr().err
