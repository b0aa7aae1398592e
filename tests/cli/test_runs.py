"""`glasswright runs`: every run below a folder with its state, sorted, and as data."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from glasswright import cli
from glasswright._errors import RequestError, RunError, Stopped
from glasswright.run.claim import claimed, remove_run, run_in
from glasswright.run.listing import runs_below, state_of
from glasswright.run.lock import LOCK


def line(step: int, loss: float | None, value: float) -> str:
    terms = {"poisson_ratio": {"value": value, "loss": loss}}
    return json.dumps({"step": step, "loss": loss, "terms": terms, "design": {}, "seconds": 0.5}) + "\n"


def a_training(folder: Path, *losses: float | None, result: bool = True, **overrides: str) -> Path:
    """A run directory as a training leaves it."""
    (folder / ".hydra").mkdir(parents=True)
    typed = "".join(f"- {key}={value}\n" for key, value in overrides.items())
    (folder / ".hydra" / "overrides.yaml").write_text(typed or "[]\n")
    (folder / ".hydra" / "hydra.yaml").write_text("hydra:\n  runtime:\n    choices:\n      experiment: pressure\n")
    (folder / "config.yaml").write_text("optimizer: {}\ntrain:\n  steps: 50\n")
    (folder / "metrics.jsonl").write_text("".join(line(k, loss, 0.1 * k) for k, loss in enumerate(losses)))
    if result:
        content = {"success": True, "loss": losses[-1], "steps": len(losses), "values": {"poisson_ratio": 0.3}}
        content |= {"seconds": 61.0, "best": {"loss": 1e-3, "step": 1}}
        (folder / "result.json").write_text(json.dumps(content))
    return folder


@pytest.fixture
def folder(tmp_path) -> Path:
    a_training(tmp_path / "sweep" / "9", 0.5, 1e-3, seed="1", **{"sampler.size": "4"})
    a_training(tmp_path / "sweep" / "10", 0.5, 0.2, result=False, seed="2", **{"sampler.size": "4"})
    validation = tmp_path / "validate"
    validation.mkdir()
    report = {"properties": {"poisson_ratio": {"mean": 0.25}, "array": {"mean": [1.0]}}, "loss": 0.1, "requested": 20}
    (validation / "validation.json").write_text(json.dumps(report))
    (tmp_path / "elsewhere" / "checkpoints").mkdir(parents=True)  # of no run
    return tmp_path


def shown(capsys, *arguments: str) -> str:
    assert cli.main(["runs", *arguments]) == cli.DONE
    return capsys.readouterr().out


def test_every_run_has_a_row(folder, capsys):
    heading, *rows = (line.split() for line in shown(capsys, str(folder)).splitlines())
    assert " ".join(heading) == "folder command experiment state steps loss best time poisson_ratio seed sampler.size"
    assert [row[0] for row in rows] == ["sweep/9", "sweep/10", "validate"]
    assert " ".join(rows[0]) == "sweep/9 train pressure done 2/50 1.000e-03 1.000e-03 @1 1 min 1 s 0.3 1 4"
    assert "killed" in rows[1]
    assert "2/50" in rows[1]


def test_sorted(folder, capsys):
    def order(*options: str) -> list[str]:
        return [Path(run["folder"]).name for run in json.loads(shown(capsys, str(folder), "--json", *options))]

    assert order() == ["9", "10", "validate"]
    assert order("--sort", "loss") == ["9", "validate", "10"]
    assert order("--sort", "loss", "--reverse") == ["10", "validate", "9"]
    assert order("--sort", "poisson_ratio") == ["10", "validate", "9"]
    assert order("--sort", "seed", "--reverse") == ["10", "9", "validate"]


def test_as_data(folder, capsys):
    runs = json.loads(shown(capsys, str(folder), "--json"))
    assert runs[0]["overrides"] == {"seed": "1", "sampler.size": "4"}
    assert runs[1]["best"] == 0.2
    assert runs[2]["values"] == {"poisson_ratio": 0.25}
    rows = list(csv.DictReader(io.StringIO(shown(capsys, str(folder), "--csv"))))
    assert [row["loss"] for row in rows] == ["0.001", "0.2", "0.1"]
    assert [row["values.poisson_ratio"] for row in rows] == ["0.3", "0.1", "0.25"]
    assert [row["seed"] for row in rows] == ["1", "2", ""]


@pytest.mark.wrong_types
def test_wrong_requests(folder, capsys):
    for arguments, message in (
        ([str(folder / "nowhere")], "no such directory"),
        ([str(folder), "--sort", "lss"], "did you mean 'loss'?"),
    ):
        assert cli.main(["runs", *arguments]) == cli.REQUEST_WRONG
        assert message in capsys.readouterr().err
    assert shown(capsys, str(folder / "elsewhere")) == f"no runs in {folder / 'elsewhere'}\n"


@pytest.mark.parametrize(
    ("error", "state", "why"),
    [
        (RunError("all packings\nwere rejected"), "failed", "all packings were rejected"),
        (ZeroDivisionError("by zero"), "failed", "ZeroDivisionError: by zero"),
        (Stopped("stopped after step 3"), "stopped", "stopped after step 3"),
        (KeyboardInterrupt("after step 3"), "stopped", "after step 3"),
    ],
)
def test_how_a_run_ended_is_kept(tmp_path, error, state, why):
    def begin(error: BaseException) -> None:
        with claimed(tmp_path, "directory"):
            (tmp_path / "config.yaml").write_text("optimizer: {}\n")
            assert state_of(tmp_path) == ("running", None)
            raise error

    with pytest.raises(type(error)):
        begin(error)
    assert state_of(tmp_path) == (state, why)
    with pytest.raises(RequestError), claimed(tmp_path, "directory"):
        pass
    assert state_of(tmp_path) == (state, why)
    remove_run(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_killed_run(tmp_path):
    code = (
        "import os, sys, time; from pathlib import Path; from glasswright.run.claim import claimed\n"
        "folder = Path(sys.argv[1])\n"
        "with claimed(folder, 'DIR'):\n"
        "    (folder / 'config.yaml').write_text('optimizer: {}')\n"
        "    time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    try:
        while not (tmp_path / "config.yaml").exists() and process.poll() is None:
            time.sleep(0.02)
        assert [run.state for run in runs_below(tmp_path)] == ["running"]
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert (tmp_path / LOCK).exists()
    assert run_in(tmp_path)
    assert [run.state for run in runs_below(tmp_path)] == ["killed"]


def test_no_jax_is_imported(folder):
    code = f"import sys; from glasswright.cli import main; main(['runs', {str(folder)!r}]); print('jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
