"""`glasswright COMMAND --help`: grouped, short, and each key once, with its value and what it means."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import glasswright as gw
import pytest
from glasswright import cli
from glasswright.commands.compose import compose
from glasswright.commands.table import COMMANDS
from glasswright.config.data import resolved
from glasswright.registry import registry

# A key with its value, and a description behind it or on the next line.
ROW = re.compile(r"^  ([\w.\[\]]+)=\S*(?: \(required\))?(?:\s+(\S.*))?$")


def helped(capsys, *arguments: str) -> str:
    assert cli.main([*arguments, "--help"]) == cli.DONE
    return capsys.readouterr().out


def rows(text: str) -> dict[str, str]:
    """The keys of a help text with their descriptions."""
    keys: list[tuple[str, str]] = []
    for line in text[text.index("\nthe run\n") :].splitlines():
        match = ROW.match(line)
        if match:
            keys.append((match[1], match[2] or ""))
        elif line.startswith(" " * 10) and keys:
            keys[-1] = (keys[-1][0], f"{keys[-1][1]} {line.strip()}".strip())
    assert len({key for key, _ in keys}) == len(keys), "a key is listed twice"
    return dict(keys)


def keys(node: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """The keys that a composed configuration has values for."""
    for name, value in node.items():
        key = f"{path}.{name}" if path else str(name)
        if isinstance(value, Mapping) and value:
            yield from keys(value, key)
        elif name != "_target_" and not isinstance(value, Mapping):
            yield key


@pytest.mark.parametrize("command", ["train", "measure", "analyse"])
def test_every_key_is_listed_with_its_meaning(capsys, command):
    listed = rows(helped(capsys, command))
    composed = resolved(gw.compose(command=command))
    # The number of species, for instance, is that of the system.
    follows = {"n_particles", "n_species", "dimension", "density"}
    expected = {key for key in keys(composed) if key.startswith("system.") or key.split(".")[-1] not in follows}
    assert expected - listed.keys() == set()
    assert [key for key, meaning in listed.items() if not meaning] == []


def test_the_help_shows_what_is_asked_for(capsys):
    text = helped(capsys, "train", "potential=yukawa", "property=[pressure]", "train.steps=7")
    assert "potential=yukawa" in text
    assert "terms.pressure.objective.target=… (required)" in text
    assert "train.steps=7 " in text
    assert "harmonic_morse" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_is_grouped_and_short(capsys, command):
    text = helped(capsys, command)
    lines = text.splitlines()
    assert lines[0].startswith(f"glasswright {command}: ")
    assert lines[2].startswith(f"usage: glasswright {command} ")
    assert len(lines) < 135
    assert max(map(len, lines)) <= 110
    assert all(name in text for name in registry().components("property"))
    assert "_target_" not in text


def test_a_validation_is_explained_without_a_run(capsys):
    text = helped(capsys, "validate")
    assert "run=… (required)" in text
    assert rows(text).keys() == {"run", "design_of", "n_configurations", "n_untrained", "overwrite"}


@pytest.mark.parametrize(
    ("overrides", "label"),
    [
        ([], "single_poisson"),
        (["experiment=pressure"], "pressure"),
        (["terms.poisson_ratio.objective.target=0.1", "optimizer=adam"], "single_poisson"),
        (["experiment=null", "property=[pressure]"], "train"),
        (["property=[bulk_modulus]"], "train"),
        (["potential=yukawa"], "train"),
        (["experiment=pressure", "sampler=tracked"], "train"),
        (["objective@terms.poisson_ratio.objective=minimize"], "train"),
        (["property=[poisson_ratio,pressure]"], "train"),
    ],
)
def test_a_preset_labels_no_run_of_something_else(overrides, label):
    assert compose("train", overrides).hydra.job.name == label
