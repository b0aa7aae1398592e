"""Paths in a configuration: what they name does not depend on where somebody stands, and is what it was."""

import json
from pathlib import Path

import equinox as eqx
import glasswright as gw
import pytest
import yaml
from glasswright._errors import RequestError
from glasswright.commands.train import build
from glasswright.config.paths import fingerprints, run_request, with_absolute_paths
from glasswright.config.values import check_value
from glasswright.registry import registry
from glasswright.registry.component import Component
from glasswright.registry.parameters import parameters
from helpers import REFERENCE, component

PACKING = REFERENCE / "2d_n368_sp2_a5.extxyz"
NETWORK = ["experiment=null", "potential=harmonic_spring_network", "property=[pressure]", "design.stiffness=[0.1,10]"]
NETWORK += ["terms.pressure.objective.target=0.1"]


class OfAFile(eqx.Module):
    path: Path
    either: Path | str
    optional: Path | None = None
    default: Path = Path("a/b")
    text: str = "x"


def test_an_annotation_says_that_a_parameter_is_a_path():
    declared = parameters(Component("property", "of_a_file", OfAFile, "", "", ""))
    assert {name: parameter.kind for name, parameter in declared.items()} == {
        "path": "path",
        "either": "path",
        "optional": "path",
        "default": "path",
        "text": "text",
    }
    assert declared["optional"].optional
    assert declared["default"].default == "a/b"


@pytest.fixture
def folders(tmp_path, monkeypatch) -> Path:
    """Two folders with a packing of the same name; this process stands in the first."""
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "packing.extxyz").write_text(PACKING.read_text())
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def kept(folder: Path, config: str) -> Path:
    """A run directory with this configuration."""
    folder.mkdir()
    (folder / "config.yaml").write_text(config)
    (folder / "provenance.json").write_text(json.dumps({"files": fingerprints(config)}))
    return folder


@pytest.mark.parametrize("given", ["packing.extxyz", "../here/packing.extxyz", "./packing.extxyz", "link.extxyz"])
def test_a_run_keeps_its_packing_wherever_it_is_resumed(folders, monkeypatch, given):
    (folders / "here" / "link.extxyz").symlink_to("packing.extxyz")
    experiment = build(gw.compose(*NETWORK, f"potential.packing={given}"))
    run = kept(folders / "run", experiment.config)
    monkeypatch.chdir(folders / "there")
    config = run_request(run)
    assert config["potential"]["packing"] == str(folders / "here" / "packing.extxyz")
    assert eqx.tree_equal(build(config).potential, experiment.potential)


@pytest.mark.wrong_types
def test_a_file_that_has_changed_is_refused(folders):
    run = kept(folders / "run", build(gw.compose(*NETWORK, "potential.packing=packing.extxyz")).config)
    packing = folders / "here" / "packing.extxyz"
    packing.write_text(packing.read_text().replace("0.1", "0.2", 1))
    for refuse in (lambda: run_request(run, "DIR"), lambda: gw.resume(run), lambda: gw.analyse(f"run={run}")):
        with pytest.raises(RequestError) as refused:
            refuse()
        assert "was made with another file than the" in str(refused.value)
        assert "(potential.packing)" in str(refused.value)
    packing.unlink()
    with pytest.raises(RequestError, match="no such file"):
        gw.resume(run)


def test_what_earlier_versions_kept_is_meant_from_where_they_were_started(folders, monkeypatch):
    config = yaml.safe_load(build(gw.compose(*NETWORK, "potential.packing=packing.extxyz")).config)
    config["potential"]["packing"] = "packing.extxyz"
    run = kept(folders / "run", yaml.safe_dump(config))
    (run / "provenance.json").write_text("{}")
    (run / ".hydra").mkdir()
    (run / ".hydra" / "hydra.yaml").write_text(
        yaml.safe_dump({"hydra": {"runtime": {"cwd": str(folders / "here")}, "run": {"dir": "${now:%Y}"}}})
    )
    monkeypatch.chdir(folders / "there")
    assert run_request(run)["potential"]["packing"] == str(folders / "here" / "packing.extxyz")


def test_the_packing_of_a_run_directory_counts(folders):
    (folders / "here" / "first").mkdir()
    (folders / "here" / "packing.extxyz").rename(folders / "here" / "first" / "final.extxyz")
    config = build(gw.compose(*NETWORK, "potential.packing=first")).config
    (file,) = fingerprints(config).values()
    assert file["path"] == str(folders / "here" / "first")
    run = kept(folders / "run", config)
    (folders / "here" / "first" / "final.extxyz").write_text("another")
    with pytest.raises(RequestError, match="another file"):
        run_request(run)


def test_paths_are_found_at_any_depth(tmp_path):
    network = {"_target_": component_target("potential", "harmonic_spring_network"), "packing": "p"}
    pair = {"_target_": component_target("potential", "soft_sphere"), "diameter": "sizes.csv", "packing": "p"}
    data = {"potential": {"parts": [network, pair]}, "terms": {"a": {"property": {"inner": network}}}, "packing": "p"}
    absolute = with_absolute_paths(data, tmp_path)
    assert absolute["potential"]["parts"][0]["packing"] == str(tmp_path / "p")
    assert absolute["potential"]["parts"][1] == pair | {"diameter": str(tmp_path / "sizes.csv")}
    assert absolute["terms"]["a"]["property"]["inner"]["packing"] == str(tmp_path / "p")
    assert absolute["packing"] == "p"


def component_target(kind: str, name: str) -> str:
    cls = component(kind, name)
    return f"{cls.__module__}.{cls.__qualname__}"


def test_an_analysis_keeps_the_path_of_its_packing(folders):
    from glasswright.commands.analyse import build_analysis

    words = ["configuration=packing.extxyz", "property=[pressure]", "relax=true", "parts=[bonds]"]
    request = build_analysis(gw.compose(*words, command="analyse"))
    assert yaml.safe_load(request.config)["configuration"] == str(folders / "here" / "packing.extxyz")
    assert request.source == "packing.extxyz"


def test_a_path_is_a_text():
    (packing, *_) = parameters(registry().get("potential", "harmonic_spring_network")).values()
    assert check_value(packing, "a", "potential.packing") == Path("a")
    for wrong in (["a"], 1, None):
        with pytest.raises(RequestError, match=r"^potential.packing.*: must be the name of a file or a directory"):
            check_value(packing, wrong, "potential.packing")
