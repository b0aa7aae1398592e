"""Trackers: what they are told is read back by their own readers, and one that fails stops nothing."""

import csv
import importlib
import json
import logging

import glasswright as gw
import pytest
from glasswright import testing
from glasswright.jobs.tracking import Tracking, named_trackers
from glasswright.testing._tracker import CONFIG, line
from helpers import component

VALUES = [0.5, 0.4, 0.3]


class Recorder(gw.AbstractTracker):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list = []

    def start(self, run: gw.TrackedRun) -> None:
        self.told.append(("start", run.first_step, run.config))

    def step(self, line) -> None:
        self.told.append(("step", line["step"]))
        line.clear()  # it is a copy

    def end(self, result) -> None:
        self.told.append(("end", result))


class Renaming(Recorder):
    """Keeps another path than it is given, and is not told the result."""

    def __init__(self, path: str = "log") -> None:
        super().__init__()
        self.path = f"{path}.csv"

    def end(self) -> None:
        self.told.append(("end", None))


def test_faults_are_found_by_the_kit():
    with pytest.raises(testing.ConformanceError, match="2 checks fail") as raised:
        testing.check_tracker(Renaming())
    assert "log.csv.csv'} instead of" in str(raised.value)
    assert "end(result) is not possible: too many positional arguments" in str(raised.value)


def test_numbers():
    numbers = Recorder().numbers(line(1))
    assert list(numbers)[:4] == ["loss", "value/poisson_ratio", "loss/poisson_ratio", "loss/curve"]
    assert numbers["design/diameter/1"] == 1.1
    assert numbers["design/density"] == 1.6
    assert numbers["learning_rate"] != numbers["learning_rate"]
    assert list(numbers) == list(Recorder().numbers(line(2)))


def test_all_are_told_everything():
    first, second, lines = Recorder(), Recorder(), []
    tracking = Tracking(named_trackers([first, second, lines.append]))
    tracking.start(None, "seed: 1\n", 0)
    tracking.step(line(0))
    tracking.end({"loss": 1.0})
    tracking.end(None)
    assert first.told == second.told == [("start", 0, {"seed": 1}), ("step", 0), ("end", {"loss": 1.0})]
    assert lines == [line(0)]


@pytest.mark.parametrize("error", [RuntimeError("no\nnetwork"), SystemExit(3), ImportError("no such thing")])
@pytest.mark.parametrize("where", ["start", "step", "end"])
def test_one_that_fails_is_named_once_and_left_out(caplog, error, where):
    class Failing(Recorder):
        pass

    def fail(*_: object) -> None:
        raise error

    failing, other = Failing(), Recorder()
    setattr(failing, where, fail)
    tracking = Tracking(named_trackers([failing, other]))
    with caplog.at_level(logging.WARNING):
        tracking.start(None, None, 0)
        for step in range(3):
            tracking.step(line(step))
        tracking.end(None)
    (record,) = caplog.records
    assert record.getMessage().startswith(f"tracker Failing failed in {where} and is left out: ")
    assert "\n" not in record.getMessage()
    assert [told[:2] for told in other.told] == [("start", 0), *(("step", k) for k in range(3)), ("end", None)]


@pytest.mark.wrong_types
def test_callbacks():
    assert list(named_trackers([print, print, Recorder()])) == ["print", "print 2", "Recorder"]
    with pytest.raises(TypeError, match="neither"):
        named_trackers(["csv"])


def tracker(name: str, **parameters):
    return component("tracker", name)(**parameters)


def test_csv(tmp_path):
    testing.follow(tracker("csv"), tmp_path)
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    assert [float(row["value/poisson_ratio"]) for row in rows] == pytest.approx(VALUES)
    assert [int(row["step"]) for row in rows] == [0, 1, 2]
    # A run that goes on from its second step makes that step again.
    testing.follow(tracker("csv"), tmp_path, steps=range(1, 5))
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    assert [int(row["step"]) for row in rows] == [0, 1, 2, 3, 4]
    # A step in which nothing was accepted has no values.
    table = tracker("csv")
    table.start(gw.TrackedRun(tmp_path, {}, 5))
    table.step(line(5) | {"loss": None, "terms": {}})
    last = list(csv.DictReader((tmp_path / "metrics.csv").open()))[-1]
    assert (last["step"], last["loss"], last["value/poisson_ratio"], last["requested"]) == ("5", "nan", "nan", "2.0")
    # One that begins anew begins a table.
    testing.follow(tracker("csv"), tmp_path, steps=range(1))
    assert len((tmp_path / "metrics.csv").read_text().splitlines()) == 2
    with pytest.raises(ValueError, match="without folders"):
        tracker("csv", file="../metrics.csv")


def test_tensorboard_reads_it_back(tmp_path):
    pytest.importorskip("tensorboardX")
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    testing.follow(tracker("tensorboard"), tmp_path)
    testing.follow(tracker("tensorboard"), tmp_path, steps=range(2, 4))
    events = reader.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    scalars = events.Scalars("value/poisson_ratio")
    assert [event.step for event in scalars] == [0, 1, 2, 3]
    assert [event.value for event in scalars[:3]] == pytest.approx(VALUES)
    text = events.Tensors("configuration/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "steps: 3" in text


@pytest.mark.slow
def test_mlflow_reads_it_back(tmp_path):
    pytest.importorskip("mlflow")
    pytest.importorskip("alembic")
    tracking = importlib.import_module("mlflow.tracking")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    testing.follow(tracker("mlflow", uri=uri, experiment="tests"), tmp_path)
    testing.follow(tracker("mlflow", uri=uri, experiment="tests"), tmp_path, steps=range(3, 5))
    client = tracking.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("tests")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["terms.poisson_ratio.weight"] == str(CONFIG["terms"]["poisson_ratio"]["weight"])
    history = client.get_metric_history(run.info.run_id, "value/poisson_ratio")
    assert [metric.step for metric in history] == [0, 1, 2, 3, 4]
    assert [metric.value for metric in history[:3]] == pytest.approx(VALUES)


@pytest.mark.slow
def test_wandb_stays_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    testing.follow(tracker("wandb"), tmp_path)
    (folder,) = (tmp_path / "wandb").glob("offline-run-*")
    (record,) = folder.glob("*.wandb")
    content = record.read_bytes()
    assert b"value/poisson_ratio" in content
    assert (tmp_path / "wandb.txt").read_text().strip() in record.name


def test_a_training_is_tracked(tmp_path, caplog):
    """Several at a time, from overrides and from Python, one of which fails."""

    def broken(line) -> None:
        raise ZeroDivisionError

    lines: list = []
    with caplog.at_level(logging.WARNING):
        gw.train(
            "tracker=[csv]",
            "system.n_particles=64",
            "train.steps=2",
            "devices=1",
            directory=tmp_path,
            callbacks=[lines.append, broken],
        )
    kept = [json.loads(text) for text in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines == kept
    assert len((tmp_path / "metrics.csv").read_text().splitlines()) == 3
    assert [record.getMessage() for record in caplog.records if "tracker" in record.getMessage()] == [
        "tracker broken failed in step and is left out: ZeroDivisionError"
    ]
