"""From Python: every public name is documented, every documented example runs, and errors say what is wrong."""

import ast
import importlib
import inspect
import re
import subprocess
import sys

import glasswright as gw
import pytest
from helpers import ROOT

PAGES = sorted((ROOT / "docs").glob("*.md"))
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.py"))
PUBLIC = [name for name in dir(gw) if not name.startswith("_") and not inspect.ismodule(getattr(gw, name))]


def references() -> list[str]:
    """What the pages document by `::: glasswright.…`."""
    return [name for page in PAGES for name in re.findall(r"^::: ([\w.]+)$", page.read_text(), re.MULTILINE)]


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_documented(name):
    assert inspect.getdoc(getattr(gw, name))
    if name == "hookimpl":  # a marker, shown in every example of a plugin
        assert "@gw.hookimpl" in (ROOT / "docs" / "extending.md").read_text()
        return
    assert f"glasswright.{name}" in references(), f"no page has `::: glasswright.{name}`"


def test_type_checkers_see_the_same_names_as_python():
    """What is imported at first use stands twice in `__init__.py`: for type checkers, and by name."""
    block = next(node for node in ast.parse(inspect.getsource(gw)).body if isinstance(node, ast.If))
    seen = {alias.name: f"glasswright.{node.module}" for node in block.body for alias in node.names}
    assert set(seen) == set(gw.__all__)
    for name, module in seen.items():
        assert getattr(importlib.import_module(module), name) is getattr(gw, name)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["trian"]])
def test_what_computes_nothing_does_not_import_jax(arguments):
    code = f"import sys; from glasswright.cli import main; main({arguments}); print('jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_documented_names_exist():
    for reference in references():
        module, _, name = reference.rpartition(".")
        imported = __import__(module, fromlist=[name])
        assert hasattr(imported, name), reference


def test_the_testing_module_is_documented():
    from glasswright import testing

    public = [name for name in dir(testing) if name.startswith(("check_", "conformance_"))]
    assert {f"glasswright.testing.{name}" for name in public} <= set(references())


@pytest.mark.slow
def test_the_examples_of_the_page_run(tmp_path, monkeypatch, capsys):
    """The blocks of `docs/api.md`, one after the other, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "api.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 4
    names: dict = {}
    for block in blocks:
        assert len([line for line in block.splitlines() if line.strip()]) < 15
        exec(compile(block, "docs/api.md", "exec"), names)
    assert (tmp_path / "run" / "result.json").exists()
    assert "Experiment(" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_tutorials_run(path, tmp_path):
    result = subprocess.run([sys.executable, str(path)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-3000:]


def test_there_are_tutorials():
    names = {path.stem for path in TUTORIALS}
    assert {"first_training", "writing_a_property", "composing_objectives", "reading_a_run"} <= names
    index = (ROOT / "docs" / "tutorials.md").read_text()
    for name in names:
        assert f"{name}.py" in index


def test_composing_leaves_nothing_behind():
    from hydra.core.global_hydra import GlobalHydra

    # An earlier test of this process may have left a Hydra of its own, which composing would rightly put back.
    GlobalHydra.instance().clear()
    config = gw.compose("seed=3", "property=[pressure]", "terms.pressure.objective.target=0.1")
    assert config.seed == 3
    assert "hydra" not in config
    assert not GlobalHydra.instance().is_initialized()
    assert list(gw.build(config).terms) == ["pressure"]


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gw.train("train.stps=3"), "train.stps: no such key; did you mean 'steps'?"),
        (lambda: gw.compose("experiment=single_poison"), "did you mean 'single_poisson'?"),
        (lambda: gw.measure("configuration=nothing.extxyz"), "nothing.extxyz: no such file"),
        (lambda: gw.validate("run=nowhere"), "run=nowhere: no such directory"),
        (lambda: gw.resume("nowhere"), "DIR=nowhere: no such directory"),
        (lambda: gw.compose("seed=1", command="trian"), "did you mean 'train'?"),
    ],
    ids=["train", "compose", "measure", "validate", "resume", "command"],
)
def test_wrong_requests_say_what_is_wrong(tmp_path, monkeypatch, call, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(gw.RequestError) as raised:
        call()
    assert message in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_a_request_is_texts_or_one_configuration():
    with pytest.raises(TypeError, match="not both"):
        gw.train("seed=1", {"seed": 2})


def test_an_experiment_shows_what_it_is():
    text = repr(gw.build(gw.compose("sampler.size=3")))
    assert text.startswith("Experiment(\n  potential: HarmonicMorse(")
    assert "terms: poisson_ratio: 1 x Target(" in text
    assert "design: diameter in [0.1, 3], binding_energy in [0, 10]" in text
    assert len(text) < 1200
