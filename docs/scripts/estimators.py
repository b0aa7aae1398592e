"""Average two estimators of the squared distance of a mean from its target over batches of a few packings.

The property is the pressure, whose mean and variance exist. Those of Poisson's ratio do not (docs/reproduction.md).
"""

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from averaged_gradients import FOLLOWED_LENGTH, follow, steps
from glasswright.execution.executor import Executor
from glasswright.plots.style import COLOURS
from glasswright_plugins.objectives.target import Target
from glasswright_plugins.samplers.fresh import Fresh
from matplotlib.figure import Figure
from packings import SYMBOLS, Raw, Table, canvas, mean_and_error, parser, untrained

SIZES = (2, 4, 8, 16, 32)
PROPERTY = "pressure"
# Distance of the mean above the target. The bias of the plain square matters where this is small.
DISTANCE = 5e-4
# The derivative in this variable is drawn: the binding energy of small particles. The plain square errs most there.
VARIABLE = 2

# A mean and its standard error.
Estimate: TypeAlias = tuple[Any, Any]
# Loss and gradient by estimator and size of the batches.
Averages: TypeAlias = dict[tuple[str, int], tuple[Estimate, Estimate]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Compute what is not stored yet, print the averages and draw the figure."""
    options = parser(__doc__, __file__, 10_000)
    options.add_argument("--followed", type=int, default=500, help="packings to follow for finite differences")
    options = options.parse_args(arguments)
    raw, seed = Raw(options.raw), options.seed
    with Executor(options.workers) as executor:
        before = raw.rows("a = 5", options.n, {"seed": seed}, lambda indices: untrained(seed, executor, indices))
        # Follow the same minima: new quenches rearrange, which no gradient contains (see averaged_gradients.py).
        followed = raw.rows(
            f"followed {PROPERTY}",
            options.followed,
            {"seed": seed, "length": FOLLOWED_LENGTH},
            lambda indices: follow(seed, executor, indices, steps(FOLLOWED_LENGTH), PROPERTY),
        )
    accepted = np.all(np.isfinite(before[f"d_{PROPERTY}"]), axis=1)
    values, gradients = before[PROPERTY][accepted], before[f"d_{PROPERTY}"][accepted]
    target = float(np.mean(values)) - DISTANCE
    truth = true_loss(values, target), true_gradient(followed)
    averages = {
        (estimator, size): batches(values, gradients, size, estimator, target)
        for estimator in ("unbiased", "plain")
        for size in SIZES
    }
    report(truth, averages)
    draw(truth, averages).savefig(options.output, dpi=130)


def true_loss(values: np.ndarray, target: float) -> tuple[float, float]:
    """Squared distance of the mean, and its standard error."""
    mean, error = mean_and_error(values)
    return float((mean - target) ** 2), float(2.0 * abs(mean - target) * error)


def true_gradient(followed: Table) -> tuple[np.ndarray, np.ndarray]:
    """Gradient of the squared distance by central differences of the same minima, and its standard error."""
    values, same = followed[PROPERTY], followed["rearranged"] == 0.0
    whole = values[np.all(np.isfinite(values) & same, axis=(1, 2))]
    print(f"{len(whole)} of {len(values)} packings followed in all directions")
    slope, error = mean_and_error((whole[..., 0] - whole[..., 1]) / (2.0 * FOLLOWED_LENGTH))
    return 2.0 * DISTANCE * slope, 2.0 * DISTANCE * error


def batches(
    values: np.ndarray, gradients: np.ndarray, size: int, estimator: Literal["unbiased", "plain"], target: float
) -> tuple[Estimate, Estimate]:
    """Mean over disjoint batches of `size` packings of the loss and its gradient, each with its standard error."""
    objective, sampler = Target(target, estimator=estimator), Fresh(size)
    accepted = jnp.ones(size, dtype=bool)
    count = len(values) // size
    f = values[: count * size].reshape(count, size)
    g = gradients[: count * size].reshape(count, size, -1)
    losses, cotangents = jax.vmap(jax.value_and_grad(lambda x: objective.loss(x, accepted, sampler)))(f)
    slopes = np.einsum("bm,bmk->bk", cotangents, g)
    # Terms linear in a batch's deviation from the whole sample sum to zero over all batches. Subtracting them changes
    # no mean, and makes the errors small enough to distinguish the two estimators.
    mean, slope = np.mean(f), np.mean(g, axis=(0, 1))
    off, slope_off = np.mean(f, axis=1) - mean, np.mean(g, axis=1) - slope
    losses = np.asarray(losses) - 2.0 * (mean - target) * off
    slopes = slopes - 2.0 * (off[:, None] * slope + (mean - target) * slope_off)
    return mean_and_error(losses), mean_and_error(slopes)


def report(truth: tuple[Estimate, Estimate], averages: Averages) -> None:
    """Print the averages over batches and the true values."""
    (loss, loss_error), (gradient, gradient_error) = truth
    print(f"squared distance {loss:.3e} +- {loss_error:.1e}; its gradient by differences, and by batches:")
    print("  " + " ".join(f"{m:10.3e}({e:.1e})" for m, e in zip(gradient, gradient_error, strict=True)))
    for (estimator, size), ((mean, error), (slope, slope_error)) in averages.items():
        print(f"  {estimator:9} of {size:2}: {mean:.3e} +- {error:.1e}  ", end="")
        print(" ".join(f"{m:10.3e}({e:.1e})" for m, e in zip(slope, slope_error, strict=True)))


def draw(truth: tuple[Estimate, Estimate], averages: Averages) -> Figure:
    """Plot the loss and one component of its gradient against the size of the batches."""
    figure = canvas(10.0, 4.2)
    panels = figure.subplots(1, 2)
    for k, (axes, title) in enumerate(zip(panels, ("loss", f"derivative in {SYMBOLS[VARIABLE]}"), strict=True)):
        mean, error = (truth[0][0], truth[0][1]) if k == 0 else (truth[1][0][VARIABLE], truth[1][1][VARIABLE])
        axes.axhspan(mean - error, mean + error, color="0.85", label="squared distance of the mean")
        for estimator, colour in (("unbiased", COLOURS[0]), ("plain", COLOURS[1])):
            points = [averages[estimator, size][k] for size in SIZES]
            if k == 1:
                points = [(slope[VARIABLE], slope_error[VARIABLE]) for slope, slope_error in points]
            centre, width = np.array(points).T
            axes.errorbar(SIZES, centre, width, fmt="o-", color=colour, capsize=3, label=estimator)
        axes.set_xscale("log", base=2)
        axes.set(xlabel="packings in a batch", ylabel=title, xticks=SIZES, xticklabels=[str(size) for size in SIZES])
        axes.legend(frameon=False)
    return figure


if __name__ == "__main__":
    main()
