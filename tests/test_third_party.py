"""Packages of other people, built and installed by pip: a healthy one works, broken ones change nothing."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from glasswright.run.files import read_metrics

PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "{name}"
version = "2.3.4"
[project.entry-points.glasswright]
{entry_point} = "{module}"
[tool.hatch.build.targets.wheel]
packages = ["{module}"]
"""

HEALTHY = """
import equinox as eqx
import glasswright as gw
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class Lopsidedness(gw.AbstractProperty):
    '''Relative difference of two moduli, scaled.'''

    scale: float = 1.0

    requires = gw.Equilibrium

    def measure(self, state):
        c = state.elastic_tensor
        return self.scale * (c[0, 0, 0, 0] - c[1, 1, 1, 1]) / (c[0, 0, 0, 0] + c[1, 1, 1, 1])


@gw.hookimpl
def register_properties(register):
    register("lopsidedness", Lopsidedness)


class LatticeWithNoise(gw.AbstractSystem):
    '''A square lattice with noise, the two species in random places.'''

    side: int = 12
    noise: float = 0.2
    density: Float[Array, ""] = eqx.field(converter=lambda x: jnp.asarray(x, dtype=float), default=1.6)
    n_species = 2
    dimension = 2

    @property
    def n_particles(self):
        return self.side**2

    @property
    def box(self):
        return jnp.sqrt(self.n_particles / self.density) * jnp.eye(2)

    @property
    def largest_particles(self):
        return gw.Configuration(jnp.zeros((2, 2)), self.box, jnp.arange(2))

    def start(self, key, index=0):
        shift, order = jax.random.split(key)
        column, row = jnp.meshgrid(jnp.arange(self.side), jnp.arange(self.side))
        sites = jnp.stack([column.ravel(), row.ravel()], axis=1)
        fractional = (sites + self.noise * jax.random.normal(shift, sites.shape)) / self.side
        species = jax.random.permutation(order, jnp.arange(self.n_particles) % 2)
        return gw.Configuration(fractional, self.box, species)


@gw.hookimpl
def register_systems(register):
    register("lattice_with_noise", LatticeWithNoise)


class Shaking(gw.AbstractTreatment):
    '''Displaces every particle by normal numbers.

    **Arguments:**

    - `distance`: standard deviation of each coordinate, relative to the box.
    '''

    distance: Float[Array, ""] = eqx.field(converter=lambda x: jnp.asarray(x, dtype=float), default=0.02)

    def apply(self, potential, configuration, *, key):
        noise = jax.random.normal(key, configuration.fractional.shape)
        moved = eqx.tree_at(lambda c: c.fractional, configuration, configuration.fractional + self.distance * noise)
        return gw.Treated(moved)


@gw.hookimpl
def register_treatments(register):
    register("shaking", Shaking)


@gw.hookimpl
def config_search_paths():
    return ["pkg://third_party_healthy.conf"]
"""

EXPERIMENT = """
# @package _global_
defaults:
  - single_poisson
  - override /property: [lopsidedness]
  - _self_
terms:
  lopsidedness:
    objective:
      target: 0.0
"""

CLASH = HEALTHY.split("class LatticeWithNoise")[0].replace('"lopsidedness"', '"pressure"')
BROKEN = {
    "failing": ("import a_library_that_is_not_there\n", "ModuleNotFoundError: No module named"),
    "clashing": (CLASH, "property 'pressure' exists already: it belongs to glasswright"),
    "misspelt": (
        CLASH.replace("register_properties", "register_property"),
        "did you mean 'register_properties'?",
    ),
    "newer": ("GLASSWRIGHT_API_VERSION = 99\n", "speaks plugin API version 99"),
}


def write_package(folder: Path, label: str, source: str, files: dict[str, str] | None = None) -> Path:
    module = f"third_party_{label}"
    (folder / label / module).mkdir(parents=True)
    (folder / label / "pyproject.toml").write_text(
        PYPROJECT.format(name=f"third-party-{label}", entry_point=f"visitor_{label}", module=module)
    )
    (folder / label / module / "__init__.py").write_text(textwrap.dedent(source))
    for name, text in (files or {}).items():
        path = folder / label / module / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.lstrip())
    return folder / label


@pytest.fixture(scope="session")
def installed(tmp_path_factory) -> Path:
    """A folder with a healthy package and all the broken ones, installed at once and without network."""
    folder = tmp_path_factory.mktemp("packages")
    files = {"conf/__init__.py": "", "conf/experiment/balanced.yaml": EXPERIMENT}
    packages = [write_package(folder, "healthy", HEALTHY, files)]
    packages += [write_package(folder, label, source) for label, (source, _) in BROKEN.items()]
    target = tmp_path_factory.mktemp("site")
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
    ]
    subprocess.run([*command, "--target", str(target), *map(str, packages)], check=True, capture_output=True)
    return target


def glasswright(*arguments: str, cwd: Path, site: Path | None, **environment: str) -> subprocess.CompletedProcess:
    env = os.environ | environment
    if site is not None:
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH", "")]))
    command = [sys.executable, "-m", "glasswright", *arguments]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def listings(installed, tmp_path_factory):
    """What `glasswright plugins` says without and with the packages."""
    cwd = tmp_path_factory.mktemp("cwd")
    before = glasswright("plugins", "--json", cwd=cwd, site=None)
    after = glasswright("plugins", "--json", cwd=cwd, site=installed)
    assert before.returncode == after.returncode == 0
    return json.loads(before.stdout), json.loads(after.stdout), after.stderr


@pytest.mark.parametrize("label", BROKEN)
def test_a_broken_package_is_listed_with_its_error(listings, label):
    _, after, warnings = listings
    (record,) = [plugin for plugin in after["plugins"] if plugin["entry_point"] == f"visitor_{label}"]
    assert (record["distribution"], record["version"]) == (f"third-party-{label}", "2.3.4")
    assert record["status"] == "failed"
    assert BROKEN[label][1] in record["error"]
    assert record["components"] == {}
    (warning,) = [line for line in warnings.splitlines() if f"visitor_{label}" in line]
    assert warning.startswith("glasswright: warning: ")


def test_broken_packages_change_nothing_and_the_healthy_one_adds_its_own(listings):
    before, after, _ = listings
    added = {"property": "lopsidedness", "system": "lattice_with_noise", "treatment": "shaking"}
    expected = before["components"] | {
        kind: sorted([*before["components"][kind], name]) for kind, name in added.items()
    }
    assert after["components"] == expected
    assert after["plugins"][0] == before["plugins"][0]  # built-ins first
    names = [plugin["entry_point"] for plugin in after["plugins"][1:]]
    assert names == sorted(names)


@pytest.mark.wrong_types
def test_strict_refuses_and_disable_leaves_out(installed, tmp_path):
    strict = glasswright("train", cwd=tmp_path, site=installed, GLASSWRIGHT_STRICT_PLUGINS="1")
    assert strict.returncode == 2
    assert "third-party-clashing" in strict.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []
    disabled = ",".join(f"visitor_{label}" for label in BROKEN)
    shown = glasswright(
        "train",
        "--cfg",
        "job",
        "experiment=balanced",  # found in the folder that the package ships
        cwd=tmp_path,
        site=installed,
        GLASSWRIGHT_STRICT_PLUGINS="1",
        GLASSWRIGHT_DISABLE_PLUGINS=disabled,
    )
    assert shown.returncode == 0, shown.stderr
    assert shown.stderr == ""
    assert "_target_: third_party_healthy.Lopsidedness" in shown.stdout


def test_a_missing_component_names_the_broken_packages(installed, tmp_path):
    result = glasswright("train", "property=[fabric]", cwd=tmp_path, site=installed)
    assert result.returncode == 2
    line = result.stderr.splitlines()[-1]
    assert "no such property" in line
    assert "visitor_failing" in line
    assert "a_library_that_is_not_there" in line
    assert list(tmp_path.iterdir()) == []


def test_a_third_party_property_trains_beside_a_built_in_one(installed, tmp_path):
    result = glasswright(
        "train",
        "property=[poisson_ratio,lopsidedness]",
        "terms.lopsidedness.weight=0.5",
        "terms.lopsidedness.property.scale=2",
        "terms.lopsidedness.objective.target=0.1",
        "train.steps=2",
        "hydra.run.dir=run",
        cwd=tmp_path,
        site=installed,
    )
    assert result.returncode == 0, result.stderr
    lines = read_metrics(tmp_path / "run")
    assert len(lines) == 2
    terms = lines[0]["terms"]
    assert set(terms) == {"poisson_ratio", "lopsidedness"}
    expected = terms["poisson_ratio"]["loss"] + 0.5 * terms["lopsidedness"]["loss"]
    assert lines[0]["loss"] == pytest.approx(expected, rel=1e-12)
    assert terms["lopsidedness"]["loss"] == pytest.approx((terms["lopsidedness"]["value"] - 0.1) ** 2, rel=1e-9)
    assert lines[1]["design"] != lines[0]["design"]
    assert "scale: 2.0" in (tmp_path / "run" / "config.yaml").read_text()


def test_a_third_party_system_trains_and_passes_the_checks(installed, tmp_path):
    result = glasswright(
        "train",
        "system=lattice_with_noise",
        "system.noise=0.1",
        "system.side=12",
        "train.steps=2",
        "hydra.run.dir=run",
        cwd=tmp_path,
        site=installed,
    )
    assert result.returncode == 0, result.stderr
    config = (tmp_path / "run" / "config.yaml").read_text()
    assert "_target_: third_party_healthy.LatticeWithNoise" in config
    assert "n_species: 2" in config  # the potential's, which follows the system's
    assert "dropped from experiment 'single_poisson': system.n_particles=368" in result.stderr
    assert (tmp_path / "run" / "final.extxyz").read_text().startswith("144\n")
    check = (
        "from glasswright.testing import check_system; from third_party_healthy import LatticeWithNoise; "
        "check_system(LatticeWithNoise())"
    )
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(installed), os.environ.get("PYTHONPATH", "")])}
    checked = subprocess.run([sys.executable, "-c", check], env=env, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_a_third_party_treatment_is_trained_through(installed, tmp_path):
    result = glasswright(
        "train",
        "system.n_particles=64",
        "sampler=fresh",
        "sampler.size=3",
        "property=[energy_per_particle]",
        "terms.energy_per_particle.objective.target=-1",
        "+treatment@protocol.treatments.shake=shaking",
        "design.protocol.treatments.shake.distance=[1e-3,0.2]",
        "~design.diameter",
        "~design.binding_energy",
        "optimizer=adam",
        "optimizer.learning_rate=0.05",
        "train.steps=2",
        "hydra.run.dir=run",
        cwd=tmp_path,
        site=installed,
    )
    assert result.returncode == 0, result.stderr
    lines = read_metrics(tmp_path / "run")
    assert lines[0]["gradients"]["distance"]["estimator"] == "evolution"
    assert lines[0]["preparations"] == 6
    first, second = (line["design"]["distance"] for line in lines)
    # The first step of Adam is the learning rate, in the logarithm.
    assert abs(np.log(second / first)) == pytest.approx(0.05, rel=1e-3)
