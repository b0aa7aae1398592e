"""Files of several packings: a result for each, means and errors over all."""

import json
from pathlib import Path
from typing import Any

import glasswright as gw
import jax
import numpy as np
import pytest
from glasswright import cli
from glasswright.jobs.frames import mean_and_error
from glasswright.run.extxyz import write_configuration
from helpers import component

SOFT = ["potential=soft_sphere", "property=[pressure,energy_per_particle]"]


@pytest.fixture(scope="module")
def packings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three packings at rest, of different sizes, in one file and each in its own."""
    folder = tmp_path_factory.mktemp("packings")
    potential, quench = component("potential", "soft_sphere")(), component("protocol", "quench")()
    texts = []
    for k, n in enumerate((64, 64, 80)):
        start = gw.System(n, 2, 2, 1.8, box=[[1.0, 0.3], [0.0, 1.0]]).start(jax.random.key(k))
        prepared = quench.prepare(potential, start, key=jax.random.key(0))
        assert prepared.accepted
        texts.append(write_configuration(prepared.configuration))
        (folder / f"{k}.extxyz").write_text(texts[-1])
    (folder / "all.extxyz").write_text("".join(texts))
    return folder


def run(command: str, folder: Path, *arguments: str) -> Any:
    assert cli.main([command, *arguments, f"hydra.run.dir={folder}"]) == 0
    name = {"measure": "measure.json", "analyse": "analysis.json"}[command]
    return json.loads((folder / name).read_text())


def test_measure_gives_each_packing_and_the_mean(packings: Path, tmp_path: Path, capsys: Any) -> None:
    report = run("measure", tmp_path / "all", f"configuration={packings / 'all.extxyz'}", *SOFT, "gradient=true")
    assert "3 packings" in capsys.readouterr().out
    alone = [
        run("measure", tmp_path / str(k), f"configuration={packings / f'{k}.extxyz'}", *SOFT, "gradient=true")
        for k in range(3)
    ]
    assert report["frames"] == alone
    for name in ("pressure", "energy_per_particle"):
        values = [single["properties"][name]["value"] for single in alone]
        entry = report["properties"][name]
        assert entry["value"] == pytest.approx(np.mean(values), rel=1e-14)
        assert entry["standard_error"] == pytest.approx(np.std(values, ddof=1) / np.sqrt(3), rel=1e-12)
        slopes = [single["properties"][name]["gradient"]["diameter"] for single in alone]
        np.testing.assert_allclose(entry["gradient"]["diameter"], np.mean(slopes, axis=0), rtol=1e-13)
    assert report["max_force"] == max(single["max_force"] for single in alone)


def test_a_packing_that_is_not_at_rest_is_named(packings: Path, tmp_path: Path, capsys: Any) -> None:
    moved = (packings / "0.extxyz").read_text() + (packings / "2.extxyz").read_text()
    lines = moved.splitlines()
    fields = lines[-1].split()
    fields[1] = str(float(fields[1]) + 0.1)
    (tmp_path / "moved.extxyz").write_text("\n".join([*lines[:-1], " ".join(fields)]) + "\n")
    assert cli.main(["measure", f"configuration={tmp_path / 'moved.extxyz'}", *SOFT, "hydra.run.dir=x"]) == 2
    assert "packing 1 of the file: configuration: not at a minimum" in capsys.readouterr().err


def test_analyse_gives_each_packing_and_the_mean(packings: Path, tmp_path: Path, capsys: Any) -> None:
    own = [*SOFT, "parts=[tunability,vibrations]", "experiment=null"]
    report = run("analyse", tmp_path / "all", f"configuration={packings / 'all.extxyz'}", *own)
    assert "3 packings of" in capsys.readouterr().out
    alone = [run("analyse", tmp_path / str(k), f"configuration={packings / f'{k}.extxyz'}", *own) for k in range(3)]
    for single, frame in zip(alone, report["frames"], strict=True):
        assert {**single["packing"], "source": ""} == {**frame["packing"], "source": ""}
        assert single["vibrations"] == frame["vibrations"]
    lowest = [single["vibrations"]["lowest_frequency"] for single in alone]
    assert report["mean"]["vibrations"]["lowest_frequency"] == pytest.approx(np.mean(lowest), rel=1e-13)
    error = np.std(lowest, ddof=1) / np.sqrt(3)
    assert report["standard_error"]["vibrations"]["lowest_frequency"] == pytest.approx(error, rel=1e-12)
    assert (tmp_path / "all" / "vibrations.png").exists()


def test_only_numbers_that_all_reports_have_are_averaged() -> None:
    reports = [
        {"a": 1, "text": "x", "of": {"b": [1.0, 2.0], "c": [1.0]}, "largest": [1, 2], "some": 1.0},
        {"a": 3, "text": "y", "of": {"b": [3.0, 2.0], "c": [1.0, 2.0]}, "largest": [3, 4]},
    ]
    mean, error = mean_and_error(reports)
    assert mean == {"a": 2.0, "of": {"b": [2.0, 2.0]}}
    assert error == {"a": 1.0, "of": {"b": [1.0, 0.0]}}
