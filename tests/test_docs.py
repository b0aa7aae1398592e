"""The commands of the documentation compose, its code runs, its links lead somewhere, and its map is complete."""

import importlib.metadata
import importlib.util
import re
import shlex
import sys
import tomllib
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
from glasswright.cli.application import parser_of
from glasswright.cli.export import parser as export_parser
from glasswright.cli.plot import parser as plot_parser
from glasswright.cli.plugins import find
from glasswright.cli.plugins import main as plugins
from glasswright.cli.report import parser as report_parser
from glasswright.cli.reproduce import parser as reproduce_parser
from glasswright.cli.runs import parser as runs_parser
from glasswright.commands.compose import compose, start
from glasswright.commands.resume import RESUME_KEYS
from glasswright.commands.table import COMMANDS, load_command
from glasswright.commands.train import build
from glasswright.config.loader import Hydra
from glasswright.config.sweep import jobs as jobs_of
from glasswright.exchange.formats import FORMATS
from glasswright.registry import Registry, registry
from helpers import ROOT, write_run
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode

REFERENCE = ROOT / "tests" / "reference" / "2d_n368_sp2_a5.extxyz"
PAGES = sorted(ROOT.glob("docs/*.md"))
# The commands of `extending.md` need its example package installed; `tests/jobs/test_analyse.py` has those of
# `analysis.md`, with a run that ended in a packing; `tests/test_how_do_i.py` runs those of its page.
ELSEWHERE = ("extending.md", "analysis.md", "how_do_i.md")
COMMAND_PAGES = [ROOT / "README.md", *(page for page in PAGES if page.name not in ELSEWHERE)]
WIDEST = 90
MODULE = "glasswright_contacts"


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}[ \t]*\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def commands(page: Path) -> list[str]:
    """Every `$ glasswright …` line, its continuation lines joined."""
    text = re.sub(r"\\\n\s*", "", page.read_text())
    return re.findall(r"^ *\$ (glasswright .*)$", text, re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings."""
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_the_readme_has_two_commands():
    train, test = blocks(ROOT / "README.md", "bash")
    assert "glasswright train" in train
    assert "pytest" in test


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.name)
def test_internal_links_lead_somewhere(page):
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    for link in re.findall(r"\]\(([^)\s]+)\)", prose):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page.name} links to {link}"
        assert not anchor or anchor in anchors(target), f"{page.name} links to {link}"


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES], ids=lambda page: page.name)
def test_commands_fit_the_page(page):
    """What is wider goes on in the next line on paper and on small screens; only a single word cannot be broken."""
    for language in ("console", "bash", "text", "yaml", "toml", "json", "bibtex"):
        for block in blocks(page, language):
            wide = [line for line in block.splitlines() if len(line) > WIDEST]
            assert [line for line in wide if len(shlex.split(line)) > 1] == []


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text()
    for page in PAGES:
        assert page.name in navigation


def test_the_map_names_every_file():
    section = blocks(ROOT / "docs" / "architecture.md", "text")[0]
    folders = {
        name: set(re.findall(r"\w+", text))
        for name, text in re.findall(r"^(\w+)/(.*?)(?=^\w|\Z)", section, re.DOTALL | re.MULTILINE)
    }
    package = ROOT / "framework" / "glasswright"
    for path in package.rglob("*.py"):
        folder, *rest = path.relative_to(package).parts
        if path.stem == "__main__" or (rest and path.stem == "__init__") or rest[:1] == ["template"]:
            continue
        named = folders[folder] if rest else set(re.findall(r"\w+", section))
        assert path.stem in named, f"docs/architecture.md does not name {path.relative_to(package)} on its map"
    for folder in folders:
        assert (package / folder).is_dir(), f"docs/architecture.md names the folder {folder}, which is not there"


@pytest.fixture(scope="module")
def hydra() -> Iterator[Hydra]:
    """A Hydra that composes trainings, for all commands of the pages."""
    instance = start("train")
    yield instance
    GlobalHydra.instance().clear()


@pytest.fixture(scope="module")
def run_directory(tmp_path_factory) -> Path:
    """A run directory after one step of training, in the place of those that the pages name."""
    design = {"diameter": [0.8, 1.0], "binding_energy": [0.1, 0.1, 0.1]}
    return write_run(tmp_path_factory.mktemp("run"), ["experiment=ensemble_poisson"], design, REFERENCE)


COMMANDS_OF_PAGES = [(page.name, command) for page in COMMAND_PAGES for command in commands(page)]


def test_there_are_commands():
    assert len(COMMANDS_OF_PAGES) > 20


@pytest.mark.parametrize(("page", "command"), COMMANDS_OF_PAGES)
def test_commands_compose(hydra, run_directory, tmp_path, monkeypatch, page, command):
    # Files of the reader's own, by the names on the pages.
    (tmp_path / "pair_correlation.csv").write_text("1\n" * 50)
    (tmp_path / "packings.extxyz").write_text(2 * REFERENCE.read_text())
    (tmp_path / "force_field.txt").write_text("0.8 42.1\n0.9 9.1\n1.0 0.0\n1.1 -0.98\n1.3 -0.66\n2.5 0.0\n")
    monkeypatch.chdir(tmp_path)
    _, name, *arguments = shlex.split(command.partition(" > ")[0].partition(" | ")[0], comments=True)
    if name in COMMANDS:
        check_configured(name, arguments, hydra, run_directory)
    else:
        TOOLS[name](arguments)


def check_completion(arguments: list[str]) -> None:
    assert arguments[0] in ("install=bash", "install=zsh", "install=fish")


def check_doctor(arguments: list[str]) -> None:
    assert set(arguments) <= {"--json"}


def check_plugins(arguments: list[str]) -> None:
    if arguments[:1] == ["show"]:
        assert find(registry(), arguments[1])
    elif arguments[:1] == ["new"]:
        assert plugins(arguments) == 0
    else:
        assert set(arguments) <= {"--json"}


def check_schema(arguments: list[str]) -> None:
    assert set(arguments) <= {"--preset", *COMMANDS}


def check_resume(arguments: list[str]) -> None:
    assert all(argument.partition("=")[0] in RESUME_KEYS for argument in arguments[1:])


def check_runs(arguments: list[str]) -> None:
    runs_parser().parse_args(arguments)


def check_plot(arguments: list[str]) -> None:
    plot_parser().parse_args(arguments)


def check_report(arguments: list[str]) -> None:
    report_parser().parse_args(arguments)


def check_export(arguments: list[str]) -> None:
    assert set(export_parser().parse_args(arguments).format.split(",")) <= FORMATS.keys()


def check_reproduce(arguments: list[str]) -> None:
    given = reproduce_parser().parse_args(arguments)
    assert given.list or given.name in registry().components("study")


TOOLS = {
    "-sc": check_completion,
    "doctor": check_doctor,
    "plugins": check_plugins,
    "schema": check_schema,
    "resume": check_resume,
    "runs": check_runs,
    "plot": check_plot,
    "report": check_report,
    "export": check_export,
    "reproduce": check_reproduce,
}


def check_configured(name: str, arguments: list[str], hydra: Hydra, run_directory: Path) -> None:
    """Compose and build the request of a configured command; of a sweep, its first and its last job."""
    given = parser_of(name).parse_intermixed_args(arguments)
    files = {"configuration": REFERENCE, "run": run_directory}
    keys = [override.partition("=")[0] for override in given.overrides]
    overrides = [
        f"{key}={files[key]}" if key in files else override for key, override in zip(keys, given.overrides, strict=True)
    ]
    if given.config_dir:
        # The folder is the reader's own: only the form of the overrides can be checked.
        assert all(o.is_hydra_override() or o.key_or_group for o in OverridesParser.create().parse_overrides(overrides))
        return
    if name != "train":
        load_command(name).build(compose(name, overrides, instance=start(name)), Path.cwd())
        start("train")
        return
    jobs = [overrides]
    if given.multirun:
        overall = compose("train", overrides, instance=hydra, run_mode=RunMode.MULTIRUN)
        first, *others = jobs_of(overall, overrides)
        jobs = [first, *others[-1:]]
    for job in jobs:
        build(compose("train", job, instance=hydra))


class ExampleDistribution:
    """The distribution of an example, as the registry reads it."""

    name, version = "an-example", "0.1.0"


def as_module(name: str, source: str, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """Run an example as a module that can be imported."""
    module = types.ModuleType(name)
    monkeypatch.setitem(sys.modules, name, module)
    exec(compile(source, f"docs/extending.md: {name}", "exec"), vars(module))
    return module


PLUGINS = [source for source in blocks(ROOT / "docs" / "extending.md", "python") if "@gw.hookimpl" in source]
TESTS = [source for source in blocks(ROOT / "docs" / "extending.md", "python") if "def test_" in source]
CONFORMANCE = [source for source in blocks(ROOT / "docs" / "extending.md", "python") if "conformance_tests" in source]


@pytest.mark.parametrize("source", PLUGINS, ids=lambda source: re.search(r"(?:class|def) (\w+)", source)[1])
def test_examples_of_plugins_load(source, monkeypatch):
    components = Registry()
    for entry_point in importlib.metadata.entry_points(group="glasswright"):
        if entry_point.name == "builtin":
            components.load(entry_point)
    before = len(components.by_target())
    # The complete package names a folder of presets, which does not exist here.
    source = source.replace('"pkg://glasswright_contacts.conf"', "")
    module = as_module(MODULE, source, monkeypatch)
    entry_point = importlib.metadata.EntryPoint("example", MODULE, "glasswright")
    vars(entry_point).update(dist=ExampleDistribution())
    record = components.load(entry_point)
    assert record.status == "loaded", record.error
    assert len(components.by_target()) == before + 1
    for component in components.by_target().values():
        if component.distribution == ExampleDistribution.name:
            assert component.cls.__doc__
            assert getattr(module, component.cls.__name__) is component.cls


def test_all_kinds_of_components_have_an_example():
    for kind in (
        "potentials",
        "systems",
        "protocols",
        "treatments",
        "samplers",
        "properties",
        "objectives",
        "combinations",
        "optimizers",
        "trackers",
        "executors",
        "studies",
    ):
        assert any(f"def register_{kind}(register)" in source for source in PLUGINS), kind
    assert len(PLUGINS) + len(TESTS) + len(CONFORMANCE) == len(blocks(ROOT / "docs" / "extending.md", "python"))


def test_the_example_of_a_test_passes(monkeypatch):
    as_module(MODULE, PLUGINS[0], monkeypatch)
    (source,) = TESTS
    for name, function in vars(as_module("test_of_the_documentation", source, monkeypatch)).items():
        if name.startswith("test_"):
            function()


def test_the_example_of_a_package_has_the_entry_point():
    (text,) = blocks(ROOT / "docs" / "extending.md", "toml")
    project = tomllib.loads(text)
    assert project["project"]["entry-points"]["glasswright"] == {"contacts": MODULE}
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == [MODULE]


def test_the_page_of_components_is_current():
    specification = importlib.util.spec_from_file_location("components", ROOT / "docs" / "scripts" / "components.py")
    script = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(script)
    assert script.PAGE.read_text() == script.page(), "run python docs/scripts/components.py"
