"""Manners of the command line: texts that say what to type, paths, signals, sweeps, and the progress display."""

import io
import json
import logging
import os
import re
import shlex
import shutil
import signal
from pathlib import Path

import glasswright as gw
import pytest
from glasswright import cli
from glasswright.cli.diagnostics import diagnostics_of_job
from glasswright.commands.compose import compose, start
from glasswright.config.compose import hydra_of_our_own, planned_folder
from glasswright.config.overrides import parse, quoted_paths
from glasswright.execution.signals import Terminated
from glasswright.run.progress import Progress, label
from helpers import ROOT
from rich.console import Console

PACKING = ROOT / "tests" / "reference" / "2d_n100_sp2_a5.extxyz"

MISLEADING = [
    ("terms.poisson_ratio.objective=band", "objective@terms.poisson_ratio.objective=band"),
    ("terms.poisson_ratio.property=pressure", "property"),
    ("optimizer.optimizer=adam", "optimizer@optimizer.optimizer=adam"),
    ("optimizer.learning_rate=cosine_decay_schedule", "schedule@optimizer.learning_rate=cosine_decay_schedule"),
    ("density=1.4", "'system.density'"),
    ("n_particles=100", "'system.n_particles'"),
    ("steps=100", "'train.steps'"),
    ("target=0.2", "'terms.poisson_ratio.objective.target'"),
    ("poisson_ratio.target=0.2", "'terms.poisson_ratio.objective.target'"),
    ("poisson_ratio.weight=2", "'terms.poisson_ratio.weight'"),
    ("terms.poisson_ratio.target=0.2", "'terms.poisson_ratio.objective.target'"),
    ("diameter=1.0", "'potential.diameter'"),
    ("train.density=1.4", "possible: "),
    ("hydra.launcher=basic", "hydra/launcher=basic"),
    ("hydra.sweeper=basic", "hydra/sweeper=basic"),
    ("hydra.launcher=submitit_slurm", "hydra/launcher=submitit_slurm"),
    ("hydra.launcher=submitit_slurm", "pip install 'glasswright[submitit]'"),
    ("hydra/launcher=submitit_local", "pip install 'glasswright[submitit]'"),
]


@pytest.mark.parametrize(("override", "message"), MISLEADING)
def test_texts_say_what_to_type(override, message):
    with pytest.raises(gw.RequestError) as error:
        gw.compose(override)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


NAMES = [
    "results (new)/packing.extxyz",
    "a=b/packing.extxyz",
    "Köln/pâcking.extxyz",
    "it's/packing.extxyz",
    "a,b/packing.extxyz",
    "[old]/packing.extxyz",
    "{x}: y/packing.extxyz",
    "2024",
    "~user/packing.extxyz",
    "back\\slash/packing.extxyz",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("command", ["measure", "analyse"])
def test_paths_of_all_kinds_are_read(tmp_path, monkeypatch, name, command):
    monkeypatch.chdir(tmp_path)
    Path(name).parent.mkdir(exist_ok=True)
    shutil.copy(PACKING, name)
    config = gw.compose(f"configuration={name}", "property=[pressure]", command=command)
    assert config.configuration == name


def test_a_home_directory_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.copy(PACKING, tmp_path / "packing.extxyz")
    config = gw.compose("configuration=~/packing.extxyz", command="measure")
    assert config.configuration == str(tmp_path / "packing.extxyz")


@pytest.mark.parametrize("override", ["hydra.run.dir=~/new", "hydra.run.dir='~/new'", "hydra.run.dir=~/new/"])
def test_a_run_at_home_is_at_home(tmp_path, monkeypatch, override):
    monkeypatch.setenv("HOME", str(tmp_path))
    with hydra_of_our_own():
        config = compose("train", quoted_paths([override]), instance=start("train"))
        assert planned_folder(config) == (tmp_path / "new", False)


@pytest.mark.parametrize("name", ["results (new)/missing.extxyz", "Köln/missing.extxyz", "~x/(missing)"])
def test_a_path_that_is_not_there_and_cannot_be_read_needs_quotes(name):
    with pytest.raises(gw.RequestError, match="needs quotes of its own") as error:
        gw.compose(f"configuration={name}", command="measure")
    assert f"\"configuration='{name}'\"" in str(error.value)


def test_only_what_means_something_else_is_quoted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("1", "a b", "[1,2]", "auto"):
        Path(name).touch()
    overrides = ["seed=1", "x=[1,2]", "devices=auto", "configuration=plain.extxyz", "configuration='a b'"]
    assert quoted_paths(overrides) == overrides


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("devices=2", 2),
        ("devices='2'", "2"),
        ("train.steps=1e3", 1000.0),
        ("chunk_size=null", None),
        ("chunk_size=[1,2]", [1, 2]),
        ("train.steps=true", True),
    ],
)
def test_resumed_overrides_are_read_as_hydra_reads_them(override, value):
    assert parse(override) == (override.partition("=")[0], value)


@pytest.mark.wrong_types
@pytest.mark.parametrize("override", ["devices=1,2", "+devices=2", "~devices", "devices=[1", "devices"])
def test_resumed_overrides_that_are_wrong_are_one_line(override):
    with pytest.raises(gw.RequestError) as error:
        parse(override)
    assert "\n" not in str(error.value)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run of three steps."""
    folder = tmp_path_factory.mktemp("manners") / "run"
    gw.train("system.n_particles=64", "train.steps=3", "train.tolerance=0", "devices=1", directory=folder)
    return folder


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.steps=2", "train.steps=2: the run has made 3 steps already"),
        ("train.steps=abc", "train.steps=abc: must be an integer"),
        ("train.steps=1.5", "train.steps=1.5: must be an integer"),
        ("train.steps=5,6", "several values"),
        ("seed=3", "cannot be changed in a resumed run"),
        ("devices=[1,2]", "devices"),
    ],
)
def test_a_wrong_override_of_a_resumed_run_is_one_line(run, capsys, override, message):
    before = sorted((path.name, path.stat().st_mtime_ns) for path in run.iterdir())
    assert cli.main(["resume", str(run), override]) == cli.REQUEST_WRONG
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert sorted((path.name, path.stat().st_mtime_ns) for path in run.iterdir()) == before


def test_a_resumed_run_may_be_asked_for_the_steps_that_it_has(run):
    assert gw.resume(run, "train.steps='3'")["steps"] == 3


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 0, "stopped by SIGTERM")]
)
def test_a_signal_writes_a_checkpoint_and_says_how_to_go_on(tmp_path, monkeypatch, capsys, number, code, word):
    monkeypatch.chdir(tmp_path)
    from glasswright.jobs import train as job

    evaluate_step = job.evaluate_step

    def evaluate_and_signal(*arguments):
        os.kill(os.getpid(), number)
        return evaluate_step(*arguments)

    monkeypatch.setattr(job, "evaluate_step", evaluate_and_signal)
    arguments = ["system.n_particles=64", "train.steps=4", "train.tolerance=0", "devices=1"]
    assert cli.main(["train", *arguments, "hydra.run.dir='my run'"]) == code
    line = capsys.readouterr().err.splitlines()[-1]
    assert f"glasswright: {word} after step 0; go on with: glasswright resume" in line
    command = shlex.split(line.partition("go on with: glasswright ")[2])
    assert len(list((tmp_path / "my run" / "checkpoints").iterdir())) == 1
    monkeypatch.setattr(job, "evaluate_step", evaluate_step)
    assert cli.main(command) == cli.DONE
    assert json.loads((tmp_path / "my run" / "result.json").read_text())["steps"] == 4


def test_a_second_interrupt_ends_at_once_and_handlers_are_put_back():
    before = signal.getsignal(signal.SIGINT)
    with Terminated() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_an_ignored_interrupt_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Terminated() as stop:
            os.kill(os.getpid(), signal.SIGINT)
            assert not stop.requested
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_sweep_names_every_job_and_every_failure(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    from glasswright.jobs import train as job

    def train(experiment, directory, *, progress):
        if experiment.seed in (1, 3):
            raise gw.RunError(f"seed {experiment.seed}\nis unlucky") if experiment.seed == 1 else ArithmeticError("odd")
        assert label.get() == f"job {experiment.seed}"
        logging.getLogger("glasswright.jobs").warning("odd packing")
        return {"loss": 0.5, "success": False, "steps": 1, "seconds": 0.1}

    monkeypatch.setattr(job, "train", train)
    assert cli.main(["train", "-m", "seed=0,1,2,3", "system.n_particles=64"]) == cli.RUN_FAILED
    lines = capsys.readouterr().err.splitlines()
    for number in range(4):
        assert f"glasswright: job {number}: seed={number} system.n_particles=64" in lines
    assert [line for line in lines if "odd packing" in line] == [
        f"glasswright: warning: job {number}: odd packing" for number in (0, 2)
    ]
    assert lines[-1] == (
        "glasswright: error: 2 of 4 jobs failed: job 1 (seed=1 system.n_particles=64): seed 1 is unlucky; "
        "job 3 (seed=3 system.n_particles=64): ArithmeticError: odd"
    )


def test_a_job_in_another_process_speaks_as_the_command_does(capsys):
    """A launcher such as joblib's runs jobs where nothing has been set up to show messages."""
    logger = logging.getLogger("glasswright.jobs")
    for number in (3, 4):
        with diagnostics_of_job(number):
            logger.info("going on")
            logger.warning("odd packing")
        assert capsys.readouterr().err.splitlines() == [
            f"glasswright: job {number}: going on",
            f"glasswright: warning: job {number}: odd packing",
        ]


@pytest.mark.parametrize("tolerated", [0.0, 1.0])
def test_a_search_names_every_failure(tmp_path, monkeypatch, capsys, tolerated):
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    monkeypatch.chdir(tmp_path)
    from glasswright.jobs import train as job

    def train(experiment, directory, *, progress):
        if directory.name != "1":
            raise gw.RunError(f"{directory.name} is unlucky")
        return {"loss": 0.5, "success": False, "steps": 1, "seconds": 0.1, "terms": {}}

    monkeypatch.setattr(job, "train", train)
    search = ["hydra/sweeper=optuna", "hydra/sweeper/sampler=random", "hydra.sweeper.n_trials=3"]
    options = [f"hydra.sweeper.max_failure_rate={tolerated}", "hydra.sweeper.n_jobs=3", "hydra.sweep.dir=sweep"]
    code = cli.main(["train", "-m", *search, *options, "seed=range(0,1000)", "system.n_particles=64"])
    assert code == (cli.DONE if tolerated else cli.RUN_FAILED)
    lines = capsys.readouterr().err.splitlines()
    assert len([line for line in lines if re.match(r"glasswright: job \d: seed=\d", line)]) == 3
    (last,) = [line for line in lines if "2 jobs failed" in line]
    assert last.startswith("glasswright: warning:" if tolerated else "glasswright: error:")
    assert "0 is unlucky" in last
    assert "2 is unlucky" in last
    kept = [json.loads(line) for line in Path("sweep/failed_jobs.jsonl").read_text().splitlines()]
    assert {line["number"]: line["reason"] for line in kept} == {0: "0 is unlucky", 2: "2 is unlucky"}


def test_sigterm_ends_a_whole_sweep(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    from glasswright.jobs import train as job

    evaluate_step = job.evaluate_step

    def evaluate_and_signal(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        return evaluate_step(*arguments)

    monkeypatch.setattr(job, "evaluate_step", evaluate_and_signal)
    small = ["system.n_particles=64", "train.steps=4", "train.tolerance=0", "devices=1"]
    assert cli.main(["train", "-m", "seed=0,1", *small, "hydra.sweep.dir='my sweep'"]) == cli.DONE
    lines = capsys.readouterr().err.splitlines()
    assert "job 0 of the sweep was stopped by SIGTERM after step 0; go on with: glasswright resume " in lines[-1]
    assert "'my sweep/0'" in lines[-1] or f"'{tmp_path}/my sweep/0'" in lines[-1]
    assert not any(line.startswith("glasswright: job 1") for line in lines)


LINE = {
    "step": 41,
    "loss": 1.234e-3,
    "terms": {"poisson_ratio": {"value": 0.34567}, "bulk_modulus": {"value": 2.5}, "pressure": {"value": 0.1}},
    "learning_rate": 3e-3,
    "converged": 8,
    "requested": 8,
    "rejected": {"max_steps": 1},
    "rearranged": 1,
}


@pytest.mark.parametrize("width", [60, 80, 100, 160])
@pytest.mark.parametrize("name", ["", "job 12"])
def test_the_bar_fits_its_terminal(width, name):
    text = io.StringIO()
    console = Console(file=text, width=width, force_terminal=True, color_system=None, legacy_windows=False)
    before = label.set(name)
    with Progress("train", 10000, console=console) as progress:
        progress.update(LINE)
        progress.bar.refresh()
    label.reset(before)
    rows = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text.getvalue()).replace("\r", "\n").splitlines()
    shown = [row for row in rows if "42/10000" in row]
    assert shown
    assert all(len(row.rstrip()) <= width for row in shown)
    assert all(row.count("42/10000") == 1 for row in shown)
    # The most important numbers come first, and none is on a line of its own.
    assert any("loss 1.23" in row for row in shown)
    assert not any(row.strip().startswith(("poisson", "rate", "8/8")) for row in rows)
    if width >= 80:
        assert any("poisson_ratio" in row for row in shown)


def test_lines_of_a_job_carry_its_number():
    text = io.StringIO()
    before = label.set("job 3")
    with Progress("train", 100, console=Console(file=text, width=80)) as progress:
        progress.update(LINE | {"step": 0})
    label.reset(before)
    assert text.getvalue().startswith("job 3  step 0/100  loss 1.234e-03")
