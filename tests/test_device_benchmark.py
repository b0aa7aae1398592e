"""`benchmarks/device.py`: all but the rates on a CPU, and its checks fail where something is wrong."""

import importlib
import json
import subprocess
import sys

import glasswright as gw
import numpy as np
import pytest
from glasswright.evaluation.measurement import Measurement, Sample
from helpers import ROOT

BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture
def device(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("device")


def sample(index: int, value: float | None) -> Sample:
    """A sample in which every property has one value; None for one that was rejected."""
    if value is None:
        return Sample(index, gw.Outcome.unstable, {}, None, None)
    values = dict.fromkeys(("poisson_ratio", "pressure", "energy_per_particle"), np.asarray(value))
    return Sample(index, gw.Outcome.converged, {}, Measurement(values, {}), None)


@pytest.mark.parametrize(
    ("samples", "passes"),
    [
        ([sample(0, 0.3), sample(1, None), sample(2, 0.4)], True),
        ([sample(0, 0.3), sample(0, 0.3), sample(2, 0.4)], False),
        ([sample(0, 0.3), sample(1, 0.2)], False),
        ([sample(0, 0.3), sample(1, np.nan), sample(2, 0.4)], False),
        ([sample(0, None), sample(1, None), sample(2, None)], False),
    ],
)
def test_configurations_that_are_not_accounted_for_are_found(device, monkeypatch, samples, passes):
    monkeypatch.setattr(device, "_samples", lambda *_: samples)
    assert device._accounting(None, {}, None, 3)["passed"] is passes


def test_means_and_shares_that_differ_are_found(device, monkeypatch):
    numbers = np.random.default_rng(0).normal(0.3, 0.1, 200)

    def verdict(shift: float, rejected: int) -> bool:
        ours = [sample(k, None if k < rejected else x + shift) for k, x in enumerate(numbers)]
        theirs = [sample(k, x) for k, x in enumerate(numbers[::-1])]
        # Those of the device are asked for first.
        monkeypatch.setattr(device, "_samples", lambda *_: turns.pop(0))
        turns = [ours, theirs]
        return device._statistics(None, {}, None, 200)["passed"]

    assert verdict(0.0, 0)
    assert verdict(0.01, 3)
    assert not verdict(0.06, 0)
    assert not verdict(0.0, 40)


@pytest.mark.slow
def test_everything_runs_on_a_cpu(tmp_path):
    arguments = ["--small", "--json", str(tmp_path / "report.json"), "--profile", str(tmp_path / "profile")]
    run = subprocess.run(
        [sys.executable, str(BENCHMARKS / "device.py"), *arguments], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "there is no accelerator" in run.stdout
    report = json.loads((tmp_path / "report.json").read_text())
    assert {name: check["passed"] for name, check in report["checks"].items()} == dict.fromkeys(
        ("gradients", "accounting", "statistics"), True
    )
    assert 0.0 < report["checks"]["gradients"]["worst"] < 1e-9
    assert [rate["size"] for rate in report["rates"]] == [2, 4]
    assert all(rate["per_second"] > 0.0 for rate in report["rates"])
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))
