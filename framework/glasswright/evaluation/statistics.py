"""Statistics over the configurations of a step or a run: standard errors, and the counts of rejected ones."""

from collections.abc import Iterable, Mapping

import numpy as np
from jaxtyping import Float

from ..components.protocol import Outcome


def count_rejected(outcomes: Iterable[Outcome | str]) -> dict[str, int]:
    """The number of configurations by outcome, for outcomes other than `converged` that occur."""
    names = [outcome if isinstance(outcome, str) else outcome.name for outcome in outcomes]
    return {
        outcome.name: names.count(outcome.name)
        for outcome in Outcome
        if outcome != Outcome.converged and outcome.name in names
    }


def sum_rejected(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """The sum of several counts of rejected configurations, by outcome."""
    total: dict[str, int] = {}
    for rejected in counts:
        for name, count in rejected.items():
            total[name] = total.get(name, 0) + count
    return total


def describe_rejected(rejected: Mapping[str, int]) -> str:
    """`3 unstable, 1 max_steps`."""
    return ", ".join(f"{count} {name}" for name, count in rejected.items())


def standard_error(values: Float[np.ndarray, " n *shape"]) -> Float[np.ndarray, "*shape"] | None:
    """Standard error of the mean of independent values along the first axis; None for fewer than two."""
    n = values.shape[0]
    if n < 2:
        return None
    # An array even where NumPy would make a scalar of it.
    error: Float[np.ndarray, "*shape"] = np.asarray(np.std(values, axis=0, ddof=1) / np.sqrt(n))
    return error
