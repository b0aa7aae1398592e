"""The house rules that a machine can check."""

import ast
import importlib
import inspect
import io
import pkgutil
import re
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import equinox as eqx
import glasswright
import glasswright_plugins
import pytest
import yaml
from helpers import ROOT

# Abstract by role and not by name: what protocols give and properties require.
ABSTRACT_WITHOUT_THE_NAME = {"State"}


FRAMEWORK = ROOT / "framework" / "glasswright"
LIBRARY = [path for path in sorted(FRAMEWORK.rglob("*.py")) if path.relative_to(FRAMEWORK).parts[0] != "cli"]


def calls(path: Path) -> list[ast.Call]:
    """Every call in a file."""
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]


def modules() -> Iterator[ModuleType]:
    for package in (glasswright, glasswright_plugins):
        yield package
        for info in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            if not info.name.endswith("__main__"):
                yield importlib.import_module(info.name)


def classes() -> dict[str, type[eqx.Module]]:
    modules_of_equinox = {}
    for module in modules():
        for _, member in inspect.getmembers(module, inspect.isclass):
            if issubclass(member, eqx.Module) and member.__module__.startswith("glasswright"):
                modules_of_equinox[f"{member.__module__}.{member.__qualname__}"] = member
    return modules_of_equinox


def is_abstract(cls: type[eqx.Module]) -> bool:
    return cls.__name__.startswith("Abstract") or cls.__name__ in ABSTRACT_WITHOUT_THE_NAME


@pytest.mark.parametrize("name", sorted(classes()))
def test_modules_are_abstract_or_final(name):
    cls = classes()[name]
    for base in cls.__mro__[1:]:
        if base is not eqx.Module and issubclass(base, eqx.Module) and base.__module__.startswith("glasswright"):
            assert is_abstract(base), f"{name} subclasses {base.__name__}, which is concrete"


@pytest.mark.parametrize("module", sorted({inspect.getfile(cls) for cls in classes().values()}))
def test_no_module_calls_super(module):
    tree = ast.parse(Path(module).read_text())
    calls = [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == "super"]
    assert not calls


@pytest.mark.parametrize("module", sorted({m.__file__ for m in modules()}))
def test_files_stay_short(module):
    assert len(Path(module).read_text().splitlines()) <= 400


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: str(path.relative_to(FRAMEWORK)))
def test_library_code_does_not_print(path):
    """Library code logs and warns; what reaches the terminal is up to the command line."""
    assert [call.lineno for call in calls(path) if isinstance(call.func, ast.Name) and call.func.id == "print"] == []


def test_a_print_is_noticed(tmp_path):
    path = tmp_path / "planted.py"
    path.write_text("def f():\n    print('here')\n")
    assert [call.lineno for call in calls(path)] == [2]


@pytest.mark.parametrize("package", [glasswright, glasswright_plugins], ids=lambda package: package.__name__)
def test_packages_are_typed(package):
    assert (Path(package.__file__).parent / "py.typed").is_file()


def test_workflows_test_the_supported_pythons_with_the_local_script():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text())["jobs"]["tests"]
    supported = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert workflow["strategy"]["matrix"]["python"] == [f"3.{minor}" for minor in range(11, 14)]
    assert supported == ">=3.11,<3.14"
    assert {"run": ".ci/run", "env": {"PYTHON": "python"}} in workflow["steps"]


def test_public_names_have_docstrings():
    for name in dir(glasswright):
        member = getattr(glasswright, name)
        if not name.startswith("_") and (inspect.isclass(member) or inspect.isfunction(member)):
            assert inspect.getdoc(member), name


# Names for what cannot be known, each with its reason above it.
NAMES_OF_TYPES = FRAMEWORK / "_types.py"
SOURCES = sorted(path for folder in (FRAMEWORK, ROOT / "plugins") for path in folder.rglob("*.py"))


def unexplained(path: Path) -> list[int]:
    """The lines of a file that say `Any`, in code, without a comment in them or right above them."""
    text = path.read_text()
    tree = ast.parse(text)
    imports = {node.lineno for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)}
    # What a type checker reads in quotes is code as well.
    quoted = {
        node.lineno
        for annotation in annotations(tree)
        for node in ast.walk(annotation)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.search(r"\bAny\b", node.value)
    }
    said, explained = set(quoted), set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NAME and token.string == "Any":
            said.add(token.start[0])
        elif token.type == tokenize.COMMENT:
            alone = not token.line[: token.start[1]].strip()
            explained |= {token.start[0] + 1} if alone else {token.start[0]}
    return sorted(said - explained - imports)


def annotations(tree: ast.Module) -> Iterator[ast.expr]:
    """Every annotation in a file."""
    for node in ast.walk(tree):
        annotation = getattr(node, "returns" if isinstance(node, ast.FunctionDef) else "annotation", None)
        if annotation is not None:
            yield annotation


def test_any_has_a_reason():
    """A type is `Any` only where it cannot be known, and a comment says why."""
    assert {str(path.relative_to(ROOT)): lines for path in SOURCES if (lines := unexplained(path))} == {}


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("x: Any = 1", [2]),
        ('def f(x: "list[Any]") -> None: ...', [2]),
        ("def f(\n    x: int,\n    y: Any,\n) -> Any: ...", [4, 5]),
        ("Alias = dict[str, Any]\n# A reason that stands below.", [2]),
        ("# A reason two lines above.\n\nx: Any = 1", [4]),
        ("y = 2  # of another line\nx: Any = 1", [3]),
        ("import typing\nx: typing.Any = 1", [3]),
        ("# The reason.\nx: Any = 1", []),
        ("x: Any = 1  # the reason", []),
        ('"""Any text."""\nx = "Any"', []),
    ],
)
def test_any_without_a_reason_is_noticed(tmp_path, text, lines):
    path = tmp_path / "planted.py"
    path.write_text(f"from typing import Any\n{text}\n")
    assert unexplained(path) == lines


def test_names_of_unknown_types_are_few_and_explained():
    tree = ast.parse(NAMES_OF_TYPES.read_text())
    names = [node for node in tree.body if isinstance(node, ast.AnnAssign)]
    assert 0 < len(names) <= 6
    above = NAMES_OF_TYPES.read_text().splitlines()
    assert all(above[node.lineno - 2].startswith("# ") for node in names)
