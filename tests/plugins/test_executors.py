"""Executors: where work is done has no effect on it, and what is lost is done again."""

import dataclasses
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import cloudpickle
import glasswright as gw
import numpy as np
import pytest
from glasswright import testing
from glasswright.components.executor import check_executor, started
from glasswright.execution.executor import Executor
from glasswright.execution.peers import PeerLost
from glasswright.execution.task import Kept, Result, Task
from glasswright.testing._executor import executor_checks
from glasswright.testing._static import as_component
from helpers import component

pytest.importorskip("distributed")
import psutil
from glasswright_plugins.executors import _clusters
from glasswright_plugins.executors.dask import Dask

# Workers cannot import the modules of tests.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


@dataclasses.dataclass(frozen=True)
class Doing(Task):
    """Tasks of several kinds, by name."""

    def __call__(self, item):
        what, argument = item
        return getattr(self, what)(argument)

    def square(self, x):
        return Result(x**2, ("local", x))

    def chain(self, before):
        """Grows an array that stays where it is."""
        array = np.zeros(3) if before is None else before
        return Result(array.tolist(), os.getpid(), array + np.sqrt(2.0))

    def say(self, text):
        print(text)
        logging.getLogger("glasswright.somewhere").warning("%s is logged", text)
        return Result(os.getpid())

    def fail(self, text):
        raise gw.RequestError(text)

    def die(self, file):
        if not Path(file).exists():
            Path(file).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return Result("done")

    def always_die(self, _):
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(scope="module")
def executor():
    with started(Dask(n_workers=1, most_losses=1), None) as made:
        yield made


def chain(executor: Executor, steps: int, then=lambda step: None) -> list[Result]:
    """Two chains of results, each made from what the one before has kept."""
    results = [Result(None), Result(None)]
    for step in range(steps):
        results = executor.map(Doing(), [("chain", result.kept) for result in results], local=True)
        then(step)
    return results


def test_results_come_back_in_order_and_bit_by_bit(executor):
    numbers = np.random.default_rng(0).normal(size=(7, 3))
    results = executor.map(Doing(), [("square", row) for row in numbers])
    for row, result in zip(numbers, results, strict=True):
        np.testing.assert_array_equal(result.gathered, row**2)
        np.testing.assert_array_equal(result.local[1], row)
    # What is no task is done here.
    assert executor.map(lambda _: Result(os.getpid()), [1, 2]) == [Result(os.getpid())] * 2
    assert executor.map(Doing(), []) == []
    assert executor.n_workers == 1


def test_what_workers_say_is_said_once_and_errors_are_raised_here(executor, capsys, caplog):
    pids = {result.gathered for result in executor.map(Doing(), [("say", "hello")] * 3)}
    assert os.getpid() not in pids
    assert capsys.readouterr().err.count("hello") == 1
    assert caplog.text.count("hello is logged") == 1
    with pytest.raises(gw.RequestError, match="no such thing") as caught:
        executor.map(Doing(), [("square", 2), ("fail", "no such thing")])
    assert "in fail" in caught.value.__notes__[0]
    with pytest.raises(gw.RequestError, match=r"executor=dask: work cannot be sent .* choose executor=local"):
        executor.map(Doing(), [("square", sys.stdout)])


def test_what_is_kept_stays_until_it_is_fetched_and_survives_its_worker(executor, monkeypatch, caplog):
    with Executor(1) as local:
        expected = chain(local, 5)
    assert not isinstance(expected[0].kept, Kept)
    results = chain(executor, 5)
    assert [result.gathered for result in results] == [result.gathered for result in expected]
    assert isinstance(results[0].kept, Kept)
    np.testing.assert_array_equal(executor.fetch(results[0].kept), expected[0].kept)
    # The worker and all that it has kept are gone: everything is made again from the start.
    pid = results[0].local
    results = chain(executor, 5, lambda step: os.kill(pid, signal.SIGKILL) if step == 2 else None)
    np.testing.assert_array_equal(executor.fetch(results[1].kept), expected[1].kept)
    assert results[0].local != pid
    # Once in a while all of it is brought here, so that not everything ever made would be needed again.
    monkeypatch.setattr("glasswright_plugins.executors._dask_workers.MOST_STEPS", 5)
    results = chain(executor, 5)
    np.testing.assert_array_equal(results[0].kept, expected[0].kept)


@pytest.mark.slow
def test_lost_work_is_done_again_but_not_for_ever(executor, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("glasswright_plugins.executors._dask_workers.LOOK", 0.1)
    items = [("square", 2), ("die", str(tmp_path / "died")), ("square", 3)]
    assert [result.gathered for result in executor.map(Doing(), items)] == [4, "done", 9]
    assert caplog.text.count("is gone; its work is done again") == 1
    with pytest.raises(PeerLost, match=r"lost 2 workers of Dask, one after the other; .*executor.most_losses"):
        executor.map(Doing(), [("always_die", None)])
    assert executor.map(Doing(), [("square", 5)])[0].gathered == 25


# What follows needs no cluster.


def request(*overrides: str) -> gw.Experiment:
    return gw.build(gw.compose(*overrides))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["executor=dusk"], r"executor=dusk: no such executor; did you mean 'dask'\?"),
        (["executor.n_workers=2"], r"executor.n_workers: no such parameter of Local"),
        (["executor=dask", "executor.address=node1:8786"], r"executor.address: .*must be of the form tcp://HOST:PORT"),
        (["executor=dask", "executor.n_workers=0"], r"executor.n_workers: .*at least one"),
        (["executor=dask", "executor.address=tcp://a:1", "executor.n_workers=2"], "executor.address: .*leave out"),
        (["executor=dask", "executor.cluster=slurm"], r"executor.n_workers: .*how many workers slurm"),
        (["executor=dask", "executor.cluster=slrm"], r"executor.cluster=slrm: did you mean 'slurm'\?"),
        (["executor=dask", "executor.options={cores: 2}"], r"executor.options: .*cluster=slurm"),
        (["executor=dask", "executor.cluster=slurm", "executor.n_workers=4"], "executor.options: .*cores and memory"),
        (
            ["executor=dask", "executor.cluster=slurm", "executor.n_workers=4", "executor.options={coers: 2}"],
            "executor.options: .*",
        ),
        (["executor=dask", "executor.address=tcp://a:1", "devices=2"], "devices=2: counts the cores of this machine"),
        (["executor=dask", "executor.n_workers=2", "devices=2"], "devices=2: executor.n_workers=2 says how many"),
        (["executor=dask", "executor.patience=0"], "executor.patience: .*must be positive"),
    ],
)
def test_wrong_requests_are_one_line(overrides, message):
    with pytest.raises(gw.RequestError, match=message) as caught:
        request(*overrides)
    assert "\n" not in str(caught.value)


def test_a_missing_library_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(gw.RequestError, match=r"executor=dask: needs Dask, .* pip install 'glasswright\[dask\]'"):
        request("executor=dask")
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "dask_jobqueue", None)
    with pytest.raises(gw.RequestError, match="needs Dask"):
        request("executor=dask", "executor.cluster=pbs", "executor.n_workers=2", "executor.options={cores: 1}")


def test_no_scheduler_is_one_line(monkeypatch):
    monkeypatch.setattr(_clusters, "ANSWER", 0.2)
    with pytest.raises(gw.RequestError, match=r"executor.address=tcp://127.0.0.1:9: no scheduler answers there"):
        started(Dask(address="tcp://127.0.0.1:9"), None)


def test_processes_of_a_run_have_no_workers_elsewhere(monkeypatch):
    class Two:
        count, rank = 2, 0

    monkeypatch.setattr("glasswright.components.executor.peers", lambda: Two())
    with pytest.raises(gw.RequestError, match="there are 2 processes of this run; start one process"):
        check_executor(Dask(), None)
    check_executor(component("executor", "local")(), None)


@pytest.mark.parametrize(
    ("system", "lines"),
    [
        ("slurm", ["#SBATCH -p compute", "#SBATCH --cpus-per-task=4", "#SBATCH --mem=8G", "#SBATCH -t 02:00:00"]),
        ("pbs", ["#PBS -q compute", "#PBS -l select=1:ncpus=4:mem=7630MB", "#PBS -l walltime=02:00:00"]),
        ("lsf", ["#BSUB -q compute", "#BSUB -n 4", "#BSUB -W 02:00"]),
        ("sge", ["#$ -q compute", "#$ -l h_rt=02:00:00"]),
    ],
)
def test_jobs_of_batch_systems_have_a_worker_for_each_core(system, lines):
    walltime = "02:00" if system == "lsf" else "02:00:00"
    options = {"cores": 4, "memory": "8GB", "walltime": walltime, "queue": "compute", "local_directory": "/tmp"}
    executor = Dask(cluster=system, n_workers=8, options=options)
    executor.check(None)
    made = _clusters.batch_cluster(system, options)
    try:
        script = made.job_script()
    finally:
        made.close()
    for line in lines:
        assert line in script
    assert "distributed.cli.dask_worker tcp://" in script
    assert "--nthreads 1 --memory-limit 1.86GiB --nworkers 4 --nanny" in script


def test_the_local_executor_passes_the_kit():
    testing.check_executor(component("executor", "local")())


def test_dask_passes_the_kit_but_for_its_work():
    """Which needs a cluster of its own, and is tested above."""
    made = Dask(cluster="slurm", n_workers=3, options={"cores": 1, "memory": "1GB"})
    checks = executor_checks(as_component(made), made)
    del checks["work"]
    for check in checks.values():
        check()


class Forgetful(gw.AbstractExecutor):
    """Loses the order of the items, and what is wrong."""

    def __init__(self, fault: str = "order"):
        self.fault = fault

    def start(self, n_workers):
        return ForgetfulWorkers(self.fault)


class ForgetfulWorkers(gw.AbstractWorkers):
    def __init__(self, fault: str):
        self.fault = fault

    @property
    def n_workers(self):
        return 1

    def map(self, function, items, *, local=False):
        items = items[::-1] if self.fault == "order" else items
        results = []
        for item in items:
            try:
                result = function(item)
            except gw.RequestError as error:
                if self.fault == "error":
                    return []
                if self.fault == "type":
                    raise RuntimeError(str(error)) from error
                raise
            results.append(dataclasses.replace(result, kept=None) if self.fault == "kept" else result)
        return results


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("order", "in the order of the items"),
        ("error", "an error of a task is lost"),
        ("type", "a RequestError of a task arrives as RuntimeError"),
        ("kept", "map of what was kept 1 times"),
    ],
)
def test_faults_are_found_by_the_kit(fault, message):
    with pytest.raises(testing.ConformanceError, match=message):
        testing.check_executor(Forgetful(fault))
    testing.check_executor(Forgetful("none"))


# Real trainings, and a batch system that is made up: minutes.

TRAINING = (
    "system.n_particles=64",
    "sampler.size=4",
    "train.steps=4",
    "train.tolerance=0",
    "train.checkpoint_interval=2",
    "seed=1",
)
FILES = ("checkpoints/step_00000002.ckpt", "final.extxyz", "best.extxyz")


def trained(folder: Path, *overrides: str) -> dict:
    """The metrics of a training without its times, and its files."""
    gw.train(*TRAINING, *overrides, directory=folder)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    content = {file: (folder / file).read_bytes() for file in FILES if (folder / file).exists()}
    return {"metrics": [line | {"seconds": None} for line in lines], **content}


@pytest.fixture(scope="module")
def tracked(tmp_path_factory) -> dict:
    return trained(tmp_path_factory.mktemp("tracked") / "run", "devices=1")


@pytest.mark.slow
@pytest.mark.parametrize("n_workers", [1, 2, 4])
def test_any_number_of_workers_gives_the_numbers_of_local(tracked, tmp_path, n_workers):
    """With an array property, whose gradient is pulled back through what the workers have kept."""
    assert trained(tmp_path / "run", "executor=dask", f"executor.n_workers={n_workers}") == tracked


@pytest.mark.slow
def test_fresh_packings_and_gradients_of_arrays_are_those_of_local(tmp_path):
    request = ("sampler=fresh", "sampler.size=3", "property=[poisson_ratio,elastic_tensor]", "train.steps=2")
    target = "terms.elastic_tensor.objective.target=[[[[1,0],[0,1]],[[0,1],[1,0]]],[[[0,1],[1,0]],[[1,0],[0,1]]]]"
    local = trained(tmp_path / "local", *request, target, "devices=1")
    assert trained(tmp_path / "dask", *request, target, "executor=dask", "executor.n_workers=2") == local


@pytest.mark.slow
def test_a_worker_that_is_killed_in_a_step_changes_no_number(tracked, tmp_path, caplog):
    """Its followed packings are gone with it, and are prepared again from the start."""
    killed = []

    def kill(line) -> None:
        if line["step"] == 1:
            # Some time into the next step.
            children = psutil.Process().children(recursive=True)
            workers = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
            killed.append(workers[0].pid)
            threading.Timer(0.1, workers[0].kill).start()

    folder = tmp_path / "run"
    gw.train(*TRAINING, "executor=dask", "executor.n_workers=2", directory=folder, callbacks=[kill])
    lines = [json.loads(line) | {"seconds": None} for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert lines == tracked["metrics"]
    for file in FILES:
        assert (folder / file).read_bytes() == tracked[file]
    assert len(killed) == 1
    assert caplog.text.count("is gone; its work is done again") == 1


@pytest.mark.slow
def test_jobs_of_a_batch_system_work_for_a_validation(tmp_path, monkeypatch):
    """With `sbatch` and `scancel` that start and end processes of this machine."""
    commands = tmp_path / "bin"
    commands.mkdir()
    (commands / "sbatch").write_text(
        f'#!/bin/bash\ncp "$1" {tmp_path}/script\n'
        f'setsid bash "$1" > {tmp_path}/job.out 2>&1 &\necho $! >> {tmp_path}/jobs\n'
        'echo "Submitted batch job $!"\n'
    )
    (commands / "scancel").write_text(f'#!/bin/bash\necho "$@" >> {tmp_path}/cancelled\nkill -- -"$1"\n')
    for file in commands.iterdir():
        file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    request = (
        "experiment=ensemble_poisson",
        "system.n_particles=64",
        "sampler.size=2",
        "train.steps=1",
    )
    gw.train(*request, directory=tmp_path / "run")
    of = (f"run={tmp_path / 'run'}", "n_configurations=3", "n_untrained=0")
    options = '{cores: 1, memory: 2GB, interface: lo, queue: compute, walltime: "00:10:00"}'
    batch = ("executor=dask", "executor.cluster=slurm", "executor.n_workers=1", f"executor.options={options}")
    reports = [gw.validate(*of, *chosen) for chosen in ((), batch)]
    assert dict(reports[0]) == dict(reports[1])
    job = (tmp_path / "jobs").read_text().strip()
    assert "#SBATCH -p compute" in (tmp_path / "script").read_text()
    assert job in (tmp_path / "cancelled").read_text()


@pytest.mark.slow
def test_a_signal_leaves_a_checkpoint_and_no_worker_and_the_run_goes_on_elsewhere(tracked, tmp_path):
    folder = tmp_path / "run"
    code = (
        "import os, signal; import glasswright as gw; "
        "stop = lambda line: os.killpg(0, signal.SIGINT) if line['step'] == 0 else None; "
        f"gw.train(*{TRAINING!r}, 'executor=dask', 'executor.n_workers=1', directory={str(folder)!r}, callbacks=[stop])"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, start_new_session=True, check=False
    )
    assert process.returncode != 0
    assert "interrupted after step 0" in process.stderr
    assert [file.name for file in (folder / "checkpoints").iterdir()] == ["step_00000001.ckpt"]
    mine = [child for child in psutil.process_iter(["cmdline"]) if str(folder) in " ".join(child.info["cmdline"] or [])]
    assert mine == []
    gw.resume(folder, "executor=local", "devices=1")
    lines = [json.loads(line) | {"seconds": None} for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert lines == tracked["metrics"]
    assert (folder / "final.extxyz").read_bytes() == tracked["final.extxyz"]
