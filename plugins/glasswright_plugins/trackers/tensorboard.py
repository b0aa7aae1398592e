"""TensorBoard."""

import math
from collections.abc import Mapping

import glasswright as gw
import yaml


class TensorBoard(gw.AbstractTracker):
    """Writes the metrics of each step for TensorBoard, into a folder of the run directory.

    Needs `tensorboardX` (`pip install glasswright[tensorboard]`). Look at it with `tensorboard --logdir DIR`.

    **Arguments:**

    - `folder`: name of the folder.
    """

    def __init__(self, folder: str = "tensorboard"):
        self.folder = folder

    def start(self, run: gw.TrackedRun) -> None:
        from tensorboardX import SummaryWriter

        if run.directory is None:
            raise ValueError("the training writes no files: there is no directory for TensorBoard")
        # Steps that are made again after an interruption replace the earlier ones, in a file of a name of its own.
        again, suffix = run.first_step or None, f".{run.first_step:08d}"
        folder = str(run.directory / self.folder)
        self.writer = SummaryWriter(folder, purge_step=again, flush_secs=10, filename_suffix=suffix)
        self.writer.add_text("configuration", f"```yaml\n{yaml.safe_dump(dict(run.config))}```", run.first_step)

    def step(self, line: Mapping[str, object]) -> None:
        for name, number in self.numbers(line).items():
            if math.isfinite(number):
                self.writer.add_scalar(name, number, line["step"])

    def end(self, result: Mapping[str, object] | None) -> None:
        self.writer.close()
