import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

# Before JAX is imported: what one process of a test session has compiled, no other of it compiles again, commands that
# tests run included. JAX warns of settings of the compiler that it takes for missing abilities of the machine.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    COMPILED = os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="glasswright-compiled-")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
else:
    COMPILED = None

import glasswright as gw
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from glasswright.registry import registry
from glasswright.run.extxyz import read_configuration


def pytest_unconfigure():
    if COMPILED is not None:
        shutil.rmtree(COMPILED, ignore_errors=True)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """One process for each file: what a file prepares and compiles for its tests is done once."""
    from xdist.scheduler import LoadFileScheduling

    return LoadFileScheduling(config, log)


REFERENCE = Path(__file__).parent / "reference"
PACKINGS = ("2d_n368_sp2_a5", "3d_n256_sp2_a10")


class Reference:
    """A packing with values from independent codes, and its minimum as our quench prepares it."""

    def __init__(self, name: str):
        self.path = REFERENCE / f"{name}.extxyz"
        self.data = json.loads((REFERENCE / f"{name}.json").read_text())
        self.configuration = read_configuration(self.path)
        self.potential = component("potential", "harmonic_morse")(**self.data["potential"])
        self.protocol = component("protocol", "quench")()
        self.prepared = self.protocol.prepare(self.potential, self.configuration, key=jax.random.key(0))
        assert self.prepared.accepted

    @functools.cached_property
    def state(self) -> gw.Equilibrium:
        """With what properties share: computed once, outside of `jax.jit`."""
        return self.protocol.attach(self.potential, self.prepared)


def glasswright(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess:
    """The command line in a process of its own."""
    command = [sys.executable, "-m", "glasswright", *arguments]
    env = os.environ | environment
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)


def component(kind: str, name: str):
    return registry().components(kind)[name].cls


@pytest.fixture(scope="session", params=PACKINGS)
def reference(request) -> Reference:
    return _reference(request.param)


@pytest.fixture(scope="session")
def reference_2d() -> Reference:
    return _reference(PACKINGS[0])


_cache: dict[str, Reference] = {}


def _reference(name: str) -> Reference:
    if name not in _cache:
        _cache[name] = Reference(name)
    return _cache[name]


def branches(potential, configuration, neighbors) -> np.ndarray:
    """On which branch of the harmonic-Morse potential each pair is: derivatives jump between them."""
    i, j, mask = potential.pairs(configuration, neighbors)
    r = jnp.linalg.norm(configuration.displacement(i, j), axis=1)
    s, *_ = potential.pair_parameters(configuration, i, j)
    a = potential.inverse_range
    branch = (r >= s).astype(int) + (r >= s + 5.0 / a) + (r >= s + 9.9 / a)
    return np.asarray(jnp.where(mask, branch, -1))
