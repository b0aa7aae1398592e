"""Sweeps with Hydra's other launcher and sweeper: several processes by joblib, and a search by Optuna."""

import json

import pytest
import yaml
from glasswright import cli
from glasswright.jobs import train as job
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


@pytest.mark.slow
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
    results = yaml.safe_load((tmp_path / "optimization_results.yaml").read_text())
    best = min(losses, key=losses.__getitem__)
    assert results["best_params"] == {"seed": best}
    assert results["best_value"] == losses[best]


MULTI_OBJECTIVE = (
    "train",
    "-m",
    "property=[poisson_ratio,pressure]",
    "terms.pressure.objective.target=0.1",
    "hydra/sweeper=optuna",
    "hydra.sweeper.n_jobs=1",
    "hydra.sweeper.direction=[minimize,minimize]",
)


def test_a_sweeper_with_several_directions_is_given_the_loss_of_each_term(tmp_path, monkeypatch):
    """With a grid over the weight, in the place of trainings that find it: the front is what Optuna says it is."""
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    losses = {1.0: (3.0, 1.0), 2.0: (1.0, 2.0), 4.0: (2.0, 2.5)}

    def train(experiment, directory, **_) -> dict:
        first, second = losses[experiment.terms["pressure"].weight]
        by_term = {"poisson_ratio": first, "pressure": second}
        result = {"success": None, "loss": first + second, "losses": by_term, "steps": 1, "seconds": 0.0}
        (directory / "result.json").write_text(json.dumps(result))
        return result

    monkeypatch.setattr(job, "train", train)
    monkeypatch.chdir(tmp_path)
    grid = ("hydra/sweeper/sampler=grid", "hydra.sweeper.n_trials=3", "terms.pressure.weight=choice(1.0,2.0,4.0)")
    assert cli.main([*MULTI_OBJECTIVE, *SMALL, *grid, "hydra.sweep.dir=sweep"]) == cli.DONE
    solutions = yaml.safe_load((tmp_path / "sweep" / "optimization_results.yaml").read_text())["solutions"]
    assert sorted(tuple(solution["values"]) for solution in solutions) == [(1.0, 2.0), (3.0, 1.0)]
    assert (tmp_path / "sweep" / "front.png").read_bytes().startswith(b"\x89PNG")


def test_as_many_directions_as_terms(tmp_path, monkeypatch, capsys):
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    monkeypatch.chdir(tmp_path)
    arguments = [*MULTI_OBJECTIVE, *SMALL, "property=[poisson_ratio]", "~terms.pressure", "seed=1,2"]
    arguments = [word for word in arguments if "terms.pressure" not in word]
    assert cli.main(arguments) == cli.REQUEST_WRONG
    assert "has 2 directions, one for the loss of each term, and there are 1 (poisson_ratio)" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.wrong_types
@pytest.mark.parametrize("sweep", [("hydra/launcher=joblib",), ("hydra/sweeper=optuna",)])
def test_what_is_wrong_is_refused_before_any_job_runs(tmp_path, monkeypatch, capfd, sweep):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", *SMALL, "-m", *sweep, "seed=0,1", "train.stps=3"]) == cli.REQUEST_WRONG
    error = capfd.readouterr().err
    assert "train.stps" in error
    assert "Traceback" not in error
    assert not list(tmp_path.iterdir())
