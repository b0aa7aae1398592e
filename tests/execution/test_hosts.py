"""Several processes that share the configurations of a step: the numbers are those of one."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from glasswright import cli
from glasswright.execution import worker_pool
from glasswright.execution.container import from_bytes, to_bytes
from glasswright.execution.executor import Executor
from glasswright.execution.task import Result
from glasswright.execution.worker import Worker
from glasswright.execution.worker_pool import WorkerPool
from helpers import REFERENCE

SMALL = [
    "system.n_particles=128",
    "optimizer=adam",
    "train.steps=4",
    "train.tolerance=0",
    "train.checkpoint_interval=2",
    "devices=2",
]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_on_two_hosts(
    arguments: list[str], folders: list[Path], *, further: tuple[list[str], list[str]] = ([], [])
) -> list[subprocess.Popen]:
    """The same command in two processes, each in a folder of its own, with further arguments for each."""
    address = {
        "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{free_port()}",
        "JAX_NUM_PROCESSES": "2",
        "GLASSWRIGHT_HOSTS_TIMEOUT": "600",
    }
    running = []
    for rank, folder in enumerate(folders):
        folder.mkdir(exist_ok=True)
        environment = os.environ | address | {"JAX_PROCESS_ID": str(rank)}
        command = [sys.executable, "-m", "glasswright", *arguments, *further[rank]]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        running.append(subprocess.Popen(command, cwd=folder, env=environment, **pipes))
    return running


def on_two_hosts(arguments: list[str], folders: list[Path], **options: Any) -> list[subprocess.CompletedProcess]:
    """How the same command ends in two processes."""
    running = start_on_two_hosts(arguments, folders, **options)
    try:
        ends = [process.communicate(timeout=900) for process in running]
    finally:
        for process in running:
            process.kill()
    return [
        subprocess.CompletedProcess(arguments, process.returncode, *end)
        for process, end in zip(running, ends, strict=True)
    ]


def without_seconds(directory: Path) -> tuple[list[dict], dict]:
    lines = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    result = json.loads((directory / "result.json").read_text())
    return [line | {"seconds": 0} for line in lines], result | {"seconds": 0}


def test_two_processes_find_what_one_finds(tmp_path):
    shorter = ["system.n_particles=64", "train.steps=2"]
    arguments = ["train", "sampler=fresh", "sampler.size=3", *SMALL, *shorter, "hydra.run.dir=run"]
    first, second = on_two_hosts(arguments, [tmp_path / "first", tmp_path / "second"])
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert "done after 2 steps" in first.stdout
    # Only one writes and speaks.
    assert list((tmp_path / "second").iterdir()) == []
    assert (second.stdout, second.stderr) == ("", "")
    assert cli.main([*arguments[:-1], f"hydra.run.dir={tmp_path / 'alone'}"]) == 0
    assert without_seconds(tmp_path / "first" / "run") == without_seconds(tmp_path / "alone")


def test_different_requests_are_refused_in_every_process(tmp_path):
    """`srun bash -c 'glasswright train seed=$SLURM_PROCID …'`: nobody wants a run of mixed packings."""
    folders = [tmp_path / "first", tmp_path / "second"]
    further = ["seed=1", "hydra.run.dir=r0"], ["seed=2", "terms.poisson_ratio.objective.target=0.1"]
    ends = on_two_hosts(["train", "sampler=fresh", "sampler.size=4", *SMALL], folders, further=further)
    for end in ends:
        assert (end.returncode, end.stdout) == (2, "")
        (line,) = [line for line in end.stderr.splitlines() if "note:" not in line]
        assert "terms.poisson_ratio.objective.target: 0.35 in process 0, 0.1 in process 1 of 2" in line
        assert "(also different: seed, hydra.run.dir)" in line
        assert "GLASSWRIGHT_HOSTS=off" in line
    assert [list(folder.iterdir()) for folder in folders] == [[], []]


@pytest.mark.slow
def test_two_processes_follow_go_on_and_pull_back(tmp_path):
    """Each follows packings of its own; a checkpoint has all of them, and an array-valued term its second phase."""
    terms = ["property=[poisson_ratio,elastic_tensor]", "terms.elastic_tensor.objective.target=1"]
    start = ["train", "sampler=tracked", "sampler.size=3", *terms, *SMALL]
    folders = [tmp_path / "first", tmp_path / "second"]
    for end in on_two_hosts([*start, "hydra.run.dir=run"], folders):
        assert end.returncode == 0, end.stderr
    run = tmp_path / "first" / "run"
    assert cli.main([*start, f"hydra.run.dir={tmp_path / 'alone'}"]) == 0
    assert without_seconds(run) == without_seconds(tmp_path / "alone")
    for name in ("final.extxyz", "checkpoints/step_00000002.ckpt"):
        assert (run / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()

    (run / "result.json").unlink()
    ends = on_two_hosts(["resume", str(run), "train.steps=7"], folders)
    for end in ends:
        assert end.returncode == 0, end.stderr
    assert "going on from step 2" in ends[0].stderr
    assert cli.main([*start, "train.steps=7", f"hydra.run.dir={tmp_path / 'longer'}"]) == 0
    assert without_seconds(run) == without_seconds(tmp_path / "longer")
    assert (run / "final.extxyz").read_bytes() == (tmp_path / "longer" / "final.extxyz").read_bytes()


@pytest.mark.slow
def test_two_processes_validate_as_one(tmp_path):
    train = ["train", "sampler=fresh", "sampler.size=3", *SMALL, f"hydra.run.dir={tmp_path / 'run'}"]
    assert cli.main(train) == 0
    arguments = ["validate", f"run={tmp_path / 'run'}", "n_configurations=9", "n_untrained=2"]
    ends = on_two_hosts([*arguments, "hydra.run.dir=check"], [tmp_path / "first", tmp_path / "second"])
    for end in ends:
        assert end.returncode == 0, end.stderr
    assert list((tmp_path / "second").iterdir()) == []
    assert cli.main([*arguments, f"hydra.run.dir={tmp_path / 'alone'}"]) == 0
    for name in ("validation.json", "configurations.jsonl"):
        assert (tmp_path / "first" / "check" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()


@pytest.mark.slow
def test_a_lost_process_ends_the_other_and_the_run_goes_on_to_the_same_numbers(tmp_path):
    start = ["train", "sampler=fresh", "sampler.size=3", *SMALL, "train.steps=400"]
    folders = [tmp_path / "first", tmp_path / "second"]
    running = start_on_two_hosts([*start, "hydra.run.dir=run"], folders)
    run = tmp_path / "first" / "run"
    try:
        while not list(run.glob("checkpoints/*.ckpt")):
            assert running[0].poll() is None
            time.sleep(0.1)
        running[1].kill()
        _, error = running[0].communicate(timeout=600)
    finally:
        for process in running:
            process.kill()
            process.wait()
    assert running[0].returncode == 1
    line = error.splitlines()[-1]
    assert line.startswith("glasswright: error: process 1 of 2 on")
    assert line.endswith(f"; go on from the last checkpoint with: glasswright resume {run}")
    steps = len((run / "metrics.jsonl").read_text().splitlines()) + 2
    for end in on_two_hosts(["resume", str(run), f"train.steps={steps}"], folders):
        assert end.returncode == 0, end.stderr
    assert cli.main([*start, f"train.steps={steps}", f"hydra.run.dir={tmp_path / 'alone'}"]) == 0
    assert without_seconds(run) == without_seconds(tmp_path / "alone")


@pytest.mark.slow
@pytest.mark.parametrize("command", ["measure", "analyse"])
def test_two_processes_measure_and_analyse_as_one(tmp_path, command):
    arguments = [command, f"configuration={REFERENCE / '2d_n368_sp2_a5.extxyz'}", "property=[poisson_ratio]"]
    ends = on_two_hosts([*arguments, "hydra.run.dir=out"], [tmp_path / "first", tmp_path / "second"])
    for end in ends:
        assert end.returncode == 0, end.stderr
    assert (ends[1].stdout, list((tmp_path / "second").iterdir())) == ("", [])
    assert cli.main([*arguments, f"hydra.run.dir={tmp_path / 'alone'}"]) == 0
    name = f"{'measure' if command == 'measure' else 'analysis'}.json"
    assert (tmp_path / "first" / "out" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()


@pytest.mark.slow
def test_a_training_does_not_notice_that_worker_processes_are_killed(tmp_path, monkeypatch, capfd):
    """Each once, in the middle of a step: its configurations are computed again, to the same numbers."""
    arguments = ["train", "sampler=fresh", "sampler.size=6", *SMALL, "train.steps=12"]
    assert cli.main([*arguments, f"hydra.run.dir={tmp_path / 'undisturbed'}"]) == 0
    monkeypatch.setattr(worker_pool, "START_AFTER", 0.0)
    monkeypatch.setattr("glasswright.execution.workers.available_cores", lambda: 2)
    killed: list[int] = []

    class Struck(Worker):
        """A worker whose first two kin are killed while they work on their second item."""

        n_runs = 0

        def run(self, *task):
            self.n_runs += 1
            if self.n_runs == 2 and len(killed) < 2:
                killed.append(self.pid)
                threading.Timer(0.05, os.kill, (self.pid, signal.SIGKILL)).start()
            return super().run(*task)

    monkeypatch.setattr(worker_pool, "Worker", Struck)
    # The workers are there from the first step on.
    start_after = WorkerPool.start_after

    def start_and_wait(self, *arguments):
        start_after(self, *arguments)
        self.wait()

    monkeypatch.setattr(WorkerPool, "start_after", start_and_wait)
    assert cli.main([*arguments, f"hydra.run.dir={tmp_path / 'struck'}"]) == 0
    assert len(killed) == 2
    assert "ended by signal 9 (Killed)" in capfd.readouterr().err
    assert without_seconds(tmp_path / "struck") == without_seconds(tmp_path / "undisturbed")


def through_bytes(value):
    return from_bytes(to_bytes(value))


@pytest.mark.parametrize(
    "array",
    [
        np.array([0.1, -0.0, 1e-310, np.inf, -np.inf, np.nan, np.pi]),
        np.array([0x7FF8DEADBEEF0001], dtype=np.uint64).view(np.float64),
        np.arange(6, dtype=np.int32).reshape(2, 3)[:, ::-1].T,
        np.array(2**63 - 1),
        np.array([True, False]),
        np.zeros((0, 3)),
        np.float64(1 / 3),
        jnp.array([[1.0, 2.0]]) / 3.0,
        np.array([0.1], dtype=np.float32),
    ],
    ids=lambda array: f"{array.dtype}{list(np.shape(array))}",
)
def test_arrays_reach_other_processes_bit_by_bit(array):
    (received,) = through_bytes([array])
    assert received.dtype == array.dtype
    assert received.shape == np.shape(array)
    assert received.tobytes() == np.asarray(array).tobytes()


def test_other_data_reaches_other_processes_unchanged():
    value = {
        "numbers": [0.1, 1e-310, 2**70, -3, True, None, float("inf"), -0.0],
        "bytes": bytes(range(256)),
        "nested": {"": [], "text": "ö\n", "empty": {}, "misleading": {"bytes": 0.5}},
    }
    received = through_bytes(value)
    assert received == value
    assert str(received["numbers"]) == str(value["numbers"])
    assert np.isnan(through_bytes({"x": float("nan")})["x"])


def test_results_come_in_the_order_of_the_items_whoever_found_them(monkeypatch):
    """As rank 1 of 2: it works on every second item, and keeps what it found itself."""
    from glasswright.execution import executor as executor_module

    executor = Executor(2)
    executor.n_hosts, executor.rank = 2, 1
    monkeypatch.setattr(executor_module, "exchange", lambda mine: {k: 10 * k for k in range(5)} | mine)
    worked = []
    results = executor.map(lambda item: worked.append(item) or Result(10 * item, local=str(item)), range(5))
    assert sorted(worked) == [1, 3]
    assert results == [Result(0), Result(10, "1"), Result(20), Result(30, "3"), Result(40)]
    monkeypatch.setattr(executor_module, "exchange", lambda mine: {0: True} | mine)
    assert executor.any_process(False)
