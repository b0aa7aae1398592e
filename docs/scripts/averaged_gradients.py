"""Compare averaged gradients with the change of the average over a finite step (the paper's Fig. S1a).

The average after a step of one design variable is computed in two ways. Either every packing is followed to its new
minimum, which compares the same packings. Or all are quenched anew from their random starts, which is the definition
of the ensemble, but ends in other minima.
"""

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np
from glasswright.evaluation.measurement import Sample, measure_sample
from glasswright.execution.executor import Executor
from glasswright.execution.task import Result
from glasswright.plots.style import COLOURS
from matplotlib.figure import Figure
from packings import PROPERTIES, SYMBOLS, Raw, Setting, Table, canvas, mean_and_error, parser, table, untrained

FOLLOWED_LENGTH = 1e-4
FRESH_LENGTH = 0.01
LINES = np.array([1.0, -1.0])


def main(arguments: Sequence[str] | None = None) -> None:
    """Compute what is not stored yet, print the slopes and draw the figure."""
    options = parser(__doc__, __file__, 500).parse_args(arguments)
    raw, n, seed = Raw(options.raw), options.n, options.seed
    followed_steps, fresh_steps = steps(FOLLOWED_LENGTH), steps(FRESH_LENGTH)
    with Executor(options.workers) as executor:
        before = raw.rows("a = 5", n, {"seed": seed}, lambda indices: untrained(seed, executor, indices))
        followed = raw.rows(
            "followed",
            n,
            {"seed": seed, "length": FOLLOWED_LENGTH},
            lambda indices: follow(seed, executor, indices, followed_steps),
        )
        fresh = raw.rows(
            "fresh",
            n,
            {"seed": seed, "length": FRESH_LENGTH, "properties": sorted(PROPERTIES)},
            lambda indices: quench(seed, executor, indices, fresh_steps),
        )
    gradients = before["d_nu"]
    lengths = np.linalg.norm(gradients, axis=1)
    print(f"{n} packings, {int(np.sum(np.isfinite(lengths)))} converged")
    print(
        "length of a packing's gradient: "
        + ", ".join(f"{q:g} % {np.nanpercentile(lengths, q):.3g}" for q in (50, 90, 99, 100))
    )
    report(before, followed, fresh)
    draw(before, fresh).savefig(options.output, dpi=130)


def steps(length: float) -> np.ndarray:
    """Steps forward and back along each design variable, shape `(variable, sign, variable)`."""
    return length * np.eye(len(SYMBOLS))[:, None] * LINES[:, None]


def follow(seed: int, executor: Executor, indices: Sequence[int], steps: np.ndarray, name: str = "nu") -> Table:
    """A property at each followed minimum after each step, and `rearranged`; NaN where the minimum was lost."""
    setting = Setting([name])
    protocol = setting.problem.model.protocol
    start = setting.ensemble(seed, gradients=False).samples(executor, setting.values, indices)

    def follow_sample(item: Sample) -> Result[None]:
        numbers = np.full((*steps.shape[:2], 2), np.nan)
        if item.measurement is not None and item.prepared is not None:
            memory = protocol.remember(setting.problem.model.potential, item.prepared.configuration)
            previous = dataclasses.replace(item.prepared, memory=memory)
            for index in np.ndindex(steps.shape[:2]):
                values = setting.moved(steps[index])
                potential = setting.problem.at(values).potential
                prepared = protocol.follow(potential, previous, key=jax.random.key(0))
                end = measure_sample(setting.problem, values, prepared, gradients=False)
                if end.measurement is not None:
                    numbers[index] = end.measurement.values[name], end.statistics["rearranged"]
        return Result(numbers)

    numbers = np.array([result.gathered for result in executor.map(follow_sample, start)])
    return {name: numbers[..., 0], "rearranged": numbers[..., 1]}


def quench(seed: int, executor: Executor, indices: Sequence[int], steps: np.ndarray) -> Table:
    """Values of all properties in quenches from the same random starts after each step."""
    setting = Setting(tuple(PROPERTIES))
    ensemble = setting.ensemble(seed, gradients=False)
    tables = [
        [table(setting, ensemble.samples(executor, setting.moved(step), indices)) for step in pair] for pair in steps
    ]
    return {
        name: np.moveaxis(np.array([[columns[name] for columns in pair] for pair in tables]), -1, 0)
        for name in PROPERTIES
    }


def slopes(before: Table, followed: Table, fresh: Table) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Slopes of the mean of Poisson's ratio in each variable, with standard errors, by the method that gave them.

    The averaged gradient appears twice: over the packings that stayed in their minimum, for comparison with the
    followed packings, and over all packings.
    """
    gradient = before["d_nu"]
    difference = (followed["nu"][..., 0] - followed["nu"][..., 1]) / (2.0 * FOLLOWED_LENGTH)
    stayed = np.all(followed["rearranged"] == 0.0, axis=(1, 2)) & np.all(np.isfinite(difference), axis=1)
    anew = (fresh["nu"][..., 0] - fresh["nu"][..., 1]) / (2.0 * FRESH_LENGTH)
    whole = np.all(np.isfinite(anew), axis=1)
    measured = np.all(np.isfinite(gradient), axis=1)
    return {
        "averaged gradient, packings that stayed": mean_and_error(gradient[stayed]),
        "followed": mean_and_error(difference[stayed]),
        "followed minus gradient, packing by packing": mean_and_error((difference - gradient)[stayed]),
        "averaged gradient, all": mean_and_error(gradient[measured]),
        "quenched anew": mean_and_error(anew[whole]),
    }


def report(before: Table, followed: Table, fresh: Table) -> None:
    """Print the slopes."""
    rearranged = int(np.sum(np.any(followed["rearranged"] > 0.0, axis=(1, 2))))
    print(
        f"steps {FOLLOWED_LENGTH:g} (followed; {rearranged} packings rearranged or lost) and {FRESH_LENGTH:g} (fresh)"
    )
    results = slopes(before, followed, fresh)
    for name in ("pressure", "bulk"):
        gradient, slope = gradient_and_slope(before, fresh, name)
        results |= {
            f"{name}, averaged gradient": mean_and_error(gradient),
            f"{name}, quenched anew": mean_and_error(slope),
        }
    for label, (mean, error) in results.items():
        print(f"  {label:45}" + "  ".join(f"{m:9.4f}({e:.4f})" for m, e in zip(mean, error, strict=True)))


def draw(before: Table, fresh: Table) -> Figure:
    """Plot the slope from quenching anew against the averaged gradient, for properties whose averages exist."""
    figure = canvas(10.0, 4.4)
    for axes, name, title in zip(
        figure.subplots(1, 2), ("pressure", "bulk"), ("pressure", "bulk modulus"), strict=True
    ):
        (x, x_error), (y, y_error) = (mean_and_error(rows) for rows in gradient_and_slope(before, fresh, name))
        reach = 1.15 * max(np.max(np.abs(x) + x_error), np.max(np.abs(y) + y_error))
        axes.plot([-reach, reach], [-reach, reach], color="0.7", linewidth=1.0)
        for k, symbol in enumerate(SYMBOLS):
            axes.errorbar(x[k], y[k], y_error[k], x_error[k], fmt="o", color=COLOURS[k], capsize=3, label=symbol)
        axes.set(xlabel="averaged gradient", ylabel=f"change over ±{FRESH_LENGTH:g} / step", title=title)
        axes.legend(frameon=False)
    return figure


def gradient_and_slope(before: Table, fresh: Table, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The gradient of each packing, and the central difference between quenches from its random start."""
    slope = (fresh[name][..., 0] - fresh[name][..., 1]) / (2.0 * FRESH_LENGTH)
    gradient = before[f"d_{name}"]
    return gradient[np.all(np.isfinite(gradient), axis=1)], slope[np.all(np.isfinite(slope), axis=1)]


if __name__ == "__main__":
    main()
