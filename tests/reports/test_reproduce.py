"""Studies: jobs run side by side, once; what was cut off goes on; the verdict is the same whatever happened."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import glasswright as gw
import pytest
from glasswright import cli
from glasswright._errors import RequestError, RunError
from glasswright.registry import registry
from glasswright.reports import reproduce as module
from glasswright.reports.reproduce import StudyRequest, describe, reproduce
from matplotlib.figure import Figure

STUDIES = sorted(registry().components("study"))


class Toy(gw.AbstractStudy):
    """Three trainings, and a validation of the last."""

    title, source = "a toy", "nowhere, Fig. 0"

    def jobs(self, scale):
        trainings = [gw.StudyJob(f"seed{k}", "train", (f"seed={k}", f"train.steps={k + 2}")) for k in range(3)]
        return [*trainings, gw.StudyJob("validate", "validate", ("n_configurations=2",), reads={"run": "seed2"})]

    def claims(self, scale, runs):
        steps = [run.report["steps"] for name, run in runs.items() if name != "validate" and run.state == "done"]
        failed = [run.why for run in runs.values() if run.state == "failed"]
        claim = gw.compare("steps", 3.0, self.source, sum(steps) / len(steps), 0.5, len(steps))
        return [claim, gw.Claim("failures", 0, self.source, None, None, len(failed), "undecided", "; ".join(failed))]

    def figure(self, scale, runs, options):
        return Figure(figsize=(options.inches, 2.0))


class FakeProcess(subprocess.Popen):
    """A job that is over when somebody asks for the second time."""

    _child_created = False  # asked when it is deleted

    def __init__(self, folder: Path, command: str, *, fails: bool):
        self.folder, self.command, self.fails, self.asked = folder, command, fails, 0
        seed = f"seed: {folder.name[-1]}\noptimizer: {{}}\n"
        (folder / "config.yaml").write_text(seed if command == "train" else "trained: {}\nseed: 7\n")
        self.returncode = None

    def poll(self):
        self.asked += 1
        if self.asked < 2:
            return None
        self.returncode = int(self.fails)
        if self.fails:
            (self.folder / "ended.json").write_text('{"state": "failed", "why": "all rejected"}')
        elif self.command == "train":
            (self.folder / "result.json").write_text(json.dumps({"steps": int(self.folder.name[-1]) + 2}))
        else:
            (self.folder / "validation.json").write_text("{}")
        return self.returncode

    def terminate(self) -> None:
        pass

    def wait(self) -> None:
        pass


@pytest.fixture
def started(monkeypatch) -> list[str]:
    """The names of the jobs that are started, none of which computes anything; `fails` does as it says."""
    names: list[str] = []

    def start(request, job, tell):
        folder = request.folder / job.name
        folder.mkdir(parents=True, exist_ok=True)
        names.append(job.name)
        return FakeProcess(folder, job.command, fails="fails" in request.overrides and job.name == "seed1")

    monkeypatch.setattr(module, "_start", start)
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LOOKS", 0.0)
    return names


def request(folder: Path, *overrides: str, parallel: int = 2, scale: str = "quick") -> StudyRequest:
    return StudyRequest("toy", Toy(), scale, overrides, folder, parallel)


def test_jobs_run_once_and_the_verdict_is_written(tmp_path, started):
    told: list[str] = []
    verdict = reproduce(request(tmp_path), told.append)
    assert started == ["seed0", "seed1", "seed2", "validate"]
    assert verdict == json.loads((tmp_path / "verdict.json").read_text())
    assert (verdict["study"], verdict["scale"], verdict["source"]) == ("toy", "quick", "nowhere, Fig. 0")
    assert (verdict["jobs"], verdict["failed"], verdict["seeds"]) == (4, 0, [0, 1, 2])
    assert [claim["verdict"] for claim in verdict["claims"]] == ["agrees", "undecided"]
    assert (tmp_path / "figure.png").exists()
    assert (tmp_path / "figure.pdf").exists()
    assert describe(verdict)[0] == "agrees     steps"
    files = [tmp_path / "verdict.json", tmp_path / "accounting.json"]
    before = [path.read_bytes() for path in files]
    reproduce(request(tmp_path), told.append)
    assert len(started) == 4
    assert [path.read_bytes() for path in files] == before
    assert told[-1] == "4 of 4 jobs have ended already"


def test_a_job_that_was_cut_off_is_started_again(tmp_path, started):
    reproduce(request(tmp_path), print)
    (tmp_path / "seed1" / "result.json").unlink()
    (tmp_path / "accounting.json").write_text('{"wall_seconds": 100.0, "processor_seconds": 200.0}')
    reproduce(request(tmp_path), print)
    assert started[4:] == ["seed1"]
    spent = json.loads((tmp_path / "accounting.json").read_text())
    assert 100.0 <= spent["wall_seconds"] < 160.0, "what earlier calls took counts"
    assert 200.0 <= spent["processor_seconds"] < 260.0


def test_a_failed_job_is_a_result(tmp_path, started):
    verdict = reproduce(request(tmp_path, "fails"), print)
    assert verdict["claims"][1]["reason"] == "all rejected"
    assert verdict["claims"][0]["n"] == 2
    assert verdict["failed"] == 1
    reproduce(request(tmp_path, "fails"), print)
    assert len(started) == 4


@pytest.mark.wrong_types
def test_wrong_requests(tmp_path, started, capsys):
    reproduce(request(tmp_path), print)
    with pytest.raises(RequestError, match="holds another study, or other overrides"):
        reproduce(request(tmp_path, "seed=1"), print)
    with pytest.raises(RequestError, match="scale=huge: possible: quick, paper"):
        request(tmp_path, scale="huge")
    with pytest.raises(RequestError, match="must be at least one"):
        request(tmp_path, parallel=0)
    capsys.readouterr()
    for arguments, message in (
        ([], "NAME is required"),
        (["zu2024_1q"], "did you mean"),
        (["zu2024_1d", "quick"], "must be scale=… or KEY=VALUE"),
        (["zu2024_1d", "scale=huge"], "possible: quick, paper"),
    ):
        assert cli.main(["reproduce", *arguments]) == cli.REQUEST_WRONG
        assert message in capsys.readouterr().err


def test_the_list(capsys):
    assert cli.main(["reproduce", "--list"]) == cli.DONE
    assert "zu2024_1d" in capsys.readouterr().out
    assert cli.main(["reproduce", "--list", "--json"]) == cli.DONE
    assert set(json.loads(capsys.readouterr().out)) == set(STUDIES)


@pytest.mark.parametrize(
    ("measured", "error", "resolution", "verdict"),
    [
        (3.1, 0.1, None, "agrees"),
        (3.5, 0.1, None, "disagrees"),
        (3.1, None, None, "undecided"),
        (float("nan"), 0.1, None, "undecided"),
        (3.1, 0.5, 0.2, "undecided"),
        (3.0, 0.0, None, "agrees"),
        (3.1, 0.0, None, "disagrees"),
    ],
)
def test_compare(measured, error, resolution, verdict):
    assert gw.compare("x", 3.0, "somewhere", measured, error, 5, resolution=resolution).verdict == verdict


PLUGIN = """
import glasswright as gw
from matplotlib.figure import Figure

class Small(gw.AbstractStudy):
    'Two short trainings.'
    title, source = 'small', 'nowhere'
    def jobs(self, scale):
        small = ('system.n_particles=64', 'train.steps=40', 'train.tolerance=0', 'train.checkpoint_interval=5')
        return [gw.StudyJob(f'seed{k}', 'train', (*small, f'seed={k}')) for k in range(2)]
    def claims(self, scale, runs):
        return [gw.compare(name, 0.3, 'nowhere', run.report['loss'], 0.1, 1) for name, run in runs.items()]
    def figure(self, scale, runs, options):
        return Figure()

@gw.hookimpl
def register_studies(register):
    register('small', Small)
"""


@pytest.mark.slow
def test_a_study_that_is_killed_three_times_ends_with_the_same_verdict(tmp_path):
    """A third party's, found by its entry point."""
    (tmp_path / "small_study.py").write_text(PLUGIN)
    metadata = tmp_path / "small_study-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: small-study\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[glasswright]\nsmall = small_study\n")
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}

    def command(folder: str) -> list[str]:
        return [sys.executable, "-m", "glasswright", "reproduce", "small", "--output", folder, "--jobs", "2"]

    def steps() -> int:
        return sum(len(path.read_text().splitlines()) for path in (tmp_path / "killed").glob("*/metrics.jsonl"))

    options = {"cwd": tmp_path, "env": environment, "stdout": subprocess.DEVNULL}
    subprocess.run(command("alone"), check=True, **options)
    for _ in range(3):
        before = steps()
        process = subprocess.Popen(command("killed"), **options)
        while steps() <= before + 5 and process.poll() is None:
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    subprocess.run(command("killed"), check=True, **options)
    alone, killed = ((tmp_path / name / "verdict.json").read_bytes() for name in ("alone", "killed"))
    assert alone == killed
    report = subprocess.run(
        [sys.executable, "-m", "glasswright", "report", "killed"], cwd=tmp_path, env=environment, check=True
    )
    assert report.returncode == 0
    assert (tmp_path / "killed" / "report.html").exists()


def test_a_wrong_job_is_named(tmp_path, monkeypatch):
    """One that ends without a result and without a failure of its own, such as a wrong request."""

    class Ended(subprocess.Popen):
        _child_created = False

        def __init__(self):
            self.returncode = 2

        def poll(self) -> int:
            return 2

    def start(request, job, tell):
        folder = request.folder / job.name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / module.LOG).write_text("glasswright: error: train.stps: no such key\n")
        return Ended()

    monkeypatch.setattr(module, "_start", start)
    with pytest.raises(RunError, match=r"job seed0 ended with exit code 2: glasswright: error: train\.stps"):
        reproduce(request(tmp_path, parallel=1), print)
