"""Averaged gradients against what the averages do: packings followed through a step, and quenched anew after it."""

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np
from glasswright._gradient import Sample, sample
from glasswright._team import Found, Team
from packings import CHUNK, SYMBOLS, Cache, Progress, Setting, parser, samples, table

PROPERTIES = ("nu", "pressure")
# Lengths of the steps of the design along each variable and along the mean gradient of nu, in both directions.
STEPS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
# Steps after which packings are quenched anew: long, because chaos makes every difference as wide as the ensemble.
FRESH_STEP = 0.02


def directions(mean_gradient: np.ndarray) -> np.ndarray:
    """Unit vectors: the design variables one by one, and the mean gradient."""
    return np.vstack([np.eye(len(SYMBOLS)), mean_gradient / np.linalg.norm(mean_gradient)])


def follow(setting: Setting, found: Sequence[Sample], steps: np.ndarray, team: Team) -> dict[str, np.ndarray]:
    """Values after each step of the design, every minimum followed from where it was before; NaN where there is none.

    `rearranged` marks the packings that ended elsewhere.
    """
    protocol, potential = setting.world["protocol"], setting.world["potential"]
    keys = [*PROPERTIES, "rearranged"]

    def one(item: Sample) -> Found[None]:
        numbers = np.full((len(keys), len(steps)), np.nan)
        if item.measured is not None:
            memory = protocol.remember(potential, item.prepared.configuration)
            before = dataclasses.replace(item.prepared, memory=memory)
            for k, step in enumerate(steps):
                values = setting.moved(step)
                here = setting.design.insert(setting.world, values)["potential"]
                after = protocol.follow(here, before, key=jax.random.key(0))
                end = sample(setting.design, values, setting.world, setting.terms, after, gradients=False)
                if end.measured is not None:
                    numbers[:, k] = [*(end.measured.values[name] for name in PROPERTIES), end.statistics["rearranged"]]
        return Found(numbers)

    progress, rows = Progress("followed", len(found)), []
    for start in range(0, len(found), CHUNK):
        rows += [each.shared for each in team.map(one, found[start : start + CHUNK])]
        progress.update(len(rows))
    return {f"followed_{name}": column for name, column in zip(keys, np.swapaxes(rows, 0, 1), strict=True)}


def measure(n: int, seed: int, team: Team, lengths: Sequence[float] = STEPS) -> dict[str, np.ndarray]:
    """Values and gradients of `n` packings, and their values after steps of the design through which they are followed.

    `step` and `direction` say what each column of the followed values belongs to.
    """
    setting = Setting(PROPERTIES)
    found = samples(setting, setting.ensemble(seed), team, range(n), "prepared")
    columns = table(setting, found)
    along = directions(np.nanmean(columns["d_nu"], axis=0))
    which = [(k, sign * length) for k in range(len(along)) for length in lengths for sign in (1, -1)]
    steps = np.array([length * along[k] for k, length in which])
    columns |= {"direction": np.array([k for k, _ in which]), "length": np.array([x for _, x in which]), "step": steps}
    return columns | follow(setting, found, steps, team)


def quench_anew(n: int, seed: int, team: Team, length: float = FRESH_STEP) -> dict[str, np.ndarray]:
    """Values of quenches from the same random starts with each variable changed by `length` up and down."""
    setting = Setting(PROPERTIES)
    columns: dict[str, np.ndarray] = {}
    for k, direction in enumerate(np.eye(len(SYMBOLS))):
        for sign, suffix in ((1, "up"), (-1, "down")):
            moved = Setting(PROPERTIES)
            moved.values = setting.moved(sign * length * direction)
            ensemble = moved.ensemble(seed, gradients=False)
            found = table(moved, samples(moved, ensemble, team, range(n), f"anew, variable {k + 1} {suffix}"))
            columns |= {f"{name}_{k}_{suffix}": column for name, column in found.items()}
    return columns


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser(__doc__, __file__, 500, 1).parse_args(arguments)
    cache = Cache(options.raw)
    common = {"n": options.n, "seed": options.seed}
    with Team(options.lanes) as team:
        found = cache.section("followed", common | {"steps": STEPS}, lambda: measure(options.n, options.seed, team))
        anew = cache.section(
            "anew", common | {"length": FRESH_STEP}, lambda: quench_anew(options.n, options.seed, team)
        )


if __name__ == "__main__":
    main()
