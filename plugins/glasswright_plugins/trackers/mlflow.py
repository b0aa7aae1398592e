"""MLflow."""

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import glasswright as gw

from ._memory import flat, keep_identity, kept_identity, title

# Characters of the value of a parameter.
LONGEST = 500
IDENTITY = "mlflow.txt"


class MLflow(gw.AbstractTracker):
    """Logs the configuration and the metrics of each step to MLflow.

    Needs `mlflow` (`pip install glasswright[mlflow]`). Look at it with `mlflow ui --backend-store-uri URI`.

    **Arguments:**

    - `uri`: of a tracking server or a store; left out, the file `mlflow.db` in the working directory.
    - `experiment`: the experiment of MLflow that runs belong to.
    """

    def __init__(self, uri: str | None = None, experiment: str = "glasswright"):
        self.uri = f"sqlite:///{Path('mlflow.db').resolve()}" if uri is None else uri
        self.experiment = experiment

    def start(self, run: gw.TrackedRun) -> None:
        from mlflow.tracking import MlflowClient

        self.client = MlflowClient(tracking_uri=self.uri)
        known = kept_identity(run, IDENTITY)
        if known is not None:
            self.run = known
            self.client.update_run(known, status="RUNNING")
            return
        experiment = self.client.get_experiment_by_name(self.experiment)
        number = experiment.experiment_id if experiment else self.client.create_experiment(self.experiment)
        self.run = self.client.create_run(number, run_name=title(run)).info.run_id
        keep_identity(run, IDENTITY, self.run)
        for key, value in flat(dict(run.config)).items():
            self.client.log_param(self.run, key, value[:LONGEST])

    def step(self, line: Mapping[str, Any]) -> None:  # of JSON, read by key
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        numbers = self.numbers(line)
        metrics = [Metric(name, x, now, line["step"]) for name, x in numbers.items() if math.isfinite(x)]
        self.client.log_batch(self.run, metrics=metrics)

    def end(self, result: Mapping[str, object] | None) -> None:
        self.client.set_terminated(self.run, "KILLED" if result is None else "FINISHED")
