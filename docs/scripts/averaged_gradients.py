"""Averaged gradients against what the averages do: packings followed through a step, and quenched anew after it."""

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np
from glasswright._gradient import Sample, sample
from glasswright._team import Found, Team
from packings import SYMBOLS, Cache, Setting, canvas, mean_and_error, outcomes, parser, table

PROPERTIES = ("nu", "pressure")
# Lengths of the steps of the design along each variable and along the mean gradient of nu, in both directions.
LENGTHS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
# Steps after which packings are quenched anew: long, because chaos makes every difference as wide as the ensemble.
FRESH_LENGTH = 0.02


def directions(mean_gradient: np.ndarray) -> np.ndarray:
    """Unit vectors: the design variables one by one, and the mean gradient."""
    return np.vstack([np.eye(len(SYMBOLS)), mean_gradient / np.linalg.norm(mean_gradient)])


def measure(seed: int, team: Team, indices: Sequence[int]) -> dict[str, np.ndarray]:
    """Values and gradients of packings of the untrained ensemble."""
    setting = Setting(PROPERTIES)
    return table(setting, setting.ensemble(seed).samples(team, setting.values, indices))


def follow(seed: int, team: Team, indices: Sequence[int], steps: np.ndarray) -> dict[str, np.ndarray]:
    """Values after each step of the design, every minimum followed from where it was before; NaN where there is none.

    `rearranged` marks the packings that ended elsewhere.
    """
    setting = Setting(PROPERTIES)
    potential, protocol = setting.world["potential"], setting.world["protocol"]
    before = setting.ensemble(seed, gradients=False).samples(team, setting.values, indices)

    def one(item: Sample) -> Found[None]:
        numbers = np.full((len(steps), len(PROPERTIES) + 1), np.nan)
        if item.measured is not None:
            memory = protocol.remember(potential, item.prepared.configuration)
            start = dataclasses.replace(item.prepared, memory=memory)
            for k, step in enumerate(steps):
                values = setting.moved(step)
                moved = setting.design.insert(setting.world, values)["potential"]
                prepared = protocol.follow(moved, start, key=jax.random.key(0))
                end = sample(setting.design, values, setting.world, setting.terms, prepared, gradients=False)
                if end.measured is not None:
                    numbers[k] = [*(end.measured.values[name] for name in PROPERTIES), end.statistics["rearranged"]]
        return Found(numbers)

    numbers = np.array([found.shared for found in team.map(one, before)])
    return {name: numbers[..., k] for k, name in enumerate((*PROPERTIES, "rearranged"))}


def quench_anew(seed: int, team: Team, indices: Sequence[int], steps: np.ndarray) -> dict[str, np.ndarray]:
    """Values of quenches from the same random starts after each step of the design."""
    setting = Setting(PROPERTIES)
    ensemble = setting.ensemble(seed, gradients=False)
    ends = [table(setting, ensemble.samples(team, setting.moved(step), indices)) for step in steps]
    return {name: np.stack([end[name] for end in ends], axis=1) for name in ends[0]}


def steps_along(directions: np.ndarray, lengths: Sequence[float]) -> np.ndarray:
    """Steps of each length along each direction, forth and back: (direction, length, sign, variable)."""
    return directions[:, None, None] * np.array(lengths)[:, None, None] * np.array([1.0, -1.0])[:, None]


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser(__doc__, __file__, 500, 1).parse_args(arguments)
    cache = Cache(options.raw)
    n, seed = options.n, options.seed
    with Team(options.lanes) as team:
        before = cache.rows("prepared", n, {"seed": seed}, lambda indices: measure(seed, team, indices))
        steps = steps_along(directions(np.nanmean(before["d_nu"], axis=0)), LENGTHS)
        flat = steps.reshape(-1, len(SYMBOLS))
        after = cache.rows(
            "followed",
            n,
            {"seed": seed, "steps": flat.tolist()},
            lambda indices: follow(seed, team, indices, flat),
        )
        fresh = steps_along(np.eye(len(SYMBOLS)), [FRESH_LENGTH]).reshape(-1, len(SYMBOLS))
        anew = cache.rows(
            "anew",
            n,
            {"seed": seed, "length": FRESH_LENGTH},
            lambda indices: quench_anew(seed, team, indices, fresh),
        )


if __name__ == "__main__":
    main()
