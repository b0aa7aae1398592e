"""Estimators of the squared distance of a mean from its target: what batches of a few packings give on average."""

from collections.abc import Sequence

import numpy as np
from glasswright._team import Team
from packings import Cache, Setting, parser, samples, table

PROPERTIES = ("nu", "pressure")
SIZES = (2, 4, 8, 16)
ESTIMATORS = ("plain", "unbiased")


def measure(n: int, seed: int, team: Team) -> dict[str, np.ndarray]:
    """Values and gradients of `n` packings of the untrained ensemble."""
    setting = Setting(PROPERTIES)
    return table(setting, samples(setting, setting.ensemble(seed), team, range(n), "prepared"))


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser(__doc__, __file__, 4000, 2).parse_args(arguments)
    cache = Cache(options.raw)
    with Team(options.lanes) as team:
        found = cache.section(
            "packings", {"n": options.n, "seed": options.seed}, lambda: measure(options.n, options.seed, team)
        )


if __name__ == "__main__":
    main()
