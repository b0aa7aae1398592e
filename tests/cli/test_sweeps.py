"""Sweeps with Hydra's other launcher and sweeper: several processes by joblib, and a search by Optuna."""

import json

import pytest
import yaml
from glasswright import cli
from helpers import glasswright

SMALL = ("system.n_particles=128", "train.steps=2")


def train(folder, *arguments: str):
    return glasswright("train", *SMALL, *arguments, cwd=folder)


def result(folder) -> dict:
    return json.loads((folder / "result.json").read_text())


@pytest.mark.slow
def test_joblib_runs_several_at_a_time(tmp_path):
    """Each in a process of its own, to the same numbers."""
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    launchers = {"basic": (), "joblib": ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")}
    for name, options in launchers.items():
        done = train(tmp_path, "-m", *options, "seed=0,1", f"hydra.sweep.dir={tmp_path / name}")
        assert done.returncode == 0, done.stderr
    for seed in ("0", "1"):
        basic, joblib = (result(tmp_path / name / seed) for name in launchers)
        assert {basic["loss"]: basic["design"]} == {joblib["loss"]: joblib["design"]}


def test_optuna_searches_for_the_smallest_loss(tmp_path):
    """Every training returns its loss, and the best one is told."""
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    search = (
        "hydra/sweeper=optuna",
        "hydra/sweeper/sampler=grid",
        "hydra.sweeper.n_trials=3",
        "hydra.sweeper.n_jobs=1",
    )
    done = train(tmp_path, "-m", *search, "seed=choice(0,1,2)", f"hydra.sweep.dir={tmp_path}")
    assert done.returncode == 0, done.stderr
    runs = [path.parent for path in tmp_path.glob("*/result.json")]
    losses = {yaml.safe_load((run / "config.yaml").read_text())["seed"]: result(run)["loss"] for run in runs}
    assert len(losses) == 3
    found = yaml.safe_load((tmp_path / "optimization_results.yaml").read_text())
    best = min(losses, key=losses.__getitem__)
    assert found["best_params"] == {"seed": best}
    assert found["best_value"] == losses[best]


@pytest.mark.parametrize("sweep", [("hydra/launcher=joblib",), ("hydra/sweeper=optuna",)])
def test_what_is_wrong_is_refused_before_any_job_runs(tmp_path, monkeypatch, capfd, sweep):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", *SMALL, "-m", *sweep, "seed=0,1", "train.stps=3"]) == cli.REQUEST_WRONG
    error = capfd.readouterr().err
    assert "train.stps" in error
    assert "Traceback" not in error
    assert not list(tmp_path.iterdir())
