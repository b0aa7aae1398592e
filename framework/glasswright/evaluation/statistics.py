"""How requested configurations ended: every one is counted, and the rejected ones by their outcome."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..components.protocol import Outcome


def count_rejected(outcomes: Iterable[Outcome | str]) -> dict[str, int]:
    """How many ended in each outcome that is not `converged`."""
    names = [one if isinstance(one, str) else one.name for one in outcomes]
    return {one.name: names.count(one.name) for one in Outcome if one != Outcome.converged and one.name in names}


def sum_rejected(lines: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """The same over lines of metrics."""
    total: dict[str, int] = {}
    for line in lines:
        for name, count in line["rejected"].items():
            total[name] = total.get(name, 0) + count
    return total


def describe_rejected(rejected: Mapping[str, int]) -> str:
    """`3 unstable, 1 max_steps`."""
    return ", ".join(f"{count} {name}" for name, count in rejected.items())


def standard_error(values: np.ndarray) -> np.ndarray | None:
    """Standard error of the mean of independent values along the first axis; None for fewer than two."""
    n = values.shape[0]
    return np.std(values, axis=0, ddof=1) / np.sqrt(n) if n > 1 else None
