"""The designs that a run has reached, from the metrics of its steps: the last, the best, and an average."""

from collections.abc import Mapping, Sequence

import numpy as np

from .._types import JSON

DESIGNS = ("final", "best", "average")


def last_half(n_steps: int) -> range:
    """The steps that an average is taken over: the last half of them, where a training has settled."""
    return range(n_steps // 2, n_steps)


def average_design(lines: Sequence[Mapping[str, JSON]]) -> dict[str, JSON]:
    """The mean of the design variables over the last half of the steps.

    The average of the iterates forgets the noise of single steps (Polyak and Juditsky, SIAM J. Control Optim. 30, 838
    (1992)); the first half is left out because it is on its way.
    """
    steps = last_half(len(lines))
    return {
        name: np.mean([np.asarray(lines[step]["design"][name], dtype=float) for step in steps], axis=0).tolist()
        for name in lines[-1]["design"]
    }


def best_line(lines: Sequence[Mapping[str, JSON]]) -> Mapping[str, JSON] | None:
    """The metrics of the step with the lowest loss, the first of several; None if no step has a loss."""
    return min(
        (line for line in lines if line.get("loss") is not None), key=lambda line: float(line["loss"]), default=None
    )
