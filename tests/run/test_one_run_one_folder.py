"""Many runs at once, and one after the other: each has a folder of its own, with the numbers it has alone."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from glasswright import cli
from glasswright.commands.analyse import build_analysis
from glasswright.commands.compose import compose_alone

TINY = ["train", "system.n_particles=64", "train.steps=2", "train.tolerance=0", "devices=1"]
# Imports once what all runs need, becomes as many processes as there are seeds, and lets them go at once.
AT_ONCE = """
import os, sys
from matplotlib.figure import Figure
import glasswright.cli.application, glasswright.commands.train, glasswright.plots.training
from glasswright import cli
glasswright.plots.training.training_figure = lambda *_: Figure()
words, seeds = sys.argv[1].split(), sys.argv[2].split()
waiting, go = os.pipe()
processes = []
for seed in seeds:
    process = os.fork()
    if process == 0:
        os.close(go)
        os.read(waiting, 1)
        os._exit(cli.main([*words, f"seed={seed}"]))
    processes.append(process)
os.close(go)
ends = [os.waitpid(process, 0)[1] for process in processes]
sys.exit(any(ends))
"""


def content(folder: Path) -> tuple[list[dict], dict, bytes]:
    """The numbers of a run."""
    lines = [json.loads(line) | {"seconds": 0} for line in (folder / "metrics.jsonl").read_text().splitlines()]
    result = json.loads((folder / "result.json").read_text()) | {"seconds": 0}
    return lines, result, (folder / "final.extxyz").read_bytes()


@pytest.mark.slow
def test_fifty_runs_at_once_are_fifty_runs(tmp_path, monkeypatch):
    seeds = list(range(50))
    monkeypatch.chdir(tmp_path)
    # Alone first: fifty processes that compile at once need more memory than many machines have.
    for seed in seeds:
        assert cli.main([*TINY, f"seed={seed}", f"hydra.run.dir=alone/{seed}"]) == 0
    command = [sys.executable, "-c", AT_ONCE, " ".join(TINY), " ".join(map(str, seeds))]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    folders = list((tmp_path / "outputs" / "single_poisson").iterdir())
    together = {yaml.safe_load((folder / "config.yaml").read_text())["seed"]: content(folder) for folder in folders}
    assert sorted(together) == seeds
    assert len(folders) == len(seeds)
    for seed in seeds:
        assert content(tmp_path / "alone" / str(seed)) == together[seed]


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_runs_and_sweeps_of_the_same_second_have_folders_of_their_own(here, monkeypatch):
    work = []

    def train(experiment, directory, **_):
        work.append(directory.relative_to(here / "outputs"))
        (directory / "result.json").write_text("{}")
        return {"success": None, "loss": 1.0, "steps": 1, "seconds": 0.0}

    monkeypatch.setattr("glasswright.jobs.train.train", train)
    # Of the same year, rather, so that the test need not be quick.
    named = [f"hydra.{kind}.dir=outputs/of_${{now:%Y}}" for kind in ("run", "sweep")]
    for words in ([], [], ["-m", "seed=1,2"], ["-m", "seed=1,2"], []):
        assert cli.main([*TINY, *named, *words]) == cli.DONE
    name = sorted(path.name for path in (here / "outputs").iterdir())[0]
    subfolders = [f"{name}_{k}/{job}" for k in (2, 3) for job in (0, 1)]
    assert list(map(str, work)) == [name, f"{name}_1", *subfolders, f"{name}_4"]
    assert (here / "outputs" / f"{name}_3" / "multirun.yaml").exists()


def test_a_sweep_into_a_folder_with_a_run_is_refused_before_any_job_runs(here, monkeypatch, capsys):
    work = []
    monkeypatch.setattr("glasswright.jobs.train.train", lambda experiment, *_, **__: work.append(experiment))
    (here / "sweep" / "1").mkdir(parents=True)
    (here / "sweep" / "1" / "config.yaml").write_text("seed: 3\n")
    assert cli.main([*TINY, "-m", "seed=1,2", "hydra.sweep.dir=sweep"]) == cli.REQUEST_WRONG
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith("glasswright: error: hydra.sweep.dir=sweep: holds an unfinished run; go on with ")
    assert "glasswright resume sweep/1," in error
    assert (here / "sweep" / "1" / "config.yaml").read_text() == "seed: 3\n"
    assert not work
    assert [path.name for path in (here / "sweep").iterdir()] == ["1"]


@pytest.mark.parametrize("extra", [[], ["overwrite=true"]])
def test_jobs_of_a_sweep_do_not_share_a_folder(here, monkeypatch, capsys, extra):
    work = []
    monkeypatch.setattr("glasswright.jobs.train.train", lambda experiment, *_, **__: work.append(experiment))
    assert cli.main([*TINY, "-m", "seed=1,2", "hydra.sweep.subdir=${train.steps}", *extra]) == cli.REQUEST_WRONG
    (error,) = capsys.readouterr().err.splitlines()
    assert "jobs 0 and 1 of the sweep would share one folder" in error
    assert not work
    assert list(here.iterdir()) == []


def test_nothing_of_an_earlier_run_is_taken_for_that_of_the_present_one(here, capsys):
    """A run in the place of another one, before it has ended: the other's packing is not there, and not analysed."""
    assert cli.main([*TINY, "seed=1", "hydra.run.dir=x"]) == 0
    assert (here / "x" / "final.extxyz").exists()
    finished = build_analysis(compose_alone("analyse", ["run=x", "parts=[vibrations]"]))
    assert finished.source == "final.extxyz"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("glasswright.jobs.train.write_end", interrupt)
        assert cli.main([*TINY, "seed=2", "hydra.run.dir=x", "overwrite=true"]) == cli.INTERRUPTED
    assert not {"final.extxyz", "training.png", "result.json"} & {path.name for path in (here / "x").iterdir()}
    assert yaml.safe_load((here / "x" / "config.yaml").read_text())["seed"] == 2
    # As an earlier version would have left it.
    (here / "x" / "final.extxyz").write_text("of seed 1")
    unfinished = build_analysis(compose_alone("analyse", ["run=x", "parts=[vibrations]"]))
    assert (unfinished.source, unfinished.packing, unfinished.seed) == ("fresh", None, 2)


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt
