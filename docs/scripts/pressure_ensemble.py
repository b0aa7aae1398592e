"""Poisson's ratio of untrained packings in fixed boxes and in flexible ones under a pressure, and its mean."""

from collections.abc import Sequence

import glasswright as gw
import numpy as np
from glasswright.execution.executor import Executor
from glasswright.plots.style import COLOURS
from glasswright_plugins.protocols.quench import Quench
from matplotlib.figure import Figure
from packings import Raw, Setting, Table, canvas, mean_and_error, parser, table

PROPERTIES = ("nu", "bulk", "shear", "pressure")
# About the mean pressure of the fixed boxes.
PRESSURE = 0.2


def main(arguments: Sequence[str] | None = None) -> None:
    """Compute what is not stored yet, print the statistics and draw the figure."""
    options = parser(__doc__, __file__, 10_000)
    options.add_argument("--n-particles", type=int, default=368, help="particles in each packing")
    options = options.parse_args(arguments)
    raw, tables = Raw(options.raw), {}
    protocols = {
        "fixed box": Quench(),
        f"flexible box, p = {PRESSURE:g}": Quench(pressure=PRESSURE, box="flexible"),
    }
    with Executor(options.workers) as executor:
        for label, protocol in protocols.items():
            parameters = {"seed": options.seed, "n_particles": options.n_particles}
            tables[label] = raw.rows(
                label,
                options.n,
                parameters,
                lambda indices, p=protocol: measured(p, options.n_particles, options.seed, executor, indices),
            )
    for label, columns in tables.items():
        report(label, columns)
    draw(tables).savefig(options.output, dpi=130)


def measured(protocol: Quench, n_particles: int, seed: int, executor: Executor, indices: Sequence[int]) -> Table:
    """Moduli and pressure of packings of the untrained ensemble, without gradients."""
    setting = Setting(PROPERTIES, n_particles=n_particles, protocol=protocol)
    return table(setting, setting.ensemble(seed, gradients=False).samples(executor, setting.values, indices))


def report(label: str, columns: Table) -> None:
    """Print how the requested configurations ended, and the statistics of the accepted ones."""
    outcomes = columns["outcome"]
    counts = {outcome.name: int(np.sum(outcomes == outcome)) for outcome in gw.Outcome if np.any(outcomes == outcome)}
    print(f"{label}: requested {len(outcomes)}: {counts}; {float(columns['seconds']):.0f} s for all")
    accepted = outcomes == gw.Outcome.converged
    for name in PROPERTIES:
        values = columns[name][accepted]
        mean, error = mean_and_error(values)
        print(
            f"  {name:10} {mean:.5f} +- {error:.5f}, standard deviation {np.std(values, ddof=1):.5f}, "
            f"least {values.min():.4f}, largest {values.max():.4f}"
        )
    bulk, shear = columns["bulk"][accepted], columns["shear"][accepted]
    print(
        f"  least K + G {np.min(bulk + shear):.5f}; outside of (-1, 1): {np.sum(np.abs(columns['nu'][accepted]) > 1)}"
    )
    for m in (len(bulk) // 16, len(bulk) // 4, len(bulk)):
        if m > 1:
            print(f"  standard error of nu with {m} packings: {mean_and_error(columns['nu'][accepted][:m])[1]:.5f}")


def draw(tables: dict[str, Table]) -> Figure:
    """Plot Poisson's ratio, and the standard error of its mean against the number of packings."""
    figure = canvas(11.0, 4.2)
    left, right = figure.subplots(1, 2)
    for (label, columns), colour in zip(tables.items(), COLOURS, strict=False):
        values = columns["nu"][np.isfinite(columns["nu"])]
        numbers = np.unique(np.geomspace(16, len(values), 60).astype(int))
        errors = [mean_and_error(values[:m])[1] for m in numbers]
        left.hist(
            np.clip(values, 0.0, 1.0), bins=60, range=(0.0, 1.0), density=True, color=colour, alpha=0.6, label=label
        )
        right.loglog(numbers, errors, color=colour, label=label)
    right.loglog(numbers, errors[0] * np.sqrt(numbers[0] / numbers), "k:", label="one over the root of the number")
    left.set(xlabel="Poisson's ratio", ylabel="probability density")
    right.set(xlabel="packings", ylabel="standard error of the mean")
    for axes in (left, right):
        axes.legend(frameon=False, fontsize=8)
    return figure


if __name__ == "__main__":
    main()
