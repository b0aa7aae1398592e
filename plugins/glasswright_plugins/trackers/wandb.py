"""Weights & Biases."""

from collections.abc import Mapping
from typing import Any, Literal

import glasswright as gw

from ._memory import keep_identity, kept_identity, title

IDENTITY = "wandb.txt"


class WandB(gw.AbstractTracker):
    """Logs the configuration and the metrics of each step to Weights & Biases.

    Needs `wandb` (`pip install glasswright[wandb]`). Nothing leaves the machine unless `mode` is `online`; what was
    logged offline is sent by `wandb sync DIR/wandb/offline-run-…`.

    **Arguments:**

    - `project`: the project that runs belong to.
    - `mode`: `offline` or `online`.
    """

    def __init__(self, project: str = "glasswright", mode: Literal["offline", "online"] = "offline"):
        self.project = project
        self.mode: Literal["offline", "online"] = mode

    def start(self, run: gw.TrackedRun) -> None:
        import wandb

        self.run = wandb.init(
            project=self.project,
            mode=self.mode,
            dir=None if run.directory is None else str(run.directory),
            name=title(run),
            config=dict(run.config),
            id=kept_identity(run, IDENTITY),
            resume="allow",
            reinit="create_new",
            settings=wandb.Settings(silent=True, console="off", disable_git=True),
        )
        keep_identity(run, IDENTITY, self.run.id)

    def step(self, line: Mapping[str, Any]) -> None:  # of JSON, read by key
        self.run.log(self.numbers(line), step=line["step"])

    def end(self, result: Mapping[str, object] | None) -> None:
        self.run.finish(exit_code=0 if result is not None else 1)
