"""Plugins load as transactions: all of one, or nothing of it."""

import importlib.metadata
import sys
import textwrap

import pytest
from glasswright import RequestError
from glasswright.registry import KINDS, Registry, registry
from glasswright.registry.parameters import parameters

HEADER = """
import equinox as eqx
import glasswright as gw
import jax.numpy as jnp
from jaxtyping import Array, Float


class Size(gw.AbstractProperty):
    factor: float = 1.0

    def measure(self, state):
        return jnp.asarray(self.factor)
"""


class _Distribution:
    version = "1.2.3"

    def __init__(self, name: str) -> None:
        self.name = name


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Load source text as a plugin into a registry that already has the built-in ones."""
    monkeypatch.syspath_prepend(tmp_path)
    components = Registry()
    for entry_point in importlib.metadata.entry_points(group="glasswright"):
        if entry_point.name == "builtin":
            assert components.load(entry_point).status == "loaded"

    def load(source: str, name: str = "visitor"):
        module = f"plugin_of_a_test_{name}"
        (tmp_path / f"{module}.py").write_text(HEADER + textwrap.dedent(source))
        monkeypatch.delitem(sys.modules, module, raising=False)
        entry_point = importlib.metadata.EntryPoint(name, module, "glasswright")
        vars(entry_point).update(dist=_Distribution(f"dist-{name}"))
        return components, components.load(entry_point)

    return load


def names(components: Registry) -> dict[str, list[str]]:
    return {kind: list(components.components(kind)) for kind in KINDS}


def test_a_healthy_plugin_adds_its_components(load):
    components, record = load(
        """
        @gw.hookimpl
        def register_properties(register):
            register("size", Size)
        """
    )
    assert record.status == "loaded"
    component = components.get("property", "size")
    assert (component.distribution, component.version, component.entry_point) == (
        "dist-visitor",
        "1.2.3",
        "visitor",
    )
    assert parameters(component)["factor"].kind == "number"


def test_parameters_may_have_any_name(load):
    """Also the names of the arguments of `register`, and of what it knows of the kind."""
    components, record = load(
        """
        class Moduli(gw.AbstractProperty):
            kind: str = "bulk"
            base: float = 1.0
            name: str = "x"
            cls: int = 1

            def measure(self, state):
                return jnp.asarray(self.base)


        @gw.hookimpl
        def register_properties(register):
            register("first", Moduli)
            register("second", Moduli, kind="shear", base=2.0, name="y", cls=2)
            register("third", Moduli, kind="property")
        """
    )
    assert record.status == "loaded", record.error
    declared = {name: parameters(components.get("property", name)) for name in ("first", "second", "third")}
    assert {name: p.default for name, p in declared["first"].items()} == {
        "kind": "bulk",
        "base": 1.0,
        "name": "x",
        "cls": 1,
    }
    assert {name: p.default for name, p in declared["second"].items()} == {
        "kind": "shear",
        "base": 2.0,
        "name": "y",
        "cls": 2,
    }
    assert declared["third"]["kind"].default == "property"


BROKEN = {
    "fails at import": ("raise RuntimeError('no such\\nlibrary')", "RuntimeError: no such library"),
    "exits at import": ("raise SystemExit(3)", "SystemExit: 3"),
    "raises something odd": ("class Odd(BaseException): pass\nraise Odd('odd')", "Odd: odd"),
    "exits in a hook": ("@gw.hookimpl\ndef register_properties(register):\n    exit(1)", "SystemExit"),
    "takes a name": (
        "@gw.hookimpl\ndef register_properties(register):\n    register('fresh_name', Size)\n"
        "    register('pressure', Size)",
        "property 'pressure' exists already: it belongs to glasswright",
    ),
    "registers twice": (
        "@gw.hookimpl\ndef register_properties(register):\n    register('a', Size)\n    register('a', Size)",
        "registered twice",
    ),
    "misspells a hook": (
        "@gw.hookimpl\ndef register_propertys(register):\n    register('size', Size)",
        "unknown hook 'register_propertys'; did you mean 'register_properties'?",
    ),
    "takes an unknown argument": ("@gw.hookimpl\ndef register_properties(rgister):\n    pass", "rgister"),
    "other version": (
        "GLASSWRIGHT_API_VERSION = 2",
        "speaks plugin API version 2, this glasswright speaks 1",
    ),
    "nothing marked": ("def register_properties(register):\n    register('size', Size)", "gw.hookimpl"),
    "wrong class": (
        "@gw.hookimpl\ndef register_potentials(register):\n    register('size', Size)",
        "is not a subclass of gw.AbstractPotential",
    ),
    "not a class": (
        "@gw.hookimpl\ndef register_properties(register):\n    register('size', Size())",
        "cannot be called",
    ),
    "abstract class": (
        "class Half(gw.AbstractProperty):\n    pass\n\n"
        "@gw.hookimpl\ndef register_properties(register):\n    register('half', Half)",
        "is abstract, it does not define measure",
    ),
    "default that no configuration can hold": (
        "class Twice(Size):\n    inner: gw.AbstractProperty = Size()\n\n"
        "@gw.hookimpl\ndef register_properties(register):\n    register('twice', Twice)",
        "the default of 'inner' is an object; give the name of a registered property",
    ),
    "default inside of a number": (
        "@gw.hookimpl\ndef register_properties(register):\n    register('size', Size, **{'factor.inner': 1.0})",
        "register was given 'factor.inner', which is no parameter",
    ),
    "default too far inside": (
        "class Twice(Size):\n    inner: gw.AbstractProperty = Size()\n\n"
        "@gw.hookimpl\ndef register_properties(register):\n"
        "    register('twice', Twice, inner='pressure', **{'inner.one.more': 1.0})",
        "register was given 'inner.one.more', which is no parameter",
    ),
    "bad name": ("@gw.hookimpl\ndef register_properties(register):\n    register('a b', Size)", "letters"),
    "bad folder": (
        "@gw.hookimpl\ndef config_search_paths():\n    return ['/no/such/folder']",
        "is not a folder",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plugin_changes_nothing(load, case):
    source, message = BROKEN[case]
    components, _ = load("")
    before = names(components)
    components, record = load(source, name="broken")
    assert record.status == "failed"
    assert message in record.error
    assert "\n" not in record.error
    assert names(components) == before
    assert components.search_paths == []
    assert not any("broken" in name for name, _ in components._manager.list_name_plugin())


def test_a_missing_name_shows_why_its_plugin_is_broken(load):
    components, _ = load("raise RuntimeError('needs a newer numpy')", name="broken")
    with pytest.raises(RequestError, match=r"broken.*needs a newer numpy"):
        components.get("property", "size")
    with pytest.raises(RequestError, match="did you mean 'pressure'"):
        components.get("property", "presure")


def test_a_name_that_a_broken_plugin_tried_to_register_shows_its_error(load):
    components, _ = load(
        "@gw.hookimpl\ndef register_properties(register):\n    register('size', Size)\n    raise OSError('no disk')",
        name="broken",
    )
    with pytest.raises(RequestError, match="OSError: no disk"):
        components.get("property", "size")
    with pytest.raises(RequestError) as raised:
        components.get("property", "other")
    assert "no disk" not in str(raised.value)  # it never had that one


def test_strict_makes_a_broken_plugin_fatal(load, monkeypatch):
    components, _ = load("raise RuntimeError('broken')", name="broken")
    components.check_strict()
    monkeypatch.setenv("GLASSWRIGHT_STRICT_PLUGINS", "1")
    with pytest.raises(RequestError, match="'broken'"):
        components.check_strict()


def test_a_disabled_plugin_is_left_out(load, monkeypatch):
    monkeypatch.setenv("GLASSWRIGHT_DISABLE_PLUGINS", "other, visitor")
    _, record = load("raise RuntimeError('broken')")
    assert (record.status, record.error) == ("disabled", "")


def test_output_of_a_plugin_does_not_reach_stdout(load, capsys):
    load("print('hello')")
    assert capsys.readouterr().out == ""


def test_every_component_of_this_process_has_a_target_of_its_own():
    components = registry()
    # A class can have several names, with other defaults.
    every = [component for kind in KINDS for component in components.components(kind).values()]
    assert len(components.by_target()) == len({component.cls for component in every})
    assert "optax.adam" in components.by_target()
    assert not any(target.startswith("functools.") for target in components.by_target())


ANNOTATIONS = """
import enum
from collections.abc import Sequence
from typing import Annotated, Literal, Optional, Union


class Colour(enum.Enum):
    red = 1
    blue = 2


class Many(gw.AbstractProperty):
    array: Float[Array, " n"] = eqx.field(converter=jnp.asarray)
    several: float | Sequence[float] | None = None
    matrix: Sequence[Sequence[float]] = ((1.0,),)
    count: int = 3
    rate: Optional[float] = None
    either: Union[int, float] = 1
    flag: bool = True
    label: str = "x"
    mode: Literal["a", "b"] = "a"
    colour: Colour = Colour.red
    inner: gw.AbstractObjective | None = None
    density: float = 1.0
    noted: Annotated[int, "a note"] = 1

    def measure(self, state):
        return 0.0


@gw.hookimpl
def register_properties(register):
    register("many", Many)
"""


@pytest.mark.parametrize("decorator", ["", "@jaxtyping.jaxtyped(typechecker=beartype.beartype)\n"])
def test_annotations_become_kinds_of_parameters(load, decorator):
    """Also of a class whose types are checked when it is called."""
    checked = ANNOTATIONS.replace("class Many", f"import beartype, jaxtyping\n\n\n{decorator}class Many")
    components, record = load(checked)
    assert record.status == "loaded", record.error
    declared = parameters(components.get("property", "many"))
    assert {name: p.kind for name, p in declared.items()} == {
        "array": "array",
        "several": "array",
        "matrix": "array",
        "count": "integer",
        "rate": "number",
        "either": "number",
        "flag": "boolean",
        "label": "text",
        "mode": "choice",
        "colour": "choice",
        "inner": "component",
        "density": "number",
        "noted": "integer",
    }
    assert declared["rate"].optional
    assert not declared["count"].optional
    assert declared["colour"].choices == ("red", "blue")
    assert declared["inner"].group == "objective"
    assert declared["density"].follows_system
