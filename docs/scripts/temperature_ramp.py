"""The energy that a learned temperature ramp leaves, against linear cooling of the same duration."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import glasswright as gw
import jax.numpy as jnp
import numpy as np
from glasswright.evaluation.ensemble import VALIDATION, Ensemble
from glasswright.execution.executor import Executor
from glasswright.plots.style import COLOURS
from glasswright.run.directory import run_design
from matplotlib.figure import Figure
from packings import IMAGES, canvas

NAME = "energy_per_particle"
# Temperatures that linear cooling begins with.
STARTS = (0.01, 0.02, 0.04, 0.1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure fresh packings after each ramp; print and draw their mean energies."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    options.add_argument("run", type=Path, help="directory of a training, experiment=temperature_ramp")
    options.add_argument("--overrides", nargs="*", default=[], help="what the training was given besides its preset")
    options.add_argument("--n", type=int, default=1000, help="packings after each ramp")
    options.add_argument("--output", type=Path, default=IMAGES / "temperature_ramp.png", help="the figure")
    options = options.parse_args(arguments)
    experiment = gw.build(gw.compose("experiment=temperature_ramp", *options.overrides))
    learned = np.asarray(run_design(options.run, "average")["temperature"])
    ramps = {f"linear from {start:g}": linear(start, learned.size) for start in STARTS} | {"learned": learned}
    ensemble = Ensemble(experiment.problem, experiment.seed, VALIDATION, gradients=False)
    energies = {}
    with Executor() as executor:
        for name, ramp in ramps.items():
            samples = ensemble.samples(executor, {"temperature": jnp.asarray(ramp)}, range(options.n))
            energies[name] = np.array([s.measurement.values[NAME] for s in samples if s.measurement is not None])
            mean, error = mean_and_error(energies[name])
            print(f"{name}: {mean:.6f} +- {error:.6f}, of {energies[name].size}", flush=True)
    draw(ramps, {name: mean_and_error(values) for name, values in energies.items()}).savefig(options.output, dpi=130)


def linear(start: float, n_knots: int) -> np.ndarray:
    """Linear cooling to a fiftieth of the first temperature."""
    return np.maximum(start * np.linspace(1.0, 0.0, n_knots), 0.02 * start)


def mean_and_error(values: np.ndarray) -> tuple[float, float]:
    """The mean of independent values and its standard error."""
    return float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(values.size))


def draw(ramps: dict[str, np.ndarray], energies: dict[str, tuple[float, float]]) -> Figure:
    """Plot the ramps, and the energies that they leave."""
    figure = canvas(11.0, 4.2)
    left, right = figure.subplots(1, 2)
    for k, (name, ramp) in enumerate(ramps.items()):
        is_learned = name == "learned"
        colour = COLOURS[1] if is_learned else str(0.75 - 0.15 * k)
        time = np.linspace(0.0, 1.0, ramp.size)
        left.plot(time, ramp, "o-" if is_learned else "-", color=colour, label=name, markersize=4)
        mean, error = energies[name]
        right.errorbar([k], [mean], [error], fmt="o", color=colour, capsize=3)
    left.set(yscale="log", xlabel="time, in units of the duration", ylabel="temperature")
    left.legend(frameon=False, fontsize=8)
    right.set_xticks(range(len(ramps)), ramps, rotation=20, fontsize=8)
    right.set_ylabel("energy per particle")
    return figure


if __name__ == "__main__":
    main()
