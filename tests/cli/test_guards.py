"""Guards at every door: a caller's own Hydra, 64-bit numbers, devices that are not there, sizes that cannot be held."""

import importlib
import subprocess
import sys
import types
from importlib.metadata import EntryPoint
from pathlib import Path

import glasswright as gw
import hydra
import jax
import jax.numpy as jnp
import pytest
from glasswright import cli
from glasswright._jax import check_64_bit, prepare_jax
from glasswright.jobs import memory
from glasswright.registry import Registry
from helpers import ROOT, component
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobRuntime

PACKING = ROOT / "tests" / "reference" / "2d_n100_sp2_a5.extxyz"
APP = """
import hydra
import glasswright as gw
gw.compose()  # before anything of Hydra is used, and twice
gw.compose("sampler.size=2")
from hydra.core.hydra_config import HydraConfig

@hydra.main(version_base=None, config_path=None)
def app(config):
    before = HydraConfig.get().runtime.output_dir
    gw.compose("property=[pressure]", "configuration=PACKING", command="measure")
    after = HydraConfig.get()
    assert after.runtime.output_dir == before
    print(after.job.name, hydra.compose(overrides=["+a=1"]).a)

app()
"""


def refused() -> None:
    """A request that is wrong."""
    with pytest.raises(gw.RequestError):
        gw.compose("sampler.sise=2")


CALLS = {
    "compose": lambda: gw.compose("sampler.size=2"),
    "refused": refused,
    "measure": lambda: gw.compose(f"configuration={PACKING}", command="measure"),
    "command line": lambda: cli.main(["train", "--cfg", "job"]),
    "command line, refused": lambda: cli.main(["train", "train.stps=3"]),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_callers_hydra_is_left_as_it_was(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    GlobalHydra.instance().clear()
    with hydra.initialize(version_base="1.2", config_path=None, job_name="mine"):
        own, base = GlobalHydra.instance().hydra, hydra.version.getbase()
        config = hydra.compose(overrides=["+a=1"], return_hydra_config=True)
        HydraConfig.instance().set_config(config)
        groups = sorted(ConfigStore.instance().repo)
        CALLS[call]()
        assert GlobalHydra.instance().hydra is own
        assert hydra.version.getbase() == base
        assert HydraConfig.get().job.name == config.hydra.job.name
        assert JobRuntime().get("name") == "mine"
        assert sorted(ConfigStore.instance().repo) == groups
        assert hydra.compose(overrides=["+a=2"]).a == 2
    HydraConfig.instance().cfg = None


def test_a_sweep_of_a_caller_keeps_its_name(tmp_path):
    (tmp_path / "program.py").write_text(APP.replace("PACKING", str(PACKING)))
    command = [sys.executable, "program.py", "-m", "+x=1,2"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert [line for line in result.stdout.splitlines() if line.startswith("program")] == ["program 1", "program 1"]


@pytest.fixture
def in_32_bits():
    """What a library does that wants 32-bit numbers."""
    jax.config.update("jax_enable_x64", False)
    yield
    jax.config.update("jax_enable_x64", True)


@pytest.mark.parametrize(
    "job",
    [
        lambda: gw.compose(),
        lambda: gw.measure(f"configuration={PACKING}", "property=[coordination]"),
        lambda: gw.build(dict(gw.compose("system.n_particles=64"))),
        prepare_jax,
    ],
    ids=["compose", "measure", "build", "prepare_jax"],
)
def test_64_bit_numbers_are_turned_on_again_with_a_warning(in_32_bits, caplog, job):
    job()
    assert jnp.zeros(()).dtype == jnp.float64
    assert caplog.text.count("jax_enable_x64") == 1


@pytest.mark.wrong_types
def test_what_was_made_in_32_bits_is_refused(in_32_bits):
    potential = component("potential", "harmonic_morse")()
    with pytest.raises(gw.RequestError, match=r"potential\.diameter: has 32-bit numbers"):
        check_64_bit(potential, "potential")


@pytest.mark.parametrize("where", ["import", "hook"])
def test_a_plugin_that_turns_them_off_is_named(monkeypatch, capsys, where):
    module = types.ModuleType("xoff")
    monkeypatch.setitem(sys.modules, "xoff", module)
    off = 'jax.config.update("jax_enable_x64", False)'
    lines = [
        "import glasswright as gw, jax",
        off if where == "import" else "",
        "@gw.hookimpl",
        "def register_properties(register):",
        f"    {off if where == 'hook' else 'pass'}",
    ]
    entry_point = EntryPoint("xoff", "xoff", "glasswright")
    monkeypatch.setattr(EntryPoint, "load", lambda self: exec("\n".join(lines), vars(module)) or module)
    components = Registry()
    record = components.load(entry_point)
    assert (record.status, jnp.zeros(()).dtype) == ("loaded", jnp.float64)
    assert "jax_enable_x64" in record.side_effect
    monkeypatch.setattr(importlib.import_module("glasswright.registry.registry"), "registry", lambda: components)
    monkeypatch.setattr("glasswright.cli.probes.probes", dict)
    assert cli.main(["doctor"]) == 1
    assert "plugin 'xoff'" in capsys.readouterr().err


@pytest.mark.parametrize("platform", ["cuda", "tpu", "rocm", "nonsense"])
@pytest.mark.parametrize(
    "error", [RuntimeError("Unable to initialize backend\n(set JAX_PLATFORMS='')"), AssertionError()]
)
def test_a_device_that_is_not_there_is_one_line(tmp_path, monkeypatch, capsys, platform, error):
    monkeypatch.chdir(tmp_path)

    def devices():
        raise error

    monkeypatch.setattr(jax, "devices", devices)
    monkeypatch.setenv("JAX_PLATFORMS", platform)
    for arguments in (["train"], ["measure", f"configuration={PACKING}"]):
        assert cli.main(arguments) == cli.REQUEST_WRONG
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"glasswright: error: JAX_PLATFORMS={platform}: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    ("overrides", "what"),
    [
        (["system.n_particles=4000000"], "pairs and Hessian would take 75 GB"),
        (["system.n_particles=1000000000"], "pairs and Hessian would take 18 TB"),
        (["system.n_particles=60000", "protocol.hessian=dense"], "a dense Hessian would take 107 GB"),
        (["system.n_particles=60000", "system.dimension=3", "protocol.hessian=dense"], "Hessian would take 241 GB"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_size_that_cannot_be_held_is_refused_with_what_it_would_take(tmp_path, monkeypatch, capsys, overrides, what):
    monkeypatch.setattr(memory, "machine_memory", lambda: 32 * 1024**3)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", *overrides]) == cli.REQUEST_WRONG
    (line,) = capsys.readouterr().err.splitlines()
    assert overrides[0] in line
    assert what in line
    assert "this machine has 32 GB" in line
    assert list(tmp_path.iterdir()) == []


def test_sizes_that_can_be_held_are_not_refused(monkeypatch):
    monkeypatch.setattr(memory, "machine_memory", lambda: 32 * 1024**3)
    memory.check_memory("N", 400_000, 2, component("protocol", "quench")())
    memory.check_memory("N", 100_000, 2, component("protocol", "quench")(hessian="matrix_free"))
    memory.check_memory("N", 2048, 3, component("protocol", "quench")(hessian="dense"))
    monkeypatch.setattr(memory, "machine_memory", lambda: None)
    memory.check_memory("N", 10**9, 3)


def test_this_machine_has_memory():
    there = memory.machine_memory()
    assert there is None or there > 2**28


def test_limits_of_containers_count(tmp_path, monkeypatch):
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(memory, "LIMITS", (str(limit), str(Path("missing"))))
    limit.write_text("max\n")
    free = memory.machine_memory()
    limit.write_text(f"{2**29}\n")
    assert memory.machine_memory() == 2**29
    assert free is None or free > 2**29
