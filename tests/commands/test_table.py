"""The table of commands: everything that knows a command knows it from there, and a new one is a file and an entry."""

import json
import sys

import glasswright as gw
import pytest
from glasswright import cli
from glasswright.cli.schema import schema
from glasswright.commands.table import COMMANDS, Entry, load_command

TOY = '''
"""A command that greets somebody a number of times."""

import json

from glasswright import RequestError, RunError
from glasswright.commands.command import Command
from glasswright.config.nodes import primary


def build(config, folder):
    if config["times"] < 0:
        raise RequestError(f"times={config['times']}: must not be negative")
    return config["whom"], config["times"]


def run(request, directory, *, progress):
    whom, times = request
    if times == 13:
        raise RunError("thirteen times is too often")
    report = {"greetings": [f"hello {whom}"] * times}
    if directory is not None:
        (directory / "greetings.json").write_text(json.dumps(report))
    return report


GREET = Command(
    noun="a greeting",
    own={"whom": {"type": "string"}, "times": {"type": "integer"}},
    nodes={"greet": primary("greet", whom="world", times=1)},
    build=build,
    run=run,
    summarise=lambda report, folder: [*report["greetings"], f"results in {folder}"],
    score=lambda report: float(len(report["greetings"])),
)
'''


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A command in a file of its own, and its entry in the table."""
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "greeting.py").write_text(TOY)
    monkeypatch.syspath_prepend(modules)
    monkeypatch.setitem(COMMANDS, "greet", Entry("greet", "say hello", "greeting:GREET"))
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    yield here
    sys.modules.pop("greeting", None)


def test_a_command_is_one_file_and_one_entry(toy, capsys):
    assert cli.main(["greet", "whom=you", "times=2", "hydra.run.dir=run"]) == cli.DONE
    output = capsys.readouterr()
    assert output.out.splitlines()[:2] == ["hello you", "hello you"]
    assert output.err == ""
    assert json.loads((toy / "run" / "greetings.json").read_text()) == {"greetings": ["hello you"] * 2}


def test_the_usage_text_lists_it(toy, capsys):
    assert cli.main(["--help"]) == cli.DONE
    text = capsys.readouterr().out
    assert "\n  greet      say hello\n" in text
    assert "train, validate, measure, analyse and greet take key=value overrides" in text


def test_its_help_lists_its_keys(toy, capsys):
    assert cli.main(["greet", "--help"]) == cli.DONE
    assert "whom=world" in capsys.readouterr().out


def test_the_shell_completes_it(toy, monkeypatch, capfd):
    for line, offered in (
        ("glasswright gr", ["greet"]),
        ("glasswright schema gr", ["greet"]),
        ("glasswright greet who", ["whom="]),
    ):
        monkeypatch.setenv("COMP_LINE", line)
        monkeypatch.setenv("COMP_POINT", str(len(line)))
        assert cli.main(["-sc", "query=bash"]) == cli.DONE
        assert capfd.readouterr().out.split() == offered


def test_python_composes_it(toy):
    config = gw.compose("times=3", command="greet")
    assert dict(config) == {"whom": "world", "times": 3, "overwrite": False}


def test_it_has_a_schema(toy):
    own = {"whom": {"type": "string"}, "times": {"type": "integer"}}
    assert schema("greet")["properties"] == own | {"overwrite": {"type": "boolean"}}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["times=-1"], cli.REQUEST_WRONG, "times=-1: must not be negative"),
        (["tims=1"], cli.REQUEST_WRONG, "tims: no such key; did you mean 'times'?"),
        (["times=13"], cli.RUN_FAILED, "thirteen times is too often"),
    ],
    ids=["request", "key", "run"],
)
def test_exit_codes_and_messages(toy, capsys, arguments, code, message):
    assert cli.main(["greet", *arguments, "hydra.run.dir=run"]) == code
    error = capsys.readouterr().err
    assert error.startswith("glasswright: error: ")
    assert message in error
    assert (toy / "run").exists() == (code == cli.RUN_FAILED)


def test_it_is_swept_over(toy, capsys):
    assert cli.main(["greet", "-m", "times=1,2", "hydra.sweep.dir=sweep"]) == cli.DONE
    assert len(json.loads((toy / "sweep" / "1" / "greetings.json").read_text())["greetings"]) == 2
    assert cli.main(["greet", "-m", "times=1,-2", "hydra.sweep.dir=none"]) == cli.REQUEST_WRONG
    assert not (toy / "none").exists()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_entry_leads_to_a_command(name):
    command = load_command(name)
    assert COMMANDS[name].name == name
    assert {"terms", "potential"} <= set(command.shared)
    assert not set(command.own) & set(command.shared)
