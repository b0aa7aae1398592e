"""A run directory has one owner, and what is in it is never overwritten unasked."""

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import glasswright as gw
import pytest
from glasswright import cli
from glasswright._errors import RequestError, RunError
from glasswright.run.claim import BEGUN, FILES, FOLDERS, RESULTS, claimed, locked, new_folder, run_in
from glasswright.run.lock import LOCK, SOFT_LOCK
from helpers import REFERENCE

RUNS = (*RESULTS, "config.yaml", "metrics.jsonl", "configurations.jsonl", "checkpoints/step_00000003.ckpt")


def write(path: Path, text: str = "{}\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def claim(folder: Path, **options) -> None:
    with claimed(folder, f"directory={folder}", **options):
        pass


# Names


def test_threads_that_ask_at_once_get_a_folder_each(tmp_path):
    with ThreadPoolExecutor(16) as threads:
        folders = list(threads.map(lambda _: new_folder(tmp_path / "outputs" / "name"), range(50)))
    assert len(set(folders)) == 50
    assert {path.name for path in folders} == {"name", *(f"name_{k}" for k in range(1, 50))}


def python(code: str, *arguments: Path) -> subprocess.Popen:
    """A process that has imported nothing heavy."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_processes_that_ask_at_once_get_a_folder_each(tmp_path):
    code = (
        "import sys; from pathlib import Path; from glasswright.run.claim import new_folder\n"
        "print('ready', flush=True); input()\n"
        "for _ in range(25): print(new_folder(Path(sys.argv[1])))"
    )
    processes = [python(code, tmp_path / "name") for _ in range(4)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    folders = [name for process in processes for name in process.communicate("go\n")[0].splitlines()]
    assert len(set(folders)) == len(folders) == 100


def test_a_file_where_the_folder_would_be_counts_as_taken(tmp_path):
    write(tmp_path / "name")
    assert new_folder(tmp_path / "name").name == "name_1"
    with pytest.raises(RequestError, match="cannot be made"):
        new_folder(tmp_path / "name" / "below")


# What is there already


@pytest.mark.parametrize("name", RUNS)
def test_a_run_is_refused_and_nothing_of_it_changes(tmp_path, name):
    write(tmp_path / "run" / name)
    before = content(tmp_path)
    with pytest.raises(RequestError) as refused:
        claim(tmp_path / "run")
    text = str(refused.value)
    assert text.startswith(f"directory={tmp_path / 'run'}: holds a")
    assert "another directory" in text
    assert "overwrite=true" in text
    assert ("go on with glasswright resume" in text) == (name not in RESULTS)
    assert content(tmp_path) == before


def test_only_what_runs_have_left_is_overwritten(tmp_path):
    ours = [*RESULTS, *FILES, *(name for name in BEGUN if name not in FOLDERS), ".config.yaml.partial"]
    ours += ["checkpoints/step_00000003.ckpt", ".hydra/overrides.yaml"]
    others = ["notes.txt", "checkpoints/mine.ckpt", "packing.extxyz", "best/result.json", ".hydra.txt"]
    for name in [*ours, *others]:
        write(tmp_path / name)
    with claimed(tmp_path, "directory=.", overwrite=True):
        assert sorted(content(tmp_path)) == sorted([*others, LOCK])
    assert sorted(content(tmp_path)) == sorted(others)
    assert not (tmp_path / ".hydra").exists()


def test_what_is_no_run_is_left_alone_and_used(tmp_path):
    write(tmp_path / "final.extxyz")
    write(tmp_path / "metrics.jsonl", "")
    before = content(tmp_path)
    assert run_in(tmp_path) is None
    claim(tmp_path)
    assert content(tmp_path) == before


def test_folders_that_cannot_be_made_are_refused(tmp_path):
    for wrong in (write(tmp_path / "file"), tmp_path / "file" / "below"):
        with pytest.raises(RequestError, match="cannot be written"):
            claim(wrong)


# Owners


def test_there_is_one_owner_at_a_time(tmp_path):
    folder = tmp_path / "run"
    with claimed(folder, "directory=run"):
        for overwrite in (False, True):
            with pytest.raises(RequestError) as refused:
                claim(folder, overwrite=overwrite)
            assert f"process {os.getpid()} on " in str(refused.value)
            assert "is at work in it; wait until it has ended" in str(refused.value)
        write(folder / "config.yaml")
        with pytest.raises(RequestError, match="is at work in it"):
            claim(folder)
        with pytest.raises(RequestError, match="is at work in it"), locked(folder, f"DIR={folder}"):
            pass
    assert list(content(folder)) == ["config.yaml"]


def without_kernel_locks(monkeypatch) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(fcntl, "flock", flock)


OWNER = """
import sys
from pathlib import Path
if sys.argv[2] == "soft":
    import errno, fcntl
    def flock(*_): raise OSError(errno.ENOTSUP, "not supported")
    fcntl.flock = flock
from glasswright.run.claim import claimed
with claimed(Path(sys.argv[1]), "directory=run"):
    print("ready", flush=True)
    input()
"""


@pytest.mark.parametrize("kind", ["kernel", "soft"])
def test_a_killed_owner_leaves_the_folder_to_the_next(tmp_path, monkeypatch, kind):
    if kind == "soft":
        without_kernel_locks(monkeypatch)
    owner = python(OWNER, tmp_path, Path(kind))
    try:
        assert owner.stdout.readline() == "ready\n"
        with pytest.raises(RequestError, match=f"process {owner.pid} on .* is at work in it") as refused:
            claim(tmp_path)
        assert (SOFT_LOCK in str(refused.value)) == (kind == "soft")
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        assert (tmp_path / LOCK).exists()
        with claimed(tmp_path, "directory=run"):
            assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()
    finally:
        owner.kill()
    assert content(tmp_path) == {}


def test_a_lock_of_another_host_is_respected(tmp_path, monkeypatch):
    without_kernel_locks(monkeypatch)
    write(tmp_path / LOCK, '{"host": "elsewhere", "pid": 12, "since": "2026-01-01 00:00:00", "command": "gw"}\n')
    write(tmp_path / SOFT_LOCK, "12\nelsewhere\n")
    before = content(tmp_path)
    with pytest.raises(RequestError) as refused:
        claim(tmp_path)
    assert "process 12 on elsewhere (since 2026-01-01 00:00:00: gw) is at work in it (if it has died, remove" in str(
        refused.value
    )
    assert content(tmp_path) == before


def test_many_take_over_at_once_and_one_gets_it(tmp_path):
    """What a dead process has left is taken by one of many, whoever comes first."""
    write(tmp_path / LOCK, "")
    owners, together = [], []

    def attempt(_: int) -> None:
        try:
            with claimed(tmp_path, "directory=run"):
                owners.append(1)
                together.append(len(owners))
                owners.pop()
        except RequestError:
            pass

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(attempt, range(200)))
    assert set(together) == {1}


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, monkeypatch):
    def on_a_full_disk(self, text):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", on_a_full_disk)
    with pytest.raises(RunError, match=r"cannot write into .*: No space left on device"):
        claim(tmp_path)
    assert content(tmp_path) == {}


def test_a_folder_that_is_removed_under_its_owner_ends_quietly(tmp_path):
    folder = tmp_path / "run"
    with claimed(folder, "directory=run"):
        (folder / LOCK).unlink()
        folder.rmdir()
        claim(folder)
        write(folder / "result.json")
    assert list(content(folder)) == ["result.json"]


# The four commands


@pytest.fixture(scope="module")
def requests(tmp_path_factory) -> dict[str, list[str]]:
    """A quick request of each command."""
    run = tmp_path_factory.mktemp("trained")
    config = gw.compose("system.n_particles=64")
    write(run / "config.yaml", gw.build(config).config)
    design = {"diameter": [0.85, 1.0], "binding_energy": [0.1, 0.1, 0.1]}
    write(run / "metrics.jsonl", json.dumps({"step": 0, "design": design}) + "\n")
    packing = REFERENCE / "2d_n368_sp2_a5.extxyz"
    return {
        "train": ["system.n_particles=64"],
        "validate": [f"run={run}", "n_configurations=1"],
        "measure": [f"configuration={packing}", "property=[pressure]", "relax=true"],
        "analyse": [f"configuration={packing}", "property=[pressure]", "relax=true", "parts=[bonds]"],
    }


COMMANDS = ("train", "validate", "measure", "analyse")
PYTHON: dict[str, Callable] = {"train": gw.train, "validate": gw.validate, "measure": gw.measure, "analyse": gw.analyse}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_refuses_a_used_folder(tmp_path, monkeypatch, capsys, requests, command):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "used" / "measure.json")
    write(tmp_path / "begun run" / "config.yaml")
    before = content(tmp_path)
    assert cli.main([command, *requests[command], "hydra.run.dir=used"]) == cli.REQUEST_WRONG
    *_, error = capsys.readouterr().err.splitlines()
    assert error.startswith("glasswright: error: hydra.run.dir=used: holds a finished measurement; ")
    with pytest.raises(RequestError, match=r"directory=begun run: .* resume '/.*begun run', choose another directory"):
        PYTHON[command](*requests[command], directory="begun run")
    with claimed(tmp_path / "busy", "directory=busy"):
        assert cli.main([command, *requests[command], "hydra.run.dir=busy", "overwrite=true"]) == cli.REQUEST_WRONG
        *_, error = capsys.readouterr().err.splitlines()
        assert f"hydra.run.dir=busy: process {os.getpid()} on " in error
    assert content(tmp_path) == before


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_overwrites_if_told_to(tmp_path, monkeypatch, requests, command):
    monkeypatch.chdir(tmp_path)
    seen = []

    def work(request, directory, **_):
        seen.append(sorted(path.name for path in directory.iterdir()))
        return {}

    monkeypatch.setattr(f"glasswright.jobs.{command}.{command}", work)
    for overwrite in ({"overwrite": True}, {}):
        for name in ("result.json", "final.extxyz", "notes.txt"):
            write(tmp_path / "used" / name)
        words = [] if overwrite else ["overwrite=true"]
        PYTHON[command](*requests[command], *words, directory="used", **overwrite)
    assert seen == [[LOCK, "notes.txt"]] * 2
    with pytest.raises(RequestError, match="overwrite='maybe': must be true or false"):
        PYTHON[command](*requests[command], "overwrite=maybe", directory="used")


@pytest.mark.parametrize("command", ["validate", "analyse", "measure"])
def test_nobody_overwrites_what_he_reads(tmp_path, requests, command):
    source = requests["validate"][0].removeprefix("run=")
    reads = [f"configuration={tmp_path / 'final.extxyz'}"] if command == "measure" else [f"run={source}"]
    if command == "measure":
        (tmp_path / "final.extxyz").write_bytes((REFERENCE / "2d_n368_sp2_a5.extxyz").read_bytes())
    folder = tmp_path if command == "measure" else Path(source)
    write(folder / "result.json", '{"design": {"diameter": [0.85, 1.0], "binding_energy": [0.1, 0.1, 0.1]}}')
    before = content(folder)
    with pytest.raises(RequestError, match=r"overwrite=true would remove .*, which is read"):
        PYTHON[command](*reads, *requests[command][1:], directory=folder, overwrite=True)
    assert content(folder) == before


def test_overwriting_is_no_part_of_a_request(requests):
    config = gw.compose("system.n_particles=64", "overwrite=true")
    assert config.overwrite is True
    assert "overwrite" not in gw.build(config).config
