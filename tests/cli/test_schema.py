"""The JSON schema fits what is composed and what presets hold, and refuses what is misspelt."""

import json

import glasswright as gw
import pytest
from glasswright import cli
from glasswright.cli.schema import schema
from glasswright.config.folder import configuration_folder
from omegaconf import OmegaConf

jsonschema = pytest.importorskip("jsonschema")
EXPERIMENTS = sorted((configuration_folder() / "experiment").glob("*.yaml"))


def errors(instance, json_schema) -> list[str]:
    validator = jsonschema.Draft202012Validator(json_schema)
    return [error.message for error in validator.iter_errors(instance)]


@pytest.fixture(scope="module")
def composed():
    return schema("train")


@pytest.fixture(scope="module")
def preset():
    return schema("train", preset=True)


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_presets_and_what_they_compose_to_fit(composed, preset, path):
    # Not by PyYAML itself, to which 3e-3 is a text.
    content = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    assert errors(content, preset) == []
    config = OmegaConf.to_container(gw.compose(f"experiment={path.stem}"), resolve=True)
    assert errors(config, composed) == []


@pytest.mark.parametrize(
    ("command", "overrides"),
    [
        ("analyse", ["experiment=poisson_and_pressure"]),
        ("analyse", ["configuration=packing.extxyz", "property=[pressure]", "property_scale={pressure:0.1}"]),
        ("analyse", ["property=[pressure]", "parts=[bonds,vibrations]", "change.pressure=0.1", "average=clipped"]),
        ("measure", ["configuration=packing.extxyz", "gradient=true"]),
    ],
)
def test_what_other_commands_compose_fits(command, overrides):
    # Not resolved: what follows the system follows the file, which is not read.
    config = OmegaConf.to_container(gw.compose(*overrides, command=command), resolve=False)
    json_schema = schema(command, preset=True)
    assert errors(config, json_schema) == []
    for damage in ({"sed": 1}, {"relax": "no"}, {"configuration": 3}):
        assert errors(config | damage, json_schema), damage


def test_what_is_misspelt_or_of_another_type_does_not_fit(composed, preset):
    config = OmegaConf.to_container(gw.compose(), resolve=True)
    for damage in (
        lambda c: c["train"].update(stps=3),
        lambda c: c["train"].update(steps="many"),
        lambda c: c["potential"].update(diametre=1.0),
        lambda c: c["potential"].update(stiffness="hard"),
        lambda c: c["potential"].update(_target_="os.system"),
        lambda c: c["terms"]["poisson_ratio"].update(wieght=1.0),
        lambda c: c["protocol"].update(method="steepest"),
        lambda c: c["design"].update(diameter=[1.0]),
        lambda c: c.update(sed=1),
    ):
        wrong = json.loads(json.dumps(config))
        damage(wrong)
        assert errors(wrong, composed), damage
    assert errors({"train": {"stps": 3}}, preset)
    assert errors({"system": {"n_particles": "${other}"}}, preset) == []


def test_the_command_prints_it(capsys):
    assert cli.main(["schema", "measure", "--preset"]) == 0
    printed = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator.check_schema(printed)
    assert "configuration" in printed["properties"]
    assert cli.main(["schema", "trian"]) == 2
    assert "did you mean 'train'?" in capsys.readouterr().err
