"""The house rules that a machine can check."""

import ast
import importlib
import inspect
import pkgutil
from pathlib import Path

import equinox as eqx
import glasswright
import glasswright_plugins
import pytest

# Abstract by role and not by name: what protocols give and properties require.
ABSTRACT_WITHOUT_THE_NAME = {"State"}


def modules():
    for package in (glasswright, glasswright_plugins):
        yield package
        for info in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            if not info.name.endswith("__main__"):
                yield importlib.import_module(info.name)


def classes():
    found = {}
    for module in modules():
        for _, member in inspect.getmembers(module, inspect.isclass):
            if issubclass(member, eqx.Module) and member.__module__.startswith("glasswright"):
                found[f"{member.__module__}.{member.__qualname__}"] = member
    return found


def is_abstract(cls):
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


def test_public_names_have_docstrings():
    for name in dir(glasswright):
        member = getattr(glasswright, name)
        if not name.startswith("_") and (inspect.isclass(member) or inspect.isfunction(member)):
            assert inspect.getdoc(member), name
