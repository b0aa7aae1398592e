"""`plugins show` and `plugins new`: what there is, and a package to begin with that works as it is."""

import importlib
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib

import glasswright as gw
import pytest
import yaml
from glasswright import cli
from glasswright.cli import plugins as _listing
from glasswright.cli.new_plugin import FIRST_USE, new_plugin
from glasswright.registry import KINDS, Registry, registry
from helpers import ROOT


class _Distribution:
    version = "0.1.0"

    def __init__(self, name: str) -> None:
        self.name = name


def test_show_tells_everything_about_a_component(capsys):
    assert cli.main(["plugins", "show", "quench", "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert (entry["kind"], entry["name"], entry["distribution"]) == ("protocol", "quench", "glasswright")
    assert entry["version"] == gw.__version__
    assert "Commun. Mater. 5" in entry["source"]
    assert entry["docstring"].startswith("Athermal quench")
    skin = next(parameter for parameter in entry["parameters"] if parameter["name"] == "skin")
    assert (skin["type"], skin["default"], skin["units"], skin["required"]) == ("number", 0.3, "length", False)
    method = next(parameter for parameter in entry["parameters"] if parameter["name"] == "method")
    assert method["choices"] == ["newton", "fire"]


def test_show_is_readable(capsys):
    assert cli.main(["plugins", "show", "property=pressure"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("property pressure\nfrom glasswright ")
    assert "units: energy / volume" in shown
    assert cli.main(["plugins", "show", "target"]) == 0
    assert "target: numbers (required)" in capsys.readouterr().out


def test_every_component_can_be_shown():
    for kind in KINDS:
        for name in registry().components(kind):
            (entry,) = _listing.find(registry(), f"{kind}={name}")
            assert entry["docstring"], name
            json.dumps(entry)


def test_show_shows_a_plugin_and_a_broken_one():
    (entry,) = _listing.find(registry(), "builtin")
    assert entry["status"] == "loaded"
    components = Registry()
    entry_point = importlib.metadata.EntryPoint("broken", "a_module_that_is_not_there", "glasswright")
    vars(entry_point).update(dist=_Distribution("somebodys-package"))
    components.load(entry_point)
    (entry,) = _listing.find(components, "somebodys-package")
    assert entry["status"] == "failed"
    assert "a_module_that_is_not_there" in entry["error"]
    with pytest.raises(gw.RequestError, match=r"no such component.*could not be loaded.*a_module_that_is_not_there"):
        _listing.find(components, "fabric")


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "presure"], "did you mean 'pressure'?"),
        (["show", "propery=pressure"], "did you mean 'property'?"),
        (["show"], "NAME"),
        (["shw", "pressure"], "did you mean 'show'?"),
        (["new", "pressure"], "the property exists already: it belongs to glasswright"),
        (["new", "9lives"], "begins with a letter"),
        (["new", "../x"], "begins with a letter"),
        (["new", "fabric", "--kind", "proprty"], "did you mean 'property'?"),
    ],
    ids=" ".join,
)
def test_wrong_requests_are_refused(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["plugins", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_new_does_not_overwrite(tmp_path):
    (tmp_path / "something").write_text("mine")
    with pytest.raises(gw.RequestError, match="exists already and is not empty"):
        new_plugin("fabric", "property", str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["something"]


@pytest.mark.parametrize("kind", FIRST_USE)
def test_a_new_package_of_every_kind_is_complete_and_loads(tmp_path, monkeypatch, capsys, kind):
    folder = new_plugin(f"my-{kind}", kind, str(tmp_path / "new"))
    assert f"my_{kind}" in capsys.readouterr().out
    module = f"glasswright_my_{kind}"
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {
        ".github/workflows/test.yml",
        ".gitignore",
        "README.md",
        "pyproject.toml",
        f"{module}/__init__.py",
        f"{module}/my_{kind}.py",
        "tests/test_conformance.py",
    }
    for path in folder.rglob("*"):
        assert not path.is_file() or not re.search(r"@\w+@", path.read_text()), path
    assert tomllib.loads((folder / "pyproject.toml").read_text())["project"]["name"] == f"glasswright-my-{kind}"
    assert "jobs" in yaml.safe_load((folder / ".github" / "workflows" / "test.yml").read_text())
    monkeypatch.syspath_prepend(folder)
    components = Registry()
    for entry_point in importlib.metadata.entry_points(group="glasswright"):
        if entry_point.name == "builtin":
            components.load(entry_point)
    entry_point = importlib.metadata.EntryPoint(f"my_{kind}", module, "glasswright")
    vars(entry_point).update(dist=_Distribution(f"glasswright-my-{kind}"))
    record = components.load(entry_point)
    assert record.status == "loaded", record.error
    assert f"my_{kind}" in components.components(kind)
    (entry,) = _listing.find(components, f"my_{kind}=".removesuffix("="))[:1]
    assert entry["docstring"]


def test_the_code_of_a_new_package_passes_the_linter(tmp_path):
    pytest.importorskip("ruff")
    for kind in FIRST_USE:
        new_plugin(f"my-{kind}", kind, str(tmp_path / kind))
    check = [sys.executable, "-m", "ruff", "check", "--isolated", "--ignore", "F722,F821", str(tmp_path)]
    result = subprocess.run(check, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def commands() -> list[list[str]]:
    """The commands of "In ten minutes" in `docs/extending.md`, as they stand there."""
    text = (ROOT / "docs" / "extending.md").read_text().split("## In ten minutes")[1]
    block = re.search(r"^```console\n(.*?)^```", text, re.DOTALL | re.MULTILINE)[1]
    return [shlex.split(line.removeprefix("$ ")) for line in re.sub(r"\\\n\s*", "", block).splitlines()]


def test_the_documentation_goes_from_an_empty_folder_to_a_training():
    first = [" ".join(command[:2]) for command in commands()]
    assert first == [
        "glasswright plugins",
        "pip install",
        "glasswright plugins",
        "pytest glasswright-neighbours",
        "glasswright train",
    ]


@pytest.mark.slow
def test_from_an_empty_folder_to_a_trained_property(tmp_path):
    """The commands of the documentation; pip installs beside the environment, without network."""
    site = tmp_path / "site"
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH", "")]))
    offline = ["--no-deps", "--no-build-isolation", "--no-index", "--target", str(site)]
    for command in commands():
        program, *arguments = command
        if program == "pip":
            # Editable installs cannot be put beside an environment; extras would need the network.
            arguments = ["install", "--quiet", *offline, re.sub(r"\[.*\]", "", arguments[-1])]
        result = subprocess.run(
            [sys.executable, "-m", program, *arguments],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, f"{command}: {result.stdout[-3000:]} {result.stderr[-3000:]}"
    (run,) = (tmp_path / "outputs").rglob("result.json")
    result = json.loads(run.read_text())
    assert set(result["values"]) == {"poisson_ratio", "neighbours"}
    assert result["converged"] > 0
