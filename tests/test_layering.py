"""The framework knows no plugin, and every hook is documented."""

import ast
from pathlib import Path

import pytest
from glasswright import hookspecs
from helpers import ROOT

FRAMEWORK = sorted((ROOT / "framework").rglob("*.py"))
HOOKS = [name for name, value in vars(hookspecs).items() if hasattr(value, "glasswright_spec")]


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize("path", FRAMEWORK, ids=lambda path: path.name)
def test_the_framework_imports_no_plugin(path):
    assert "glasswright_plugins" not in imported(path)


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_documented(hook):
    text = (ROOT / "docs" / "extending.md").read_text()
    assert hook in text, f"docs/extending.md does not mention the hook {hook}"


def test_there_are_hooks():
    assert len(HOOKS) == 8
