"""Two hundred damaged requests: none gets a traceback, each is refused with one line that names the place.

What is damaged, and how, is drawn from a fixed seed. A damage is made so that it is certainly wrong: a key that there
is not, a value of another type, a name that nobody has, a file that is no preset.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import glasswright as gw
import pytest
import yaml
from glasswright.commands.compose import compose, start
from glasswright.commands.train import build
from glasswright.config.loader import Hydra
from helpers import glasswright
from hydra.core.global_hydra import GlobalHydra

# Requests that are right, each with the keys that are damaged in it.
BASES = [
    [("train.steps", "5"), ("train.tolerance", "1e-4"), ("seed", "3")],
    [("system.n_particles", "128"), ("system.n_species", "2"), ("system.density", "1.6")],
    [("potential.diameter", "[0.8,1.0]"), ("potential.stiffness", "5"), ("potential.inverse_range", "5")],
    [("terms.poisson_ratio.objective.target", "0.2"), ("terms.poisson_ratio.weight", "2")],
    [("sampler.size", "2"), ("protocol.method", "newton"), ("protocol.force_tolerance", "1e-12")],
    [("optimizer.learning_rate", "1e-3"), ("optimizer.floor", "0.01")],
    [("design.diameter", "[0.1,3.0]"), ("train.rejection_limit", "0.5"), ("devices", "1")],
]
CHOICES = [
    ("potential", "harmonic_morse"),
    ("optimizer", "adam"),
    ("sampler", "tracked"),
    ("experiment", "single_poisson"),
]
NUMBERS = {"train.steps", "seed", "system.n_particles", "system.n_species", "sampler.size", "devices"}
PRESET = {
    "defaults": ["single_poisson", "_self_"],
    "system": {"n_particles": 128, "density": 1.6},
    "terms": {"poisson_ratio": {"objective": {"target": 0.2}, "weight": 1.0}},
    "design": {"diameter": [0.1, 3.0]},
    "train": {"steps": 5, "tolerance": 1.0e-4},
    "optimizer": {"learning_rate": 1.0e-3},
}


@dataclass
class Damage:
    """A request that is wrong.

    - `overrides`: what is typed.
    - `places`: one of these has to be in the message.
    - `preset`: the text of `experiment/damaged.yaml`, if there is one.
    """

    kind: str
    overrides: list[str]
    places: list[str]
    preset: str | None = None
    files: dict[str, str] = field(default_factory=dict)


def misspelt(name: str, generator: random.Random) -> str:
    """A name with one letter lost, doubled or replaced, or two exchanged."""
    while True:
        at = generator.randrange(len(name))
        other = generator.choice(
            [
                name[:at] + name[at + 1 :],
                name[:at] + name[at] + name[at:],
                name[:at] + generator.choice("abcxyz_") + name[at + 1 :],
                name[:at] + name[at : at + 2][::-1] + name[at + 2 :],
            ]
        )
        if other not in (name, "") and not other[0].isdigit() and other.strip("_"):
            return other


def wrong_value(key: str, generator: random.Random) -> str:
    """A value that this key cannot have."""
    values = ["abc", "true", "{a: 1}", "nan", "[[1],[2,3]]", "null"]
    if key in NUMBERS:
        values += ["-3", "0.5", "[1,2]", "1e99"]
    if key == "protocol.method":
        values = ["1", "steepest", "[newton]", "{a: 1}"]
    if key == "design.diameter":
        values = ["3", "[3,1]", "[1]", "[a,b]", "[0.1,0.2]", "true"]
    if key == "train.rejection_limit":
        values += ["1.5", "-0.1"]
    return generator.choice(values)


def damaged_command(generator: random.Random) -> Damage:
    """A command line with one override damaged."""
    base = generator.choice(BASES)
    which = generator.randrange(len(base))
    key, value = base[which]
    others = [f"{k}={v}" for i, (k, v) in enumerate(base) if i != which]
    kind = generator.choice(["key", "value", "name", "nesting", "syntax", "group", "target"])
    parts = key.split(".")
    if kind == "key":
        at = generator.randrange(len(parts))
        wrong = misspelt(parts[at], generator)
        new = ".".join([*parts[:at], wrong, *parts[at + 1 :]])
        return Damage(kind, [*others, f"{new}={value}"], [wrong])
    if kind == "value":
        wrong = wrong_value(key, generator)
        return Damage(kind, [*others, f"{key}={wrong}"], [parts[-1]])
    if kind == "name":
        group, choice = generator.choice(CHOICES)
        wrong = misspelt(choice, generator)
        return Damage(kind, [f"{group}={wrong}"], [wrong])
    if kind == "nesting":
        return Damage(kind, [*others, f"{key}.more={value}"], [key, f"{key}.more"])
    if kind == "syntax":
        wrong = generator.choice(
            [f"{key}=[{value}", f"{key}={{{value}", f"={value}", f"{key}=(1", key, f"{key}={value}]"]
        )
        return Damage(kind, [*others, wrong], [wrong, key])
    if kind == "group":
        wrong = misspelt("poisson_ratio", generator)
        return Damage(kind, [f"property=[{wrong}]"], [wrong])
    wrong = generator.choice(["os.system", "builtins.eval", "glasswright_plugins.samplers.fresh.Fresh", "3"])
    at = generator.choice(["potential", "protocol", "optimizer", "terms.poisson_ratio.objective"])
    return Damage(kind, [f"{at}._target_={wrong}"], [f"{at}._target_"])


def damaged_preset(generator: random.Random) -> Damage:
    """A preset with one place damaged."""
    content = yaml.safe_load(yaml.safe_dump(PRESET))
    kind = generator.choice(["preset key", "preset value", "preset nesting", "preset name", "preset text"])
    blocks = [("system", "n_particles"), ("system", "density"), ("train", "steps"), ("train", "tolerance")]
    block, key = generator.choice(blocks)
    places = [key]
    if kind == "preset key":
        where = generator.choice(["top", "block", "term"])
        if where == "top":
            wrong = misspelt(block, generator)
            content[wrong] = content.pop(block)
        elif where == "block":
            wrong = misspelt(key, generator)
            content[block][wrong] = content[block].pop(key)
        else:
            wrong = misspelt("objective", generator)
            content["terms"]["poisson_ratio"][wrong] = content["terms"]["poisson_ratio"].pop("objective")
        places = [wrong]
    elif kind == "preset value":
        content[block][key] = generator.choice(["abc", True, [1, 2], {"a": 1}, float("nan"), -1])
    elif kind == "preset nesting":
        what = generator.choice(["scalar", "list", "deeper"])
        content[block] = {"scalar": 3, "list": [1, 2], "deeper": {block: content[block]}}[what]
        places = [block]
    elif kind == "preset name":
        what = generator.choice(["defaults", "override", "property"])
        if what == "property":
            wrong = misspelt("pressure", generator)
            content["defaults"].insert(1, {"override /property": [wrong]})
        elif what == "override":
            wrong = misspelt("adam", generator)
            content["defaults"].insert(1, {"override /optimizer": wrong})
        else:
            wrong = misspelt("single_poisson", generator)
            content["defaults"][0] = wrong
        places = [wrong]
    text = "# @package _global_\n" + yaml.safe_dump(content, sort_keys=False)
    if kind == "preset text":
        lines = text.splitlines()
        at = generator.randrange(2, len(lines))
        lines[at] = generator.choice(["\t" + lines[at], lines[at] + ": :", "  - : [", "{" + lines[at], "%" + lines[at]])
        text, places = "\n".join(lines), ["damaged"]
    return Damage(kind, ["experiment=damaged"], places, preset=text)


def damages() -> list[Damage]:
    generator = random.Random(20240519)
    return [damaged_command(generator) for _ in range(130)] + [damaged_preset(generator) for _ in range(70)]


DAMAGES = damages()


@pytest.fixture(scope="module")
def hydra() -> Iterator[Hydra]:
    """A Hydra that composes trainings, for all requests without a preset of their own."""
    instance = start("train")
    yield instance
    GlobalHydra.instance().clear()


def refusal(damage: Damage, folder: Path, hydra: Hydra) -> str | None:
    """The message that a request is refused with; None if it is not."""
    if damage.preset is not None:
        (folder / "experiment").mkdir()
        (folder / "experiment" / "damaged.yaml").write_text(damage.preset)
        # Hydra reads a file once.
        hydra = start("train", extra_folder=str(folder))
    try:
        build(compose("train", damage.overrides, instance=hydra))
    except gw.RequestError as error:
        return str(error)
    return None


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    "damage",
    [
        # Two of five by default, of every kind.
        pytest.param(damage, id=f"{k}-{damage.kind}", marks=[pytest.mark.slow] if k % 5 > 1 else [])
        for k, damage in enumerate(DAMAGES)
    ],
)
def test_a_damaged_request_is_refused_with_the_place(damage, tmp_path, hydra):
    message = refusal(damage, tmp_path, hydra)
    assert message is not None, f"accepted: {damage}"
    assert "\n" not in message
    assert "Traceback" not in message
    assert any(place in message for place in damage.places), f"{damage} got: {message}"


def test_the_undamaged_requests_are_right(tmp_path, hydra):
    for base in BASES:
        assert refusal(Damage("none", [f"{key}={value}" for key, value in base], []), tmp_path, hydra) is None
    text = "# @package _global_\n" + yaml.safe_dump(PRESET, sort_keys=False)
    assert refusal(Damage("none", ["experiment=damaged"], [], preset=text), tmp_path, hydra) is None


@pytest.mark.wrong_types
@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES[::10], ids=[str(10 * k) for k in range(len(DAMAGES[::10]))])
def test_a_damaged_command_line_ends_with_two(damage, tmp_path):
    options = []
    if damage.preset is not None:
        (tmp_path / "own" / "experiment").mkdir(parents=True)
        (tmp_path / "own" / "experiment" / "damaged.yaml").write_text(damage.preset)
        options = ["--config-dir", "own"]
    result = glasswright("train", *options, *damage.overrides, cwd=tmp_path)
    assert result.returncode == 2, result.stderr
    lines = result.stderr.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("glasswright: error: ")
    assert any(place in lines[0] for place in damage.places)
    assert not (tmp_path / "outputs").exists()
