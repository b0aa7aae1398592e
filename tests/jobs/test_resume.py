"""`glasswright resume`: whatever ended a run, it goes on to the end that it would have had."""

import contextlib
import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from glasswright import cli
from glasswright.run import files
from glasswright.run.checkpoint import Checkpoint
from glasswright.run.directory import RunDirectory

STEPS = 9
SMALL = [
    "system.n_particles=128",
    f"train.steps={STEPS}",
    "train.tolerance=0",
    "train.checkpoint_interval=3",
    "devices=2",
]
# The last checkpoints are those before steps 3 and 6.
OLDER, NEWER = "step_00000003.ckpt", "step_00000006.ckpt"
COSINE = ["optimizer=adam", "schedule@optimizer.learning_rate=cosine_decay_schedule"]
COSINE += ["optimizer.learning_rate.init_value=2e-3", "optimizer.learning_rate.decay_steps=12"]
RUNS = {
    "polyak, two followed": ["sampler.size=2", "optimizer=polyak"],
    "adam on a schedule, fresh": ["sampler=fresh", "sampler.size=3", "train.clip=1", *COSINE],
}


@pytest.fixture(scope="module", params=RUNS)
def whole(request, tmp_path_factory) -> Path:
    """The directory of a run that nothing has interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert cli.main(["train", *SMALL, *RUNS[request.param], f"hydra.run.dir={folder}"]) == 0
    return folder


@pytest.fixture(scope="module")
def followed(tmp_path_factory) -> Path:
    """One such run, of packings that are followed."""
    folder = tmp_path_factory.mktemp("followed") / "run"
    assert cli.main(["train", *SMALL, *RUNS["polyak, two followed"], f"hydra.run.dir={folder}"]) == 0
    return folder


def interrupt(run: Path, where: Path, n_lines: int = STEPS - 1) -> Path:
    """A copy of a run as a kill would have left it behind `n_lines` of metrics."""
    shutil.copytree(run, where)
    for name in ("result.json", "training.png", "final.extxyz"):
        (where / name).unlink(missing_ok=True)
    text = (where / "metrics.jsonl").read_text()
    (where / "metrics.jsonl").write_text("".join(text.splitlines(keepends=True)[:n_lines]))
    return where


def lines(folder: Path) -> list[dict]:
    metrics = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line | {"seconds": 0} for line in metrics]


def assert_same_end(folder: Path, whole: Path) -> None:
    assert lines(folder) == lines(whole)
    results = [json.loads((path / "result.json").read_text()) | {"seconds": 0} for path in (folder, whole)]
    assert results[0] == results[1]
    frames = [path / "final.extxyz" for path in (folder, whole)]
    assert frames[0].exists() == frames[1].exists()
    if frames[0].exists():
        assert frames[0].read_bytes() == frames[1].read_bytes()
    assert (folder / "training.png").exists()
    assert not list(folder.rglob("*.partial"))
    checkpoints = [[c.name for c in RunDirectory.checkpoints(path)] for path in (folder, whole)]
    assert checkpoints[0] == checkpoints[1]


def resume(folder: Path, *overrides: str) -> int:
    return cli.main(["resume", str(folder), *overrides])


@pytest.mark.parametrize("n_lines", [6, 8])
def test_a_resumed_run_ends_as_if_never_interrupted(whole, tmp_path, capsys, n_lines):
    run = interrupt(whole, tmp_path / "run", n_lines)
    assert resume(run) == 0
    assert "going on from step 6" in capsys.readouterr().err
    assert_same_end(run, whole)


def test_it_does_so_on_other_devices_and_in_other_chunks(followed, tmp_path):
    run = interrupt(followed, tmp_path / "run")
    assert resume(run, "devices=1", "chunk_size=1", "train.checkpoint_interval=6") == 0
    assert lines(run) == lines(followed)
    assert (run / "final.extxyz").read_bytes() == (followed / "final.extxyz").read_bytes()


def test_a_line_that_a_kill_cut_short_is_computed_again(followed, tmp_path):
    run = interrupt(followed, tmp_path / "run", 7)
    text = (run / "metrics.jsonl").read_text()
    (run / "metrics.jsonl").write_text(text[:-40])
    assert resume(run) == 0
    assert_same_end(run, followed)


def test_a_part_written_file_is_no_checkpoint(followed, tmp_path):
    run = interrupt(followed, tmp_path / "run")
    (run / "checkpoints" / ".step_00000009.ckpt.partial").write_bytes(b"{")
    assert resume(run) == 0
    assert lines(run) == lines(followed)


def flip(data: bytes, place: int, bit: int) -> bytes:
    return data[:place] + bytes([data[place] ^ (1 << bit)]) + data[place + 1 :]


def other_optimizer(path: Path) -> bytes:
    """A sound checkpoint, of an optimiser with one array less."""
    checkpoint = Checkpoint.read(path)
    checkpoint.content["optimizer"]["leaves"].pop()
    return checkpoint.to_bytes()


DAMAGES = {
    "empty": lambda path: b"",
    "cut in its header": lambda path: path.read_bytes()[:100],
    "cut by a byte": lambda path: path.read_bytes()[:-1],
    "longer by a byte": lambda path: path.read_bytes() + b"\0",
    "zeros": lambda path: bytes(path.stat().st_size),
    "zeros at its end": lambda path: path.read_bytes()[:-4096] + bytes(4096),
    "a bit of its arrays": lambda path: flip(path.read_bytes(), path.stat().st_size - 1000, 0),
    "another step": lambda path: path.read_bytes().replace(b'"step": 6', b'"step": 7', 1),
    "another format": lambda path: path.read_bytes().replace(b'"format": 1', b'"format": 9', 1),
    "another optimiser's": other_optimizer,
}


@pytest.mark.wrong_types
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(followed, tmp_path, capsys, damage):
    run = interrupt(followed, tmp_path / "run")
    newest = run / "checkpoints" / NEWER
    newest.write_bytes(DAMAGES[damage](newest))
    assert resume(run) == 0
    warning, start, *_ = capsys.readouterr().err.splitlines()
    assert warning.startswith(f"glasswright: warning: checkpoint not usable: {newest}: ")
    assert start == "glasswright: going on from step 3"
    assert_same_end(run, followed)


def test_no_flipped_bit_of_a_checkpoint_goes_unnoticed(followed, tmp_path):
    """A bit may be flipped where it changes nothing; it never changes what is read."""
    data = (followed / "checkpoints" / NEWER).read_bytes()
    good, path = Checkpoint.read(followed / "checkpoints" / NEWER), tmp_path / NEWER
    header = data.index(b"\n")
    # The first of these say which step and which format it is.
    flips = [(place, bit) for place in range(40) for bit in range(8)]
    places = [*range(40, 130), *random.Random(0).sample(range(130, header), 60), header]
    places += random.Random(1).sample(range(header + 1, len(data)), 20)
    flips += [(place, place % 8) for place in places]
    refused = 0
    for place, bit in flips:
        path.write_bytes(flip(data, place, bit))
        try:
            assert Checkpoint.read(path) == good
        except ValueError:
            refused += 1
    assert refused > 0.9 * len(flips)


def test_without_a_usable_checkpoint_it_starts_again(followed, tmp_path, capsys):
    run = interrupt(followed, tmp_path / "run")
    for name in (OLDER, NEWER):
        (run / "checkpoints" / name).write_bytes(b"nothing")
    assert resume(run) == 0
    *warnings, start = capsys.readouterr().err.splitlines()[:3]
    assert [name in warning for name, warning in zip((NEWER, OLDER), warnings, strict=True)] == [True, True]
    assert "going on from the beginning" in start
    assert_same_end(run, followed)


def sound_but_of_other_terms(path: Path) -> None:
    path.write_bytes(other_optimizer(path))


MISFITS = {
    "another optimiser": lambda run: [sound_but_of_other_terms(run / "checkpoints" / name) for name in (OLDER, NEWER)],
    "another optimiser and a damaged one": lambda run: [
        sound_but_of_other_terms(run / "checkpoints" / NEWER),
        (run / "checkpoints" / OLDER).write_bytes(b"nothing"),
    ],
    "another system": lambda run: (run / "config.yaml").write_text(
        (run / "config.yaml").read_text().replace("n_particles: 128", "n_particles: 144")
    ),
}


@pytest.mark.wrong_types
@pytest.mark.parametrize("misfit", MISFITS)
def test_a_run_of_another_experiment_is_refused_and_left_alone(followed, tmp_path, capsys, misfit):
    run = interrupt(followed, tmp_path / "run")
    MISFITS[misfit](run)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    error = refused(run, capsys)
    assert "cannot go on, and is left as it is" in error
    assert "made by another experiment" in error
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_run_that_has_no_checkpoint_yet_starts_again(whole, tmp_path, capsys):
    run = interrupt(whole, tmp_path / "run", 2)
    shutil.rmtree(run / "checkpoints")
    (run / "metrics.jsonl").unlink()
    assert resume(run) == 0
    assert "going on from the beginning" in capsys.readouterr().err
    assert_same_end(run, whole)


def test_nothing_is_left_of_a_finished_run(followed, capsys):
    before = {path: path.stat().st_mtime_ns for path in followed.rglob("*")}
    assert resume(followed) == 0
    assert "nothing is left to do" in capsys.readouterr().err
    assert resume(followed, f"train.steps={STEPS - 2}") == cli.REQUEST_WRONG
    assert f"train.steps={STEPS - 2}: the run has made {STEPS} steps already" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in followed.rglob("*")} == before


def test_a_finished_run_can_be_given_more_steps(whole, tmp_path, request):
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    assert resume(run, f"train.steps={STEPS + 3}") == 0
    longer = tmp_path / "longer"
    arguments = RUNS[request.node.callspec.params["whole"]]
    assert cli.main(["train", *SMALL, *arguments, f"train.steps={STEPS + 3}", f"hydra.run.dir={longer}"]) == 0
    assert len(lines(run)) == STEPS + 3
    assert_same_end(run, longer)


def test_an_interrupted_extension_is_not_taken_for_the_finished_run(followed, tmp_path, monkeypatch, capsys):
    """What a resumed run was given it keeps; the end of its first part is no longer its end."""
    run = tmp_path / "run"
    shutil.copytree(followed, run)

    def killed(self, line):
        appended(self, line)
        if line["step"] == STEPS + 1:
            raise KeyboardInterrupt

    appended = RunDirectory.append_metrics
    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "append_metrics", killed)
        assert resume(run, f"train.steps={STEPS + 3}") == cli.INTERRUPTED
    # Nothing of the first part's end is taken for the end of this one.
    assert not {"result.json", "final.extxyz", "training.png"} & {path.name for path in run.iterdir()}
    assert resume(run) == 0
    assert "nothing is left" not in capsys.readouterr().err
    assert json.loads((run / "result.json").read_text())["steps"] == len(lines(run)) == STEPS + 3


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["seed=3"], "seed=3: cannot be changed in a resumed run; possible: "),
        (["optimizer.learning_rate=1"], "cannot be changed in a resumed run"),
        (["train.tolerance=1"], "cannot be changed in a resumed run"),
        (["train.stps=20"], "did you mean 'train.steps'?"),
        (["train.steps"], "train.steps: cannot be changed"),
        (["train.steps=many"], "train.steps=many: must be an integer, not 'many'"),
        (["train.steps=0"], "train.steps=0: must be an integer of at least 1"),
        (["train.steps=[1"], "train.steps=[1"),
        (["devices=1000000"], "devices=1000000: at most"),
        (["--force"], "--force"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_nothing_else_can_be_changed(followed, tmp_path, capsys, overrides, message):
    run = interrupt(followed, tmp_path / "run")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert resume(run, *overrides) == cli.REQUEST_WRONG
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith("glasswright: error: ")
    assert message in error
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def refused(folder: Path, capsys) -> str:
    assert resume(folder) == cli.REQUEST_WRONG
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith("glasswright: error: ")
    return error


@pytest.mark.wrong_types
def test_what_is_no_run_is_refused(tmp_path, capsys):
    assert "no such directory" in refused(tmp_path / "nowhere", capsys)
    assert "not a run directory" in refused(tmp_path, capsys)
    (tmp_path / "config.yaml").mkdir()
    assert "cannot be read" in refused(tmp_path, capsys)
    (tmp_path / "config.yaml").rmdir()
    for text in ("- a list\n", "", "train: {steps: [\n", "\0"):
        (tmp_path / "config.yaml").write_text(text)
        assert "config.yaml" in refused(tmp_path, capsys)
    (tmp_path / "config.yaml").write_text("train: {steps: 3}\n")
    refused(tmp_path, capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]
    assert cli.main(["resume"]) == cli.REQUEST_WRONG


@pytest.mark.parametrize(
    ("key", "node"),
    [
        ("potential", "{_target_: subprocess.call, args: [touch, executed]}"),
        ("optimizer", "{_target_: os.system, command: touch executed}"),
        ("sampler", "{_target_: glasswright_plugins.samplers.tracked.Tracked, size: {_target_: os.getpid}}"),
        ("extra", "{_target_: pathlib.Path.touch, self: executed}"),
        ("protocol", "!!python/object/apply:os.system ['touch executed']"),
        ("seed", "${oc.env:HOME}"),
        ("system", "{n_particles: '${oc.env:HOME}'}"),
        ("'${oc.env:HOME}'", "1"),
    ],
)
def test_nothing_in_a_run_directory_is_executed(followed, tmp_path, capsys, monkeypatch, key, node):
    run = interrupt(followed, tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    kept = (run / "config.yaml").read_text().split("\n")
    start = next((k for k, line in enumerate(kept) if line.startswith(f"{key}:")), len(kept))
    end = next((k for k in range(start + 1, len(kept)) if not kept[k].startswith(" ")), len(kept))
    (run / "config.yaml").write_text("\n".join([*kept[:start], f"{key}: {node}", *kept[end:]]))
    error = refused(run, capsys)
    assert any(word in error for word in ("refused", "cannot be read"))
    assert os.environ["HOME"] not in error
    assert not list(tmp_path.rglob("executed"))


def test_metrics_that_are_missing_before_a_checkpoint_are_an_error(followed, tmp_path, capsys):
    run = interrupt(followed, tmp_path / "run", 2)
    assert resume(run) == cli.RUN_FAILED
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"glasswright: error: {run / 'metrics.jsonl'}: has 2 of the ")
    assert not (run / "result.json").exists()


# Disks that are full


def test_a_disk_that_is_full_at_a_checkpoint_is_one_error(followed, tmp_path, capsys, monkeypatch):
    run, fsync = tmp_path / "run", os.fsync

    def on_a_full_disk(number):
        if (run / "checkpoints" / f".{NEWER}.partial").exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(number)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", on_a_full_disk)
        arguments = ["train", *SMALL, *RUNS["polyak, two followed"], f"hydra.run.dir={run}"]
        assert cli.main(arguments) == cli.RUN_FAILED
    error = capsys.readouterr().err.splitlines()[-1]
    assert error == f"glasswright: error: cannot write {run / 'checkpoints' / NEWER}: No space left on device"
    assert [path.name for path in RunDirectory.checkpoints(run)] == [OLDER]
    assert not list(run.rglob("*.partial"))
    assert resume(run) == 0
    assert_same_end(run, followed)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_is_full_for_metrics_is_one_error(followed, tmp_path, capsys, monkeypatch):
    run = tmp_path / "run"
    append = RunDirectory.append_metrics

    def on_a_full_disk(self, line):
        if line["step"] == 5:
            self._metrics.close()
            self._metrics = open("/dev/full", "a")  # noqa: SIM115
        append(self, line)

    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "append_metrics", on_a_full_disk)
        arguments = ["train", *SMALL, *RUNS["polyak, two followed"], f"hydra.run.dir={run}"]
        assert cli.main(arguments) == cli.RUN_FAILED
    error = capsys.readouterr().err.splitlines()[-1]
    assert error == f"glasswright: error: cannot write {run / 'metrics.jsonl'}: No space left on device"
    assert resume(run) == 0
    assert_same_end(run, followed)


def interrupted_by(event, run: Path, monkeypatch, capsys) -> str:
    """The error of a run after whose sixth line something happens to its directory."""
    append = RunDirectory.append_metrics

    def then(self, line):
        if line["step"] == 5:
            event(run, patch)
        append(self, line)

    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "append_metrics", then)
        arguments = ["train", *SMALL, *RUNS["polyak, two followed"], f"hydra.run.dir={run}"]
        assert cli.main(arguments) == cli.RUN_FAILED
    return capsys.readouterr().err.splitlines()[-1]


def make_read_only(run: Path, patch: pytest.MonkeyPatch) -> None:
    """For the super-user permissions do not count: files that are there can be written, others not be made."""

    def refuse(path, mode="r", *arguments):
        if "r" not in mode and str(path).startswith(str(run)):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return open(path, mode, *arguments)

    patch.setattr(files, "open", refuse, raising=False)


def test_a_directory_that_becomes_read_only_is_one_error(followed, tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    error = interrupted_by(make_read_only, run, monkeypatch, capsys)
    assert error == f"glasswright: error: cannot write {run / 'checkpoints' / NEWER}: Read-only file system"
    assert resume(run) == 0
    assert_same_end(run, followed)


def remove(run: Path, patch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(run)


def replace(run: Path, patch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(run)
    (run / "checkpoints").mkdir(parents=True)
    (run / "metrics.jsonl").write_text("somebody else's\n")


@pytest.mark.parametrize("event", [remove, replace])
def test_a_directory_that_is_removed_is_one_error(tmp_path, monkeypatch, capsys, event):
    run = tmp_path / "run"
    error = interrupted_by(event, run, monkeypatch, capsys)
    assert error == f"glasswright: error: cannot write {run / 'metrics.jsonl'}: it has been removed since the run began"
    assert [path.name for path in run.rglob("*") if path.is_file()] == (["metrics.jsonl"] if event is replace else [])


def test_a_clock_that_is_set_back_changes_nothing(followed, tmp_path, monkeypatch):
    run, clock = interrupt(followed, tmp_path / "run"), iter(range(10**9, 0, -1000))
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: float(next(clock)))
        assert resume(run) == 0
    assert_same_end(run, followed)
    seconds = [json.loads(line)["seconds"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert min(seconds) >= 0


@contextlib.contextmanager
def small_disk(folder: Path, size: str):
    """A file system of its own with so much room; skips where none can be mounted."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.name != "posix" or os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("cannot mount a small disk")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_run_on_a_disk_that_is_too_small_goes_on_on_a_larger_one(followed, tmp_path, capsys):
    size = (followed / "checkpoints" / NEWER).stat().st_size
    with small_disk(tmp_path / "disk", f"{int(2.4 * size) // 1024 + 60}k"):
        run = tmp_path / "disk" / "run"
        arguments = ["train", *SMALL, *RUNS["polyak, two followed"], "train.checkpoint_interval=2"]
        assert cli.main([*arguments, f"hydra.run.dir={run}"]) == cli.RUN_FAILED
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith("glasswright: error: cannot write ")
        assert error.endswith("No space left on device")
        assert len(RunDirectory.checkpoints(run)) == 2
        subprocess.run(["mount", "-o", "remount,size=64m", str(tmp_path / "disk")], check=True)
        assert resume(run) == 0
        assert "going on from step 4" in capsys.readouterr().err
        assert lines(run) == lines(followed)
        assert (run / "final.extxyz").read_bytes() == (followed / "final.extxyz").read_bytes()


# Processes that are ended from outside


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> dict[str, str]:
    """Where processes find what earlier ones have compiled."""
    return {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.getbasetemp() / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }


def start(arguments: list[str], folder: Path, **environment: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "glasswright", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=folder, env=os.environ | environment, **pipes)


def wait_for_lines(process: subprocess.Popen, metrics: Path, number: int) -> None:
    while process.poll() is None:
        if metrics.exists() and metrics.read_bytes().count(b"\n") >= number:
            return
        time.sleep(0.02)


def test_sigterm_ends_a_run_in_good_order(tmp_path, cache, capsys):
    """As schedulers send it: the step ends, its state is written, and the exit is clean."""
    arguments = ["train", *SMALL, *RUNS["polyak, two followed"]]
    run = tmp_path / "run"
    process = start([*arguments, "train.steps=100000", f"hydra.run.dir={run}"], tmp_path, **cache)
    try:
        wait_for_lines(process, run / "metrics.jsonl", 4)
        # While it works its directory is nobody else's.
        for others in ([*arguments, f"hydra.run.dir={run}", "overwrite=true"], ["resume", str(run)]):
            assert cli.main(others) == cli.REQUEST_WRONG
            (busy,) = capsys.readouterr().err.splitlines()
            assert f"={run}: process {process.pid} on " in busy
            assert "is at work in it" in busy
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        output, error = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == 0, error
    done = len(lines(run))
    assert done >= 4
    assert RunDirectory.checkpoints(run)[0].name == f"step_{done:08d}.ckpt"
    assert error.splitlines()[-1] == (
        f"glasswright: stopped by SIGTERM after step {done - 1}; go on with: glasswright resume {run}"
    )
    assert output == ""
    assert not (run / "result.json").exists()
    assert resume(run, f"train.steps={done + 2}") == 0
    again = tmp_path / "again"
    assert cli.main([*arguments, f"train.steps={done + 2}", f"hydra.run.dir={again}"]) == 0
    assert lines(run) == lines(again)
    assert (run / "final.extxyz").read_bytes() == (again / "final.extxyz").read_bytes()


KILLS = 20


@pytest.mark.slow
@pytest.mark.parametrize("kind", RUNS)
def test_twenty_kills_change_nothing(kind, tmp_path, cache):
    """SIGKILL at any moment, in the middle of a step or of a file: each time the run goes on."""
    rng = random.Random(len(kind))
    steps = 400
    own = ["system.n_particles=128", f"train.steps={steps}", "train.tolerance=0", "devices=2", *RUNS[kind]]
    run, whole = tmp_path / "run", tmp_path / "whole"
    assert cli.main(["train", *own, "train.checkpoint_interval=1000", f"hydra.run.dir={whole}"]) == 0
    command = ["train", *own, "train.checkpoint_interval=2", f"hydra.run.dir={run}"]
    for kill in range(KILLS):
        before = len(lines_so_far(run))
        process = start(command, tmp_path, **cache)
        try:
            if kill % 5:
                # Somewhere in the steps: behind the next of them, and a little later.
                wait_for_lines(process, run / "metrics.jsonl", before + rng.randrange(1, 12))
                time.sleep(rng.uniform(0.0, 0.2))
            else:
                # Anywhere: while it starts, reads its checkpoint or compiles.
                time.sleep(rng.uniform(0.5, 8.0))
            process.kill()
            _, error = process.communicate(timeout=60)
        finally:
            process.kill()
        assert process.returncode == -signal.SIGKILL, error
        if (run / "config.yaml").exists():
            command = ["resume", str(run), f"train.checkpoint_interval={rng.randrange(2, 6)}"]
    assert len(lines_so_far(run)) > 40
    process = start(["resume", str(run)], tmp_path, **cache)
    _, error = process.communicate(timeout=900)
    assert process.returncode == 0, error
    assert lines(run) == lines(whole)
    results = [json.loads((path / "result.json").read_text()) | {"seconds": 0} for path in (run, whole)]
    assert results[0] == results[1]
    if (whole / "final.extxyz").exists():
        assert (run / "final.extxyz").read_bytes() == (whole / "final.extxyz").read_bytes()


def lines_so_far(run: Path) -> list[dict]:
    return RunDirectory.read_metrics(run) if run.exists() else []
