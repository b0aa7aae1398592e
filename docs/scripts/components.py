"""Write `docs/components.md`: every registered component with its parameters, from the registry.

python docs/scripts/components.py
"""

from pathlib import Path

from glasswright.registry import KINDS, Component, registry
from glasswright.registry.describe import ParameterDescription, describe_component

PAGE = Path(__file__).parents[1] / "components.md"
PLURAL = {"property": "properties"}

HEAD = """\
# Components

This page lists all components of glasswright with their parameters. Choose a component by its name on the command line
(`potential=lennard_jones`), and set its parameters (`potential.cutoff_ratio=3`). `glasswright plugins` also lists the
components of other packages. The page is generated from the registry by `docs/scripts/components.py`.
"""


def page() -> str:
    """The text of the page."""
    parts = [HEAD]
    for kind in KINDS:
        components = registry().components(kind)
        built_in = [component for component in components.values() if component.distribution == "glasswright"]
        parts.append(f"## {PLURAL.get(kind, kind + 's').capitalize()}\n")
        from_optax = [component.name for component in built_in if component.target.startswith("optax.")]
        if from_optax:
            names = ", ".join(f"`{name}`" for name in from_optax)
            parts.append(f"{names}: the optimizers of [optax](https://optax.readthedocs.io), with its parameters.\n")
        parts += [section(component) for component in built_in if component.name not in from_optax]
    return "\n".join(parts)


def section(component: Component) -> str:
    """The section of a component: its definition, units, source and parameters."""
    described = describe_component(component)
    titles = {"Units": described["units"], "Source": described["source"]}
    facts = [f"{title}: {text.rstrip('.')}." for title, text in titles.items() if text]
    lines = [f"### `{component.name}`\n", described["summary"], ""]
    if facts:
        lines += [" ".join(facts), ""]
    rows = [row(parameter) for parameter in described["parameters"]]
    if rows:
        lines += ["| parameter | value | default | meaning |", "|---|---|---|---|", *rows, ""]
    return "\n".join(lines)


def row(parameter: ParameterDescription) -> str:
    """A row of the table of parameters."""
    default = parameter["default"]
    if parameter["required"]:
        text = "required"
    else:
        text = "" if default is None else f"`{str(default).removeprefix('${').removesuffix('}')}`"
    meaning = parameter["meaning"].replace("|", chr(92) + "|")
    return f"| `{parameter['name']}` | {parameter['type']} | {text} | {meaning} |"


if __name__ == "__main__":
    PAGE.write_text(page())
