"""The packings that a training follows, every few steps, in a file that viewers show as a film."""

import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..evaluation.design import DesignValues
from ..evaluation.measurement import Sample, accepted_packings
from ..execution.executor import Executor
from ..run.files import write_atomically
from .experiment import Experiment
from .packing_text import packing_text

TRAJECTORY = "trajectory.extxyz"


def trajectory_frames(
    experiment: Experiment, executor: Executor, step: int, values: DesignValues, samples: Sequence[Sample]
) -> str:
    """The followed packings of all processes after a step, those of every few steps: all processes have to call it.

    The comment line of each says the step and the number of the packing.
    """
    interval = experiment.trajectory_interval
    if interval is None or step % interval:
        return ""
    potential = experiment.problem.at(values).potential
    own = {
        index: packing_text(potential, packing, step=step, packing=index)
        for index, packing in accepted_packings(samples).items()
    }
    return "".join(text for _, text in sorted(executor.gather(own).items()))


def keep_trajectory(folder: Path, step: int) -> None:
    """Remove from the trajectory of an interrupted run what the steps from `step` on have written, whole or not."""
    path = folder / TRAJECTORY
    if path.exists():
        frames = itertools.takewhile(lambda frame: frame[0] < step, _frames(path.read_text().split("\n")))
        write_atomically(path, "".join(text for _, text in frames))


def _frames(lines: list[str]) -> Iterator[tuple[int, str]]:
    """The step and the text of each frame, up to the first that is not whole."""
    place = 0
    while place + 1 < len(lines) and lines[place].isdigit():
        end = place + 2 + int(lines[place])
        number = re.search(r" step=([0-9]+)", lines[place + 1])
        # Behind the last line break there is an empty text.
        if number is None or end >= len(lines):
            return
        yield int(number[1]), "\n".join(lines[place:end]) + "\n"
        place = end
