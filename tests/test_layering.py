"""A room imports only the rooms below it, without circles, and every hook is documented."""

import shutil
from pathlib import Path

import pytest
from glasswright import hookspecs
from helpers import ROOT
from layering import ORDER, violations

PACKAGE = ROOT / "framework" / "glasswright"
HOOKS = [name for name, value in vars(hookspecs).items() if hasattr(value, "glasswright_spec")]

# What is planted in which file, and the complaint it must cause.
PLANTS = {
    "upward": ("physics/planted.py", "from ..run import checkpoint", "run is above physics"),
    "upward by an absolute name": ("physics/planted.py", "import glasswright.run.checkpoint", "run is above physics"),
    "upward by the package": ("physics/planted.py", "import glasswright as gw", "__init__ is above physics"),
    "upward within a function": (
        "execution/planted.py",
        "def late():\n    from ..physics.lattice import widest_basis\n    return widest_basis",
        "physics is above execution",
    ),
    "upward by a string": (
        "components/planted.py",
        'import importlib\nmodule = importlib.import_module("glasswright.jobs.train")',
        "jobs is above components",
    ),
    "upward by a relative string": (
        "components/planted.py",
        'from importlib import import_module\nmodule = import_module("..jobs.train", __package__)',
        "jobs is above components",
    ),
    "circle": ("physics/planted.py", "from . import planted_too", "circle: physics.planted > physics.planted_too"),
    "hydra": ("physics/planted.py", "from hydra import compose", "only config and cli.application may"),
    "omegaconf": ("cli/planted.py", "import omegaconf", "only config and cli.application may"),
    "toolbox": ("jobs/planted.py", "from ..relax import fire", "relax is for protocols"),
    "plugin": ("registry/planted.py", "import glasswright_plugins", "the framework knows no plugin"),
    "stray file": ("planted.py", "", "planted is in no room"),
    "stray folder": ("attic/planted.py", "", "attic.planted is in no room"),
}


def test_the_framework_keeps_the_order_of_its_rooms():
    """Imports downward only, no circle within a room, no stray file, Hydra in its room, no plugin."""
    assert violations(PACKAGE) == []


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the framework to plant files in."""
    return shutil.copytree(PACKAGE, tmp_path / "glasswright", ignore=shutil.ignore_patterns("__pycache__"))


@pytest.fixture(scope="module")
def before() -> list[str]:
    """What the framework itself breaks."""
    return violations(PACKAGE)


@pytest.mark.parametrize(("path", "text", "complaint"), PLANTS.values(), ids=PLANTS)
def test_a_planted_violation_is_reported(copy, before, path, text, complaint):
    planted = copy / path
    planted.parent.mkdir(exist_ok=True)
    planted.write_text(text + "\n")
    (copy / "physics" / "planted_too.py").write_text("from .planted import something\n")
    reported = [line for line in violations(copy) if line not in before]
    assert any(complaint in line for line in reported), reported
    assert all("planted" in line for line in reported)


def test_a_room_that_is_gone_is_reported(copy):
    shutil.rmtree(copy / "plots")
    assert "the room plots does not exist" in violations(copy)


def test_downward_imports_are_allowed(copy, before):
    (copy / "jobs" / "planted.py").write_text("from ..physics import system\nimport glasswright.execution.executor\n")
    (copy / "config" / "planted.py").write_text("import hydra, omegaconf\nfrom .planted_too import x\n")
    (copy / "config" / "planted_too.py").write_text("from .._errors import x\n")
    assert violations(copy) == before


def test_no_room_stands_twice():
    rooms = [room for floor in ORDER for room in floor]
    assert len(rooms) == len(set(rooms))


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_documented(hook):
    text = (ROOT / "docs" / "extending.md").read_text()
    assert hook in text, f"docs/extending.md does not mention the hook {hook}"


def test_there_are_hooks():
    assert len(HOOKS) == 13
