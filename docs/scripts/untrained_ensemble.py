"""Statistics of the untrained ensemble at a = 5 and a = 6, with every requested configuration accounted for."""

from collections.abc import Sequence

import glasswright as gw
import numpy as np
from glasswright.execution.executor import Executor
from glasswright.plots.style import COLOURS
from matplotlib.figure import Figure
from packings import PROPERTIES, Raw, Table, canvas, mean_and_error, parser, untrained

# Mean of Poisson's ratio and its standard error, measured independently (docs/reproduction.md).
INDEPENDENT = {5.0: (0.494, 0.007), 6.0: (0.447, 0.006)}
TITLES = {"nu": "Poisson's ratio", "bulk": "bulk modulus", "shear": "shear modulus", "pressure": "pressure"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Compute what is not stored yet, print the statistics and draw the figure."""
    options = parser(__doc__, __file__, 10_000)
    options.add_argument("--few", type=int, default=500, help="packings to request at a = 6")
    options = options.parse_args(arguments)
    raw, seed = Raw(options.raw), options.seed
    tables: dict[float, Table] = {}
    with Executor(options.workers) as executor:
        for a, n in ((5.0, options.n), (6.0, options.few)):
            tables[a] = raw.rows(
                f"a = {a:g}", n, {"seed": seed}, lambda indices, a=a: untrained(seed, executor, indices, a)
            )
    for a, columns in tables.items():
        report(f"a = {a:g}", columns)
        report(f"a = {a:g}", {name: rows[: options.few] if rows.ndim else rows for name, rows in columns.items()})
    draw(tables).savefig(options.output, dpi=130)


def report(label: str, columns: Table) -> None:
    """Print how the requested configurations ended, and the statistics of the accepted ones."""
    outcomes = columns["outcome"]
    counts = {outcome.name: int(np.sum(outcomes == outcome)) for outcome in gw.Outcome}
    assert sum(counts.values()) == len(outcomes)
    print(f"{label}: requested {len(outcomes)}: {counts}; {float(columns['seconds']):.0f} s for all")
    for name in PROPERTIES:
        values = columns[name][outcomes == gw.Outcome.converged]
        mean, error = mean_and_error(values)
        print(
            f"  {TITLES[name]:16} {mean:.5f} +- {error:.5f}, standard deviation {np.std(values, ddof=1):.5f}, "
            f"median {np.median(values):.5f}, least {values.min():.4f}, largest {values.max():.4f}"
        )


def draw(tables: dict[float, Table]) -> Figure:
    """Plot Poisson's ratio at both inverse ranges, and the shear modulus against the bulk modulus."""
    figure = canvas(11.0, 4.2)
    left, right = figure.subplots(1, 2)
    for (a, columns), colour in zip(tables.items(), COLOURS, strict=False):
        values = columns["nu"][np.isfinite(columns["nu"])]
        # The median: a single packing near zero moduli can dominate the mean.
        label = f"a = {a:g}: median {np.median(values):.4f} ({len(values)} packings)"
        left.hist(
            np.clip(values, 0.2, 0.8), bins=60, range=(0.2, 0.8), density=True, color=colour, alpha=0.6, label=label
        )
        left.axvline(INDEPENDENT[a][0], color=colour, linestyle="--")
        right.plot(columns["bulk"], columns["shear"], ".", markersize=2, color=colour, alpha=0.5, label=f"a = {a:g}")
    left.set(xlabel="Poisson's ratio", ylabel="probability density", title="dashed: measured independently")
    right.set(xlabel="bulk modulus", ylabel="shear modulus", title="one dot for each packing")
    for axes in (left, right):
        axes.legend(frameon=False, fontsize=8)
    return figure


if __name__ == "__main__":
    main()
