"""`glasswright validate`: what a trained design gives on packings that no training has seen."""

import dataclasses
import json
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from glasswright import cli
from glasswright.commands.train import build
from glasswright.commands.validate import build_validation
from glasswright.evaluation.ensemble import TRAINING, VALIDATION, random_start
from glasswright.evaluation.measurement import measure_sample
from glasswright.evaluation.problem import Problem
from glasswright.run.directory import RunDirectory
from glasswright.run.files import run_configuration
from helpers import component

N, N_UNTRAINED = 10, 4
ARGUMENTS = [f"n_configurations={N}", f"n_untrained={N_UNTRAINED}", "property=[pressure]", "devices=2"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A short training of small packings on a loss of which half is that of Poisson's ratio."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    small = ["system.n_particles=128", "train.steps=4", "train.checkpoint_interval=2", "devices=2", "seed=3"]
    ensemble = ["sampler=fresh", "sampler.size=3", "optimizer=adam", "optimizer.learning_rate=2e-2"]
    weight = ["terms.poisson_ratio.weight=0.5"]
    assert cli.main(["train", *small, *ensemble, *weight, f"hydra.run.dir={folder}"]) == 0
    return folder


def validate(run: Path, where: Path, *overrides: str, arguments: list[str] = ARGUMENTS) -> int:
    return cli.main(["validate", f"run={run}", *arguments, *overrides, f"hydra.run.dir={where}"])


def read(folder: Path) -> dict:
    return json.loads((folder / "validation.json").read_text())


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "configurations.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def validated(trained, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("validated") / "check"
    assert validate(trained, folder) == 0
    return folder


def test_the_files_of_a_validation(validated):
    report = read(validated)
    keys = {"properties", "loss", "loss_floor", "requested", "converged", "rejected"}
    assert set(report) == keys | {"untrained"}
    assert set(report["untrained"]) == keys
    assert set(report["properties"]) == {"poisson_ratio", "pressure"}
    for ensemble, number in ((report, N), (report["untrained"], N_UNTRAINED)):
        assert ensemble["requested"] == number == ensemble["converged"] + sum(ensemble["rejected"].values())
    for name in ("validation.png", "provenance.json", "config.yaml", "configurations.jsonl"):
        assert (validated / name).exists()
    assert (validated / "validation.png").read_bytes().startswith(b"\x89PNG")
    assert [(line["ensemble"], line["index"]) for line in lines(validated)] == [
        *(("trained", k) for k in range(N)),
        *(("untrained", k) for k in range(N_UNTRAINED)),
    ]


def test_its_numbers_are_those_of_the_configurations(validated):
    report = read(validated)
    for name, ensemble in (("trained", report), ("untrained", report["untrained"])):
        of_these = [line["values"] for line in lines(validated) if line["ensemble"] == name]
        for key, entry in ensemble["properties"].items():
            values = np.array([value[key] for value in of_these])
            m, deviation = len(values), np.std(values, ddof=1)
            assert entry["mean"] == pytest.approx(np.mean(values), rel=1e-14)
            assert entry["standard_deviation"] == pytest.approx(deviation, rel=1e-14)
            assert entry["standard_error"] == pytest.approx(deviation / m**0.5, rel=1e-14)
        ratio, pressure = ensemble["properties"]["poisson_ratio"], ensemble["properties"]["pressure"]
        # Nothing was wanted of the pressure: it is measured, and no objective compares it.
        assert "loss" not in pressure
        assert ratio["loss"] == pytest.approx((ratio["mean"] - 0.35) ** 2, rel=1e-12)
        assert ratio["loss_floor"] == pytest.approx(ratio["standard_error"] ** 2, rel=1e-12)
        assert ensemble["loss"] == pytest.approx(0.5 * ratio["loss"], rel=1e-14)
        assert ensemble["loss_floor"] == pytest.approx(0.5 * ratio["loss_floor"], rel=1e-14)


def test_its_packings_are_the_validation_s_own(trained, validated):
    """What it reports is what its own starts give at the design of the run's end, and no start of the training."""
    request = build_validation(run_configuration(validated))
    design = json.loads((trained / "result.json").read_text())["design"]
    for name, variable in request.design.values(request.models["trained"]).items():
        assert variable.tolist() == design[name]
    first = RunDirectory.read_metrics(trained)[0]["design"]
    assert first != {name: design[name] for name in first}
    recorded = {(line["ensemble"], line["index"]): line["values"] for line in lines(validated)}
    starts = set()
    for name, model in request.models.items():
        for stream in (VALIDATION, TRAINING):
            numbers = (np.asarray(number) for number in (3, stream, 1, 0))
            start, key = random_start(model.system, *numbers)
            starts.add(start.fractional.tobytes())
            prepared = model.protocol.prepare(model.potential, start, key=key)
            problem = Problem(model, request.design, dict(request.terms))
            sample = measure_sample(problem, problem.initial_values, prepared, gradients=False)
            same = {key: value.item() for key, value in sample.measurement.values.items()} == recorded[name, 1]
            assert same == (stream == VALIDATION)
    # The same starts serve both ensembles: what they differ by is the design.
    assert len(starts) == 2
    indices = range(12)
    every = [
        random_start(request.models["trained"].system, *map(np.asarray, (3, stream, k, 0)))[0].fractional.tobytes()
        for stream in (TRAINING, VALIDATION)
        for k in indices
    ]
    assert len(set(every)) == 24


@pytest.mark.parametrize("overrides", [["devices=1"], ["devices=4", "chunk_size=3"], ["devices=1", "chunk_size=1"]])
def test_no_number_depends_on_devices_or_chunks(trained, validated, tmp_path, overrides):
    assert validate(trained, tmp_path / "again", *overrides) == 0
    for name in ("validation.json", "configurations.jsonl"):
        assert (tmp_path / "again" / name).read_bytes() == (validated / name).read_bytes()


@pytest.mark.slow
def test_a_larger_system(trained, tmp_path):
    few = ["n_configurations=3", "n_untrained=0", "devices=1"]
    assert validate(trained, tmp_path / "large", "system.n_particles=160", arguments=few) == 0
    report = read(tmp_path / "large")
    assert report["requested"] == 3
    assert "untrained" not in report
    assert 0.0 < report["properties"]["poisson_ratio"]["mean"] < 1.0
    config = run_configuration(tmp_path / "large")
    assert config["system"]["n_particles"] == 160
    assert config["trained"] == {
        name: value
        for name, value in json.loads((trained / "result.json").read_text())["design"].items()
        if name in config["trained"]
    }


def test_a_run_that_is_still_going_is_validated_where_it_stands(trained, validated, tmp_path):
    running = tmp_path / "running"
    shutil.copytree(trained, running)
    (running / "result.json").unlink()
    text = (running / "metrics.jsonl").read_text().splitlines(keepends=True)
    (running / "metrics.jsonl").write_text("".join(text[:3]) + text[3][:50])
    assert validate(running, tmp_path / "check", "n_configurations=2", "n_untrained=1") == 0
    config = run_configuration(tmp_path / "check")
    assert config["trained"] == RunDirectory.read_metrics(trained)[2]["design"]
    known = {(line["ensemble"], line["index"]): line["values"]["poisson_ratio"] for line in lines(validated)}
    for line in lines(tmp_path / "check"):
        same = line["values"]["poisson_ratio"] == known[line["ensemble"], line["index"]]
        assert same == (line["ensemble"] == "untrained")


@pytest.mark.parametrize("share", [0.0, 0.4, 0.9])
def test_an_interrupted_validation_goes_on(validated, tmp_path, capsys, share):
    """Cut anywhere, in the middle of a line too."""
    folder = tmp_path / "cut"
    shutil.copytree(validated, folder)
    for name in ("validation.json", "validation.png"):
        (folder / name).unlink()
    text = (folder / "configurations.jsonl").read_text()
    (folder / "configurations.jsonl").write_text(text[: int(share * len(text))])
    assert cli.main(["resume", str(folder)]) == 0
    for name in ("validation.json", "validation.png", "configurations.jsonl"):
        assert (folder / name).read_bytes() == (validated / name).read_bytes()
    shown = capsys.readouterr().out
    assert f"trained: {N} of {N} configurations converged" in shown


def test_a_finished_validation_is_shown_again(validated, capsys):
    before = {path: path.stat().st_mtime_ns for path in validated.rglob("*")}
    assert cli.main(["resume", str(validated)]) == 0
    assert f"trained: {N} of {N} configurations converged" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in validated.rglob("*")} == before


def test_a_folder_that_was_used_before_is_begun_anew(trained, validated, tmp_path):
    """What another validation has left there is not taken for this one's."""
    few = ["n_configurations=3", "n_untrained=0", "seed=4"]
    shutil.copytree(validated, tmp_path / "used")
    assert validate(trained, tmp_path / "used", arguments=few) == cli.REQUEST_WRONG
    assert read(tmp_path / "used") == read(validated)
    for name in ("used", "fresh"):
        assert validate(trained, tmp_path / name, arguments=[*few, "overwrite=true"]) == 0
    assert read(tmp_path / "used") == read(tmp_path / "fresh")
    assert lines(tmp_path / "used") == lines(tmp_path / "fresh")


def test_a_sigterm_ends_it_in_good_order(trained, validated, tmp_path, capsys):
    """It is sent by a thread, while the validation is far from its end."""
    folder = tmp_path / "check"

    def terminate():
        while not (folder / "configurations.jsonl").exists():
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGTERM)

    # Should it arrive too late it must not end the tests.
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        thread = threading.Thread(target=terminate, daemon=True)
        thread.start()
        assert validate(trained, folder, "devices=1", "chunk_size=1") == 0
        thread.join(10)
    finally:
        signal.signal(signal.SIGTERM, before)
    done = len(lines(folder))
    assert 1 <= done < N + N_UNTRAINED
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"glasswright: stopped by SIGTERM after {done} configurations; go on with: glasswright resume {folder}"
    )
    assert not (folder / "validation.json").exists()
    assert cli.main(["resume", str(folder), "devices=2", "chunk_size=auto"]) == 0
    for name in ("validation.json", "configurations.jsonl"):
        assert (folder / name).read_bytes() == (validated / name).read_bytes()


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    ("run", "overrides", "message"),
    [
        (None, [], "run is required"),
        ("nowhere", [], "no such directory"),
        (".", [], "not a run directory"),
        ("3", [], "run=3: "),
        ("validated", [], "is a validation"),
        ("empty", [], "has no metrics yet"),
        ("trained", ["n_configurations=0"], "n_configurations=0: must be an integer of at least 1"),
        ("trained", ["n_configurations=many"], "n_configurations"),
        ("trained", ["n_untrained=-1"], "n_untrained=-1: must be an integer of at least 0"),
        ("trained", ["n_configuration=3"], "did you mean 'n_configurations'?"),
        ("trained", ["system.n_particle=200"], "did you mean 'n_particles'?"),
        ("trained", ["system.n_species=4"], "potential.n_species=2: it follows the system, which has 4"),
        (
            "trained",
            ["system.n_species=4", "potential.n_species=4"],
            "trained.binding_energy: the run has (3,) numbers, this system needs (10,)",
        ),
        ("trained", ["system.n_particles=32"], "system.n_particles=32: the box is"),
        ("trained", ["property=[presure]"], "did you mean 'pressure'?"),
        ("trained", ["trained.diameter=[1.0]"], "trained.diameter"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_a_wrong_request_is_one_line_and_leaves_nothing(
    trained, validated, tmp_path, monkeypatch, capsys, run, overrides, message
):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    empty = tmp_path / "empty"
    shutil.copytree(trained, empty)
    (empty / "metrics.jsonl").write_text("")
    folder = {"trained": trained, "validated": validated, "empty": empty}.get(run, run)
    arguments = [] if folder is None else [f"run={folder}"]
    assert cli.main(["validate", *arguments, *overrides]) == cli.REQUEST_WRONG
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith("glasswright: error: ")
    assert message in error
    assert list(here.iterdir()) == []


def test_most_packings_rejected_end_it(trained, tmp_path, capsys):
    few = ["n_configurations=60", "n_untrained=0", "protocol.max_steps=100", "train.rejection_limit=0.5"]
    assert validate(trained, tmp_path / "check", arguments=few) == cli.RUN_FAILED
    error = capsys.readouterr().err.splitlines()[-1]
    assert "max_steps), more than the share of 0.5 that train.rejection_limit allows" in error
    assert not (tmp_path / "check" / "validation.json").exists()
    assert all(line["values"] is None for line in lines(tmp_path / "check") if line["outcome"] == "max_steps")


def test_what_is_rejected_is_counted_and_not_averaged_in(trained, validated, tmp_path):
    """The packings that a search of fewer steps still finds are those that it found before."""
    few = [f"n_configurations={N}", "n_untrained=0", "protocol.max_steps=260", "train.rejection_limit=1"]
    assert validate(trained, tmp_path / "check", arguments=few) == 0
    report, records = read(tmp_path / "check"), lines(tmp_path / "check")
    accepted = [line for line in records if line["outcome"] == "converged"]
    assert 1 < len(accepted) < N
    assert report["requested"] == N
    assert report["converged"] == len(accepted)
    assert report["rejected"] == {"max_steps": N - len(accepted)}
    known = {line["index"]: line["values"]["poisson_ratio"] for line in lines(validated)[:N]}
    values = [line["values"]["poisson_ratio"] for line in accepted]
    assert values == pytest.approx([known[line["index"]] for line in accepted], rel=1e-12)
    assert report["properties"]["poisson_ratio"]["mean"] == pytest.approx(np.mean(values), rel=1e-14)


def test_its_configuration_is_plain_and_describes_it_whole(trained, validated):
    content = yaml.safe_load((validated / "config.yaml").read_text())
    assert content["run"] == str(trained)
    assert content["n_configurations"] == N
    assert content["terms"]["pressure"]["objective"] is None
    of_training = build(run_configuration(trained))
    request = build_validation(content)
    assert request.seed == of_training.seed == 3
    assert dataclasses.asdict(request.models["untrained"].system) == dataclasses.asdict(of_training.system)
    assert isinstance(request.terms["poisson_ratio"].objective, component("objective", "target"))
