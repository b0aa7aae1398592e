"""The workers of a Dask cluster."""

import contextlib
from typing import Literal

import glasswright as gw

from ._clusters import LOCAL, SCHEDULERS, check_options, connect, part, quiet, start_cluster


class Dask(gw.AbstractExecutor):
    """Sends configurations to the workers of a Dask cluster: on this machine, or on those of a batch system.

    Needs Dask (`pip install glasswright[dask]`). The cluster is one that runs already (`address`), or is started for
    the run and ends with it (`cluster`). Packings that are followed stay with the worker that has prepared them. The
    work of a worker that is lost is done again.

    **Arguments:**

    - `address`: of the scheduler of a cluster that runs already, such as `tcp://node1:8786`; null starts one.
    - `cluster`: what starts the workers: `local` on this machine, or the batch system `slurm`, `pbs`, `lsf` or `sge`.
    - `n_workers`: number of workers to start; null takes `devices` on this machine.
    - `options`: of a job of the batch system: `cores`, `memory`, `walltime`, `queue`, … as dask-jobqueue names them.
    - `patience`: seconds to wait for a worker while there is none.
    - `most_losses`: how often a configuration may lose its worker before the run ends; of a cluster that runs already,
      its scheduler decides.
    """

    spans_hosts = True

    def __init__(
        self,
        address: str | None = None,
        cluster: Literal["local", "slurm", "pbs", "lsf", "sge"] = "local",
        n_workers: int | None = None,
        options: dict[str, object] | None = None,
        patience: float = 3600.0,
        most_losses: int = 3,
    ):
        self.address = address
        self.cluster: Literal["local", "slurm", "pbs", "lsf", "sge"] = cluster
        self.n_workers = n_workers
        self.options = options
        self.patience = patience
        self.most_losses = most_losses
        if address is not None and "://" not in address:
            raise ValueError(f"dask(address={address!r}): must be of the form tcp://HOST:PORT")
        if address is not None and (cluster != LOCAL or n_workers is not None):
            raise ValueError(f"dask(address={address!r}): is of a cluster that runs; leave out cluster and n_workers")
        if n_workers is not None and n_workers < 1:
            raise ValueError(f"dask(n_workers={n_workers}): needs at least one")
        if cluster in SCHEDULERS and n_workers is None:
            raise ValueError(f"dask(n_workers=None): say how many workers {cluster} is to start")
        if options is not None and cluster == LOCAL:
            raise ValueError(f"dask(options=…): are of the jobs of a batch system; choose cluster={SCHEDULERS[0]}")
        if not 0.0 < patience < float("inf"):
            raise ValueError(f"dask(patience={patience:g}): must be positive")
        if most_losses < 0:
            raise ValueError(f"dask(most_losses={most_losses}): must not be negative")

    def check(self, n_workers: int | None) -> None:
        """Refuse a cluster whose library is missing, options of jobs that do not exist, and `devices` of others."""
        if n_workers is not None and (self.address is not None or self.cluster != LOCAL):
            raise gw.RequestError(
                f"devices={n_workers}: counts the cores of this machine, and the workers of executor=dask are others; "
                "leave it out"
            )
        if n_workers is not None and self.n_workers is not None:
            raise gw.RequestError(
                f"devices={n_workers}: executor.n_workers={self.n_workers} says how many there are; give one of them"
            )
        check_options(self.cluster, self.options)

    def start(self, n_workers: int | None) -> gw.AbstractWorkers:
        """Start the cluster, if there is none, and wait for its first worker."""
        # Imports Dask, which takes a second.
        from ._dask_workers import DaskWorkers

        with contextlib.ExitStack() as ends:
            ends.enter_context(quiet())
            n_awaited = 1
            if self.address is None:
                cluster = start_cluster(self.cluster, self.n_workers or n_workers, self.options, self.most_losses)
                ends.callback(cluster.close)
                client, n_awaited = cluster.connect(), cluster.n_awaited
            else:
                client = connect(self.address)
            ends.callback(part, client)
            return DaskWorkers(client, self.patience, n_awaited, ends.pop_all())
