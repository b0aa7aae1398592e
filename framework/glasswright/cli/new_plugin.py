"""`glasswright plugins new`: a complete package with one component, ready to be installed, tested and used."""

import re
import shlex
from pathlib import Path

from .._errors import RequestError, suggestion
from ..registry.component import KINDS
from ..registry.registry import registry

TEMPLATE = Path(__file__).resolve().parent / "template"
# The kinds that there is a template for, and what a first training with the new component is called by.
FIRST_USE = {
    "property": (
        "glasswright train 'property=[poisson_ratio,@name@]' terms.@name@.weight=0.01 terms.@name@.objective.target=5"
    ),
    "potential": "glasswright train potential=@name@ '~design.binding_energy'",
    "system": "glasswright train system=@name@",
    "protocol": "glasswright train protocol=@name@",
    "treatment": "glasswright train +treatment@protocol.treatments.@name@=@name@",
    "sampler": "glasswright train sampler=@name@",
    "objective": (
        "glasswright train objective@terms.poisson_ratio.objective=@name@ terms.poisson_ratio.objective.target=0.3"
    ),
    "combination": (
        "glasswright train combination=@name@ 'property=[poisson_ratio,pressure]' terms.pressure.objective.target=0.23"
    ),
    "optimizer": "glasswright train optimizer=@name@",
    "tracker": "glasswright train 'tracker=[@name@]'",
    "executor": "glasswright train executor=@name@",
    "study": "glasswright reproduce @name@",
}


def new_plugin(name: str, kind: str = "property", directory: str | None = None) -> Path:
    """Write a package with a component of that name; returns its folder."""
    if kind not in FIRST_USE:
        raise RequestError(f"--kind {kind}: no template for such a component; {suggestion(kind, FIRST_USE)}")
    words = [word for word in re.split(r"[-_]", name) if word]
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name):
        raise RequestError(f"{name!r}: a name begins with a letter and consists of letters, digits, - and _")
    component = "_".join(words).lower()
    owner = registry().components(kind).get(component)
    if owner is not None:
        raise RequestError(
            f"{component}: the {kind} exists already: it belongs to {owner.distribution}; take another name"
        )
    distribution = "glasswright-" + "-".join(words).lower()
    folder = Path(directory) if directory is not None else Path.cwd() / distribution
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RequestError(f"--directory {folder}: exists already and is not empty")
    words_in_class = "".join(word[:1].upper() + word[1:] for word in words)
    values = {
        "distribution": distribution,
        "module": distribution.replace("-", "_"),
        "name": component,
        "Class": words_in_class,
        "member": component if kind == "optimizer" else words_in_class,
        "kind": kind,
        "kinds": KINDS[kind].hook.removeprefix("register_"),
    }
    values["command"] = _filled(FIRST_USE[kind], values)
    for target, text in _files(kind, values).items():
        path = folder / target
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        except OSError as error:
            raise RequestError(f"--directory {folder}: cannot be written: {error}") from error
        print(path)
    quoted = shlex.quote(str(folder))
    print(f"\nnext: pip install -e {shlex.quote(f'{folder}[test]')} && pytest {quoted}\n      {values['command']}")
    return folder


def _files(kind: str, values: dict[str, str]) -> dict[str, str]:
    """The files of the package by path."""
    module = values["module"]
    sources = {
        "pyproject.toml": "pyproject.toml.in",
        "README.md": "README.md.in",
        ".gitignore": "gitignore.in",
        ".github/workflows/test.yml": "workflow.yml.in",
        f"{module}/__init__.py": "module/__init__.py.in",
        f"{module}/{values['name']}.py": f"module/{kind}.py.in",
        "tests/test_conformance.py": "tests/test_conformance.py.in",
    }
    files = {target: _filled((TEMPLATE / source).read_text(), values) for target, source in sources.items()}
    if kind == "protocol":
        # A nested component needs a default choice.
        files[f"{module}/__init__.py"] = files[f"{module}/__init__.py"].replace(
            f"{values['member']})\n", f'{values["member"]}, relaxation="quench")\n'
        )
    return files


def _filled(text: str, values: dict[str, str]) -> str:
    return re.sub(r"@(\w+)@", lambda match: values.get(match[1], match[0]), text)
