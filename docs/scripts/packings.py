"""Shared by the scripts of this folder: many packings of the untrained ensemble, and raw numbers kept in a file."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import glasswright as gw
import numpy as np
from glasswright.evaluation.design import resolve_design
from glasswright.evaluation.ensemble import Ensemble
from glasswright.evaluation.measurement import Sample
from glasswright.evaluation.problem import Model, Problem
from glasswright.execution.executor import Executor
from glasswright_plugins.objectives.target import Target
from glasswright_plugins.potentials.harmonic_morse import HarmonicMorse
from glasswright_plugins.properties.bulk_modulus import BulkModulus
from glasswright_plugins.properties.poisson_ratio import PoissonRatio
from glasswright_plugins.properties.pressure import Pressure
from glasswright_plugins.properties.shear_modulus import ShearModulus
from glasswright_plugins.protocols.quench import Quench
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

IMAGES = Path(__file__).parent.parent / "images"
PROPERTIES = {"nu": PoissonRatio, "bulk": BulkModulus, "shear": ShearModulus, "pressure": Pressure}
BOUNDS = {"diameter": (0.1, 3.0), "binding_energy": (0.0, 10.0)}
# The design variables as one vector; species 1 is the small one.
SYMBOLS = (r"$\sigma_1$", r"$\sigma_2$", r"$B_{11}$", r"$B_{12}$", r"$B_{22}$")
# Raw numbers are saved after this many configurations.
CHUNK = 100

# Arrays by name, whose leading axis runs over the requested configurations.
Table: TypeAlias = dict[str, np.ndarray]


class Setting:
    """The paper's untrained system (N = 368, two species, two dimensions), and the properties that are measured."""

    def __init__(
        self,
        properties: Sequence[str] = ("nu",),
        inverse_range: float = 5.0,
        n_particles: int = 368,
        protocol: gw.AbstractProtocol | None = None,
    ) -> None:
        system = gw.System(n_particles=n_particles)
        model = Model(HarmonicMorse(inverse_range=inverse_range), system, protocol or Quench())
        # The target is not used: only values and gradients of the properties are asked for.
        self.terms = {name: gw.Term(PROPERTIES[name](), Target(0.0)) for name in properties}
        self.design = resolve_design(model, BOUNDS)
        self.problem = Problem(model, self.design, self.terms)
        # NumPy's arrays: JAX's would have weak types and make everything compile again.
        self.values = {name: np.asarray(value) for name, value in self.problem.initial_values.items()}

    def ensemble(self, seed: int, **options: Any) -> Ensemble:
        """The configurations of a seed."""
        return Ensemble(self.problem, seed, **options)

    def moved(self, step: np.ndarray) -> dict[str, np.ndarray]:
        """The design after a step of its five variables."""
        parts = np.split(step, np.cumsum([self.values[name].size for name in self.design.names])[:-1])
        return {name: self.values[name] + part for name, part in zip(self.design.names, parts, strict=True)}

    def flat(self, gradient: dict[str, np.ndarray]) -> np.ndarray:
        """A gradient as one vector."""
        return np.concatenate([np.ravel(gradient[name]) for name in self.design.names])


def table(setting: Setting, samples: Sequence[Sample]) -> Table:
    """Outcomes, values and gradients (`d_...`) of the requested configurations; NaN for a rejected one."""
    columns = {"outcome": np.array([int(sample.outcome) for sample in samples])}
    for name in setting.terms:
        columns[name] = np.array([np.nan if s.measurement is None else s.measurement.values[name] for s in samples])
        columns[f"d_{name}"] = np.array([_gradient(setting, sample, name) for sample in samples])
    return columns


def _gradient(setting: Setting, sample: Sample, name: str) -> np.ndarray:
    """The gradient of a property in one sample, as one vector; NaN where there is none."""
    if sample.measurement is None or name not in sample.measurement.gradients:
        return np.full(len(SYMBOLS), np.nan)
    return setting.flat(sample.measurement.gradients[name])


def untrained(seed: int, executor: Executor, indices: Sequence[int], inverse_range: float = 5.0) -> Table:
    """All properties and their gradients in packings of the untrained ensemble."""
    setting = Setting(tuple(PROPERTIES), inverse_range)
    return table(setting, setting.ensemble(seed).samples(executor, setting.values, indices))


def mean_and_error(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over the first axis and its standard error."""
    return np.mean(values, axis=0), np.std(values, axis=0, ddof=1) / np.sqrt(len(values))


class Raw:
    """Raw numbers in an .npz file: sections of arrays with one row for each requested configuration.

    Figures can be drawn again from the file, and interrupted work is continued.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.arrays: dict[str, np.ndarray] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            with np.load(path) as file:
                self.arrays = dict(file)

    def rows(self, name: str, n: int, parameters: dict[str, Any], compute: Callable[[range], Table]) -> Table:
        """The section of configurations 0 to `n`; rows that are missing for these parameters are computed."""
        key, prefix = json.dumps(parameters, sort_keys=True), f"{name}/"
        if str(self.arrays.get(f"{prefix}parameters")) != key:
            self.arrays = {k: v for k, v in self.arrays.items() if not k.startswith(prefix)}
            self.arrays |= {f"{prefix}parameters": np.array(key), f"{prefix}seconds": np.array(0.0)}
        done = next((len(v) for k, v in self.arrays.items() if k.startswith(prefix) and v.ndim), 0)
        while done < n:
            begin, last = time.monotonic(), min(done + CHUNK, n)
            for k, rows in compute(range(done, last)).items():
                before = self.arrays.get(prefix + k)
                self.arrays[prefix + k] = rows if before is None else np.concatenate([before, rows])
            self.arrays[f"{prefix}seconds"] = self.arrays[f"{prefix}seconds"] + (time.monotonic() - begin)
            done = last
            np.savez_compressed(self.path, **self.arrays)
            print(f"{name}: {done}/{n}, {self.arrays[f'{prefix}seconds']:.0f} s", file=sys.stderr, flush=True)
        section = {k.removeprefix(prefix): v for k, v in self.arrays.items() if k.startswith(prefix)}
        return {k: v[:n] if v.ndim else v for k, v in section.items()}


def parser(description: str, script: str, n: int) -> argparse.ArgumentParser:
    """A parser with the options of all scripts."""
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    options.add_argument("--n", type=int, default=n, help="packings to request")
    options.add_argument("--seed", type=int, default=0, help="seed of their random starts")
    options.add_argument("--output", type=Path, default=IMAGES / f"{Path(script).stem}.png", help="the figure")
    options.add_argument(
        "--raw", type=Path, default=Path("outputs/packings.npz"), help="raw numbers, read and extended"
    )
    options.add_argument("--workers", type=int, help="packings to work on at a time (default: one for each core)")
    return options


def canvas(width: float, height: float) -> Figure:
    """An empty figure, in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure
