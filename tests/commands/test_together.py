"""What the processes of one run compare before they begin."""

import dataclasses
from pathlib import Path

import glasswright as gw
import numpy as np
import pytest
from glasswright._errors import RequestError
from glasswright.commands import together
from glasswright.commands.compose import compose
from glasswright.commands.table import load_command
from glasswright.config.data import resolved
from glasswright.execution import hosts
from glasswright.execution.container import from_bytes, to_bytes
from glasswright.execution.peers import AbstractPeers
from helpers import REFERENCE
from omegaconf import OmegaConf

FILE = f"configuration={REFERENCE / '2d_n368_sp2_a5.extxyz'}"
# Nothing is computed before the work begins.
PACKING = [FILE, "property=[pressure]", "relax=true"]


class Twin(AbstractPeers):
    """Two processes, of which this is the second; the first one said what this one said in an earlier round."""

    rank, count = 1, 2

    def __init__(self, said: list[bytes]):
        self._said, self.words = said, []

    def allgather(self, data: bytes) -> list[bytes]:
        self.words.append(data)
        number = len(self.words) - 1
        before = from_bytes(self._said[number])["1"] if number < len(self._said) else from_bytes(data)["1"]
        return [to_bytes({0: before}), data]

    def leave(self, error: BaseException | None = None) -> None:
        pass


def words(monkeypatch: pytest.MonkeyPatch, command: str, *overrides: str, said: list[bytes] | None = None):
    """Check a request together with what another process has said; returns what this one has said."""
    twin = Twin([] if said is None else said)
    monkeypatch.setattr(hosts, "peers", lambda: twin)
    config = compose(command, list(overrides))
    from hydra.core.hydra_config import HydraConfig

    HydraConfig.instance().set_config(config)
    request = load_command(command).build(config, Path.cwd())
    together.check_together(twin, command, request, config)
    return twin.words


@pytest.mark.parametrize(
    ("command", "first", "second", "message"),
    [
        ("train", ["seed=1"], ["seed=2"], "seed: 1 in process 0, 2 in process 1 of 2"),
        ("train", ["hydra.run.dir=r0"], ["hydra.run.dir=r1"], "hydra.run.dir: r0 in process 0, r1 in process 1"),
        ("train", ["potential.inverse_range=5"], ["potential.inverse_range=6"], "potential.inverse_range: 5"),
        ("train", [], ["potential.diameter=sizes.txt"], "potential.diameter: "),
        ("measure", PACKING, [*PACKING, "gradient=true"], "gradient: False in process 0, True in process 1"),
        ("measure", PACKING, [*PACKING, "potential.diameter=[0.8,1.0]"], "potential.diameter: "),
        ("analyse", PACKING, [*PACKING, "parts=[bonds]"], "parts: "),
    ],
    ids=lambda value: " ".join(value).removeprefix(" ".join(PACKING))[:40] if isinstance(value, list) else None,
)
def test_processes_of_one_run_are_asked_for_the_same(monkeypatch, tmp_path, command, first, second, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sizes.txt").write_text("0.8\n1.0\n")
    said = words(monkeypatch, command, *first)
    with pytest.raises(RequestError, match=message):
        words(monkeypatch, command, *second, said=said)


def test_what_refers_to_the_environment_is_compared_by_its_value(monkeypatch):
    """Also where a part of the configuration cannot be resolved before a file is read."""
    config = OmegaConf.create(
        {"seed": "${oc.env:RANK}", "a": {"b": ["${oc.env:RANK}", 1]}, "file": "${system.density}", "missing": "???"}
    )
    monkeypatch.setenv("RANK", "7")
    expected = {"seed": "7", "a": {"b": ["7", 1]}, "file": "${system.density}", "missing": "???"}
    assert resolved(config) == expected


def test_a_file_of_the_same_name_must_say_the_same(monkeypatch, tmp_path):
    """Hosts may have a disk of their own."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "sizes.txt"
    file.write_text("0.8\n1.0\n")
    said = words(monkeypatch, "train", "potential.diameter=sizes.txt")
    words(monkeypatch, "train", "potential.diameter=sizes.txt", said=said)
    file.write_text("0.8\n1.1\n")
    with pytest.raises(RequestError, match=r"potential.diameter: \[0.8, 1.0\] in process 0, \[0.8, 1.1\] in process 1"):
        words(monkeypatch, "train", "potential.diameter=sizes.txt", said=said)
    packing = tmp_path / "packing.extxyz"
    content = (REFERENCE / "2d_n368_sp2_a5.extxyz").read_text()
    packing.write_text(content)
    request = [f"configuration={packing}", "relax=true"]
    said = words(monkeypatch, "measure", *request)
    lines = content.splitlines()
    lines[2], lines[3] = lines[3], lines[2]
    packing.write_text("\n".join(lines) + "\n")
    with pytest.raises(RequestError, match="contents of files: "):
        words(monkeypatch, "measure", *request, said=said)


@pytest.mark.parametrize("overrides", [["devices=1"], ["chunk_size=2"]])
def test_what_changes_no_result_may_differ(monkeypatch, overrides):
    said = words(monkeypatch, "train")
    words(monkeypatch, "train", *overrides, said=said)


def test_commands_and_versions_must_be_the_same(monkeypatch):
    said = words(monkeypatch, "measure", *PACKING)
    with pytest.raises(RequestError, match="command: measure in process 0, analyse in process 1"):
        words(monkeypatch, "analyse", *PACKING, said=said)
    said = words(monkeypatch, "train")
    monkeypatch.setattr(together, "versions", lambda: {"python": "3", "glasswright": "0.0.1"})
    with pytest.raises(RequestError, match=r"version.glasswright: .* in process 0, 0.0.1 in process 1"):
        words(monkeypatch, "train", said=said)
    monkeypatch.undo()
    monkeypatch.setattr(together, "plugins", lambda: [{"entry_point": "mine", "version": "3", "status": "loaded"}])
    with pytest.raises(RequestError, match=r"plugin.builtin: .* in process 0, not given in process 1"):
        words(monkeypatch, "train", said=said)


def test_python_compares_experiments_too(monkeypatch, tmp_path):
    """Under `jax.distributed`, which a script has initialised; also those that no configuration describes."""
    experiment = dataclasses.replace(gw.build(gw.compose("system.n_particles=64", "train.steps=1")), config=None)
    twin = Twin([])
    monkeypatch.setattr(hosts, "peers", lambda: twin)
    together.check_together(twin, "train", experiment)
    again = Twin(twin.words)
    monkeypatch.setattr(hosts, "peers", lambda: again)
    together.check_together(again, "train", dataclasses.replace(experiment))
    for change, message in (({"seed": 7}, "seed: 0 in process 0, 7 in process 1"), ({"clip": 1.0}, "clip: ")):
        other = Twin(twin.words)
        monkeypatch.setattr(hosts, "peers", lambda other=other: other)
        with pytest.raises(RequestError, match=message):
            together.check_together(other, "train", dataclasses.replace(experiment, **change))
    potential = dataclasses.replace(experiment.potential, diameter=np.array([0.7, 1.0]))
    other = Twin(twin.words)
    monkeypatch.setattr(hosts, "peers", lambda: other)
    with pytest.raises(RequestError, match=r"contents of files|potential"):
        together.check_together(other, "train", dataclasses.replace(experiment, potential=potential))
    other = Twin(twin.words)
    monkeypatch.setattr(hosts, "peers", lambda: other)
    monkeypatch.setattr("glasswright.api.peers", lambda: other)
    with pytest.raises(RequestError, match=r"the processes of one run"):
        gw.train(dataclasses.replace(experiment, seed=7), directory=tmp_path / "run")
    assert not (tmp_path / "run").exists()
