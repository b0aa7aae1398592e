"""Compiled programs are kept from one command to the next."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from glasswright import _compiled as compiled

TRAINING = ["train", "system.n_particles=64", "train.steps=1", "plots=false"]


def run(home: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A command of a user whose cache folder is in this home."""
    chosen = {name: value for name, value in os.environ.items() if name not in (compiled.FOLDER, *compiled.SETTINGS)}
    return subprocess.run(
        [sys.executable, "-m", "glasswright", *arguments],
        cwd=home,
        env={**chosen, "XDG_CACHE_HOME": str(home / "cache"), **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def programs(home: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in (home / "cache").rglob("*-cache")}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other variables for the cache folder")
def test_a_second_run_loads_what_the_first_has_compiled(tmp_path):
    for name in ("first", "second"):
        done = run(tmp_path, *TRAINING, f"hydra.run.dir={name}")
        assert done.returncode == 0, done.stderr
        assert "cpu_aot_loader" not in done.stderr
        if name == "first":
            after_first = programs(tmp_path)
            assert after_first
    assert programs(tmp_path) == after_first
    first, second = ((tmp_path / name / "final.extxyz").read_text() for name in ("first", "second"))
    assert first == second

    # A process was killed while it wrote, or the disk was full.
    for path, content in after_first.items():
        path.write_bytes(content[: len(content) // 2])
    done = run(tmp_path, *TRAINING, "hydra.run.dir=third")
    assert done.returncode == 0, done.stderr
    assert "cache" not in done.stderr
    assert (tmp_path / "third" / "final.extxyz").read_text() == first
    report = json.loads(run(tmp_path, "doctor", "--json").stdout)["compiled"]
    assert report["programs"] > 0
    assert Path(report["folder"]).parent == tmp_path / "cache" / "glasswright"
    # Written anew, each with the time that its compilation took.
    written = programs(tmp_path)
    assert all(len(written[path]) > 0.9 * len(content) for path, content in after_first.items())


def test_nothing_is_kept_if_told_so(monkeypatch):
    monkeypatch.setenv(compiled.FOLDER, "somewhere")
    assert compiled.kept() is not None
    monkeypatch.setenv("JAX_ENABLE_COMPILATION_CACHE", "false")
    assert compiled.kept() is None
    monkeypatch.delenv("JAX_ENABLE_COMPILATION_CACHE")
    monkeypatch.delenv(compiled.FOLDER)
    assert compiled.kept() is None


@pytest.fixture
def without_jax(tmp_path, monkeypatch) -> Path:
    """A process that has not imported JAX, whose user has set nothing, and its cache folder."""
    for name in (compiled.FOLDER, *compiled.SETTINGS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delitem(sys.modules, "jax")
    monkeypatch.setattr(compiled.platformdirs, "user_cache_path", lambda name: tmp_path / name)
    return tmp_path / "glasswright"


def test_without_a_folder_that_can_be_made_nothing_is_set(without_jax):
    without_jax.write_text("a file is in its place")
    compiled.keep_compiled_programs()
    assert compiled.FOLDER not in os.environ


def test_the_users_choice_stands(without_jax, monkeypatch):
    monkeypatch.setenv(compiled.FOLDER, "elsewhere")
    compiled.keep_compiled_programs()
    assert os.environ[compiled.FOLDER] == "elsewhere"
    assert not without_jax.exists()


def test_the_oldest_programs_go_first(without_jax):
    compiled.keep_compiled_programs()
    folder = compiled.default_folder()
    assert os.environ[compiled.FOLDER] == str(folder)
    for k in range(8):
        path = folder / f"program{k}-cache"
        path.write_bytes(bytes(100))
        os.utime(path, (1000 + k, 1000 + k))
    (folder / "notes").write_text("of somebody else")
    compiled.remove_oldest(1000)
    assert compiled.kept() == (folder, 8, 800)
    compiled.remove_oldest(799)
    assert sorted(path.name for path in folder.iterdir()) == ["notes", *(f"program{k}-cache" for k in (5, 6, 7))]


def test_only_the_warning_of_jax_empties_the_folder(without_jax):
    compiled.keep_compiled_programs()
    program = compiled.default_folder() / "program-cache"
    program.write_bytes(b"half")
    assert not compiled.remove_unreadable("something else cannot be read")
    assert program.exists()
    assert compiled.remove_unreadable("Error reading persistent compilation cache entry for 'jit_f': ZstdError: …")
    assert not program.exists()
