"""Answers to `--help` and to shells: within a second of processor time once they are known, and never stale."""

import os
import resource
from typing import Any

import pytest
from glasswright.cli import answers
from glasswright.cli.answers import Answers
from glasswright.config.completion import AskedLoader, UnknownAnswer
from helpers import glasswright
from hydra.core.object_type import ObjectType
from hydra.types import RunMode
from omegaconf import OmegaConf


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "glasswright" / "answers.json"


def seconds(*arguments: str, cwd, **environment: str) -> tuple[float, str]:
    """Processor time of a command, and its output."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = glasswright(*arguments, cwd=cwd, **environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def test_known_answers_take_less_than_a_second(cache, tmp_path):
    line = "glasswright train seed=1 train.steps=5 train.tol"
    completion = {"COMP_LINE": line, "COMP_POINT": str(len(line))}
    for arguments, environment in ((["train", "--help"], {}), (["-sc", "query=bash"], completion)):
        _, first = seconds(*arguments, cwd=tmp_path, **environment)
        assert first.strip()
        again, second = seconds(*arguments, cwd=tmp_path, **environment)
        assert second == first
        assert again < 1.0


def test_answers_are_kept_until_a_file_changes(cache, tmp_path, monkeypatch):
    module = tmp_path / "somebodys_plugin.py"
    module.write_text("")
    monkeypatch.setattr(answers, "_folders", lambda package: [str(module)])
    given = Answers()
    given.of("help")["train"] = "text"
    given.keep()
    assert Answers().of("help") == {"train": "text"}
    os.utime(module, ns=(1, 1))
    assert Answers().of("help") == {}
    os.utime(module, ns=(module.stat().st_atime_ns, 2))
    monkeypatch.setenv("GLASSWRIGHT_STRICT_PLUGINS", "1")
    assert Answers().of("help") == {}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"state": 1}', "\x00"])
def test_what_cannot_be_read_is_not_known(cache, content):
    cache.parent.mkdir(parents=True)
    cache.write_text(content)
    assert Answers().known == {}


def test_where_nothing_can_be_written_nothing_is_kept(tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("a file")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    given = Answers()
    given.of("help")["train"] = "text"
    given.keep()
    assert Answers().known == {}


class Loader:
    """Counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def get_group_options(self, group, *arguments):
        self.asked.append(group)
        return ["a", "b"]

    def load_configuration(self, name, overrides, run_mode):
        self.asked.append(overrides)
        return OmegaConf.create({"train": {"steps": 3}})


def test_completion_asks_once_for_the_same_keys():
    loader, known = Loader(), {}
    for _ in range(2):
        asked = AskedLoader(known, loader)
        assert asked.get_group_options("potential", ObjectType.CONFIG, "train", ["seed=1"]) == ["a", "b"]
        for value in (1, 2):
            config = asked.load_configuration("train", ["potential=a", f"train.steps={value}"], RunMode.RUN)
            assert config == {"train": {"steps": 3}}
    assert loader.asked == ["potential", ["potential=a"]]
    with pytest.raises(UnknownAnswer):
        AskedLoader(known).load_configuration("train", ["potential=b"], RunMode.RUN)


def test_what_depends_on_a_file_is_asked_every_time():
    loader, known = Loader(), {}
    for _ in range(2):
        AskedLoader(known, loader).load_configuration("measure", ["configuration=x.extxyz"], RunMode.RUN)
    assert len(loader.asked) == 2
    assert known == {}
