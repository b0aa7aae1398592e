"""Dask clusters: one that runs already, one of processes of this machine, and those of batch systems."""

import abc
import contextlib
import importlib
import importlib.util
import json
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import glasswright as gw
from glasswright.execution.workers import available_cores

# A library of Dask, or an object of one: their annotations are incomplete.
DaskObject: TypeAlias = Any

LOCAL = "local"
# The class of dask-jobqueue that starts the jobs of each batch system.
BATCH_SYSTEMS = {"slurm": "SLURMCluster", "pbs": "PBSCluster", "lsf": "LSFCluster", "sge": "SGECluster"}
SCHEDULERS = tuple(BATCH_SYSTEMS)
# Seconds until a scheduler that does not answer is given up.
ANSWER = 30.0
# Seconds that workers get to end by themselves.
GOODBYE = 5.0
# What a worker's parent runs, which starts it again if it dies. Signals are for the run, which finishes its step and
# then ends its workers; ignored ones are passed down to the worker. The path comes first: with it, a worker finds what
# this process finds. The input ends with this process, and then both end.
NANNY = """
import json, os, signal, sys, threading
sys.path[:] = json.loads(sys.argv[2])
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
def watch():
    sys.stdin.buffer.read()
    os._exit(0)
threading.Thread(target=watch, daemon=True).start()
import asyncio
from distributed import Nanny
async def serve():
    async with Nanny(sys.argv[1], nthreads=1, memory_limit=0, dashboard=False, host="127.0.0.1") as nanny:
        await nanny.finished()
asyncio.run(serve())
"""


class AbstractCluster(abc.ABC):
    """A Dask cluster that was started for a run.

    **Attributes:**

    - `n_awaited`: how many workers the run waits for; others may come later.
    """

    n_awaited: int = 1

    @abc.abstractmethod
    def connect(self) -> DaskObject:
        """A client of its scheduler."""

    @abc.abstractmethod
    def close(self) -> None:
        """End its workers and its scheduler."""


class LocalCluster(AbstractCluster):
    """A scheduler in this process, and workers with a core each on this machine.

    Dask's own would start workers that run the user's script again (`multiprocessing`'s way), unless it is written with
    that in mind; and Ctrl-C would reach them.
    """

    def __init__(self, n_workers: int | None, most_losses: int):
        distributed = _library()
        self.n_awaited = available_cores() if n_workers is None else n_workers
        with _settings(most_losses):
            self._scheduler = distributed.LocalCluster(
                n_workers=0,
                processes=True,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:8787" if has_dashboard() else None,
                silence_logs=logging.CRITICAL,
            )
        self._processes: list[subprocess.Popen[bytes]] = []
        try:
            for _ in range(self.n_awaited):
                self._processes.append(self._start_worker())
        except BaseException:
            self.close()
            raise

    def _start_worker(self) -> "subprocess.Popen[bytes]":
        import jax

        # Whose processes are gone at once leaves semaphores behind, which are cleared away with a warning.
        silent = [os.environ["PYTHONWARNINGS"]] if os.environ.get("PYTHONWARNINGS") else []
        silent.append("ignore:resource_tracker")
        environment = {
            **os.environ,
            "DASK_LOGGING__DISTRIBUTED": "critical",
            "PYTHONWARNINGS": ",".join(silent),
        }
        if jax.default_backend() == "cpu":
            environment["JAX_PLATFORMS"] = "cpu"
        return subprocess.Popen(
            [sys.executable, "-c", NANNY, self._scheduler.scheduler_address, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            env=environment,
        )

    def connect(self) -> DaskObject:
        return _library().Client(self._scheduler, set_as_default=False)

    def close(self) -> None:
        # The scheduler tells its workers, which tell their parents.
        with contextlib.suppress(Exception):
            self._scheduler.close(timeout=GOODBYE)
        for process in self._processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(GOODBYE)
        for process in self._processes:
            # Whoever is still there ends with its input, as if this process had ended.
            process.communicate()
        self._processes = []


class BatchCluster(AbstractCluster):
    """A scheduler in this process, and workers in jobs of a batch system, which dask-jobqueue submits."""

    def __init__(self, system: str, n_workers: int, options: Mapping[str, object] | None, most_losses: int):
        with _settings(most_losses):
            try:
                self._cluster = batch_cluster(system, options)
                self._cluster.scale(n_workers)
            except gw.RequestError:
                raise
            except Exception as error:
                raise gw.RunError(f"executor.cluster={system}: cannot be started: {_one_line(error)}") from error

    def connect(self) -> DaskObject:
        return _library().Client(self._cluster, set_as_default=False)

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._cluster.close()


def start_cluster(
    system: str, n_workers: int | None, options: Mapping[str, object] | None, most_losses: int
) -> AbstractCluster:
    """Start a scheduler in this process, and its workers.

    **Arguments:**

    - `n_workers`: how many workers; None, on this machine only, one for each core.
    - `most_losses`: how often a configuration may lose its worker.
    """
    if system == LOCAL:
        return LocalCluster(n_workers, most_losses)
    assert n_workers is not None
    return BatchCluster(system, n_workers, options, most_losses)


def connect(address: str) -> DaskObject:
    """A client of the scheduler at an address."""
    distributed = _library()
    try:
        return distributed.Client(address, timeout=ANSWER, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise gw.RequestError(
            f"executor.address={address}: no scheduler answers there ({_one_line(error)}); start one with `dask "
            "scheduler` and workers with `dask worker ADDRESS --nthreads 1`, or choose executor=local"
        ) from error


def part(client: DaskObject) -> None:
    """Close a client, whose scheduler may be gone."""
    with contextlib.suppress(Exception):
        client.close()


def batch_cluster(system: str, options: Mapping[str, object] | None) -> DaskObject:
    """dask-jobqueue's object for a batch system, without any job: `job_script()` of it is what would be submitted."""
    jobqueue = _library("dask_jobqueue")
    try:
        return getattr(jobqueue, BATCH_SYSTEMS[system])(**job_options(options))
    except (TypeError, ValueError) as error:
        raise gw.RequestError(f"executor.options: {_one_line(error)}") from error


def job_options(options: Mapping[str, object] | None) -> dict[str, object]:
    """The options of a job, of which each worker is a process with one core."""
    given = dict(options or {})
    return ({"processes": given["cores"]} if "cores" in given else {}) | given


def check_options(system: str, options: Mapping[str, object] | None) -> None:
    """Refuse a missing library, and options that jobs of the batch system cannot have; starts nothing."""
    _library()
    if system == LOCAL:
        return
    jobqueue = _library("dask_jobqueue")
    try:
        job = getattr(jobqueue, BATCH_SYSTEMS[system]).job_cls
        own = {name: value for name, value in job_options(options).items() if name not in _OF_CLUSTER}
        job("tcp://127.0.0.1:8786", "check", **own).job_script()
    except (TypeError, ValueError) as error:
        raise gw.RequestError(f"executor.options: {_one_line(error)}") from error


# Options of the scheduler in this process, and not of a job.
_OF_CLUSTER = ("scheduler_options", "shared_temp_directory", "silence_logs", "security", "name")


def has_dashboard() -> bool:
    """Whether Dask can show what its workers do: its pages need Bokeh."""
    return importlib.util.find_spec("bokeh") is not None


def _library(name: str = "distributed") -> DaskObject:
    """The library of that name, or one clear line."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise gw.RequestError(
            f"executor=dask: needs Dask, which is not installed here ({_one_line(error)}): "
            "pip install 'glasswright[dask]', or choose executor=local"
        ) from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep Dask from saying what the run says itself, once and in one line; nor does it complain of large items."""
    import dask

    loggers = [logging.getLogger(name) for name in ("distributed", "tornado.application")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1TB"}):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def _settings(most_losses: int) -> Iterator[None]:
    """Dask's settings while a scheduler is started; warnings about a port in use are nobody's concern."""
    import dask

    chosen = {"distributed.scheduler.allowed-failures": most_losses}
    with dask.config.set(chosen), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
