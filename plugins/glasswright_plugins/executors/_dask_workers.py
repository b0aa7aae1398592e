"""What works for a run on a Dask cluster. Imported where Dask is used, and by its workers."""

import asyncio
import concurrent.futures
import contextlib
import functools
import logging
import platform
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import distributed
import glasswright as gw
import jax
from glasswright.execution.answer import Relay, Unsendable
from glasswright.execution.peers import PeerLost
from glasswright.execution.remote import Done, Held, digest, pack, perform, unpack
from glasswright.execution.task import Item, Kept, Local, Result, Task
from glasswright.execution.worker import claim_core
from glasswright.run.provenance import versions

from ._clusters import DaskObject, has_dashboard

# Seconds between two looks at the workers while they work, and until a wait for the first is mentioned.
LOOK, SAY_AFTER = 1.0, 5.0
# Steps for which followed packings stay with their workers. If one is lost, its packings are prepared again from where
# they were last brought here, and every time that costs their way.
MOST_STEPS = 25
# Tasks of which the cluster keeps the content: of a training, those of both phases of a step.
MOST_TASKS = 8

logger = logging.getLogger(__name__)
Future: TypeAlias = DaskObject
_dask: DaskObject = distributed


class DaskKept(Kept):
    """What a worker of Dask keeps.

    **Attributes:**

    - `future`: of the work that has made it, a `Finished`.
    - `depth`: how many such futures it was made from, one after the other.
    """

    def __init__(self, future: Future, depth: int):
        self.future, self.depth = future, depth


class Stamp(NamedTuple):
    """What the numbers of a process depend on.

    **Attributes:**

    - `versions`: of packages, by name.
    - `processor`: its name; the last digits of numbers depend on it.
    - `platform`: what JAX computes on.
    """

    versions: tuple[tuple[str, str], ...]
    processor: str
    platform: str


class Finished(NamedTuple):
    """What has come of an item in a worker, and where the worker is."""

    stamp: Stamp
    done: Done


class DaskWorkers(gw.AbstractWorkers):
    """The workers of a Dask cluster.

    **Arguments:**

    - `client`: of the cluster's scheduler.
    - `patience`: seconds to wait for a worker while there is none.
    - `n_awaited`: how many workers to wait for at first.
    - `ends`: what ends with the work.
    """

    def __init__(self, client: DaskObject, patience: float, n_awaited: int, ends: contextlib.ExitStack):
        self._client, self._patience, self._ends = client, patience, ends
        self._relay = Relay()
        self._tasks: dict[bytes, Future] = {}
        self._last: tuple[object, bytes] = None, b""
        self._stamps: set[Stamp] = set()
        self._threads: dict[str, int] = {}
        self._looked = self._alone_since = time.monotonic()
        try:
            self._wait_for_workers(n_awaited)
        except BaseException:
            self.close()
            raise
        where = f"; dashboard at {client.dashboard_link}" if has_dashboard() else ""
        logger.info("%d worker(s) of Dask at %s%s", len(self._threads), self._address, where)

    @property
    def n_workers(self) -> int:
        """The threads of all workers there are; one while there is none."""
        return max(1, sum(self._threads.values()))

    def close(self) -> None:
        """Part from the cluster, and end it if it was started for this."""
        self._tasks = {}
        self._ends.close()

    def map(
        self, function: Callable[[Item], Result[Local]], items: Sequence[Item], *, local: bool = False
    ) -> list[Result[Local]]:
        """The function's result for every item; with `local`, what results keep stays with the workers."""
        if not isinstance(function, Task) or not items:
            return [function(item) for item in items]
        try:
            task = self._task(function)
            works = [self._submit(task, item, keep=local) for item in items]
        except Unsendable as error:
            raise gw.RequestError(
                f"executor=dask: work cannot be sent to its workers ({error}); choose executor=local"
            ) from error
        results: dict[int, Result[Local]] = {}
        for k, (stamp, content) in self._finished([self._then(_answer, work.future) for work in works]):
            self._check(stamp)
            answer = unpack(content)
            self._relay.pass_on(answer)
            if isinstance(answer.failure, Unsendable):
                raise gw.RequestError(f"executor=dask: a worker cannot do this work: {answer.failure}")
            if answer.failure is not None:
                raise answer.failure
            results[k] = answer.result
        return [self._with_kept(work, results[k]) for k, work in enumerate(works)]

    def fetch(self, kept: object) -> object:
        """What a `Kept` stands for; any other object as it is."""
        if not isinstance(kept, DaskKept):
            return kept
        ((_, held),) = self._finished([self._then(_held, kept.future)])
        return held.value

    @property
    def _address(self) -> str:
        return str(self._client.scheduler.address)

    def _task(self, function: Task[Item, Result[Local]]) -> Future:
        """The content of a task on the cluster, which is sent to each worker once."""
        known, key = self._last
        if known is not function:
            content = pack(function).content
            key = digest(content)
            self._last = function, key
            if key not in self._tasks:
                while len(self._tasks) >= MOST_TASKS:
                    del self._tasks[next(iter(self._tasks))]
                # As the result of a task, and not as data: where it is lost, the scheduler makes it again.
                self._tasks[key] = self._then(_same, content)
        return self._tasks[key]

    def _submit(self, task: Future, item: object, *, keep: bool) -> DaskKept:
        """Have a worker do a task; what it returns is not brought here."""
        content, kept = pack(item)
        needed = [one for one in kept if isinstance(one, DaskKept)]
        future = self._then(_perform, task, content, [one.future for one in needed], keep)
        return DaskKept(future, 1 + max((one.depth for one in needed), default=0))

    def _then(self, function: Callable[..., object], *arguments: object) -> Future:
        key = f"{function.__name__.strip('_')}-{uuid.uuid4().hex}"
        return self._client.submit(function, *arguments, key=key, pure=False)

    def _with_kept(self, work: DaskKept, result: Result[Local]) -> Result[Local]:
        """A result with what stands for what its worker keeps, or with that itself once in `MOST_STEPS`."""
        if result.kept is not True:
            return result
        return Result(result.gathered, result.local, self.fetch(work) if work.depth >= MOST_STEPS else work)

    # `Any`: what the function of a future has returned; futures do not say what that is.
    def _finished(self, futures: Sequence[Future]) -> Iterator[tuple[int, Any]]:
        """What the futures come to, with their numbers, as soon as they do; their workers are looked after."""
        pending = dict(enumerate(futures))
        while pending:
            # What it raises for a scheduler that is gone is what the futures say, too.
            gone = TimeoutError, concurrent.futures.CancelledError, asyncio.CancelledError
            with self._client.as_current(), contextlib.suppress(*gone):
                _dask.wait(list(pending.values()), timeout=LOOK)
            for future in pending.values():
                # A future that is lost is on its way again.
                if future.status in ("error", "cancelled"):
                    raise self._failure(future)
            if time.monotonic() - self._looked > LOOK:
                self._look_after_workers()
            done = [k for k, future in pending.items() if future.status == "finished"]
            if not done:
                continue
            try:
                values = self._client.gather([pending[k] for k in done])
            except Exception as error:
                raise PeerLost(f"the cluster of Dask at {self._address} has lost results: {_line(error)}") from error
            for k, value in zip(done, values, strict=True):
                del pending[k]
                yield k, value

    def _failure(self, failed: Future) -> Exception:
        """Why a future will never come to anything."""
        if failed.status == "cancelled":
            return PeerLost(f"the scheduler of Dask at {self._address} is gone")
        error = failed.exception()
        if isinstance(error, _dask.KilledWorker):
            return PeerLost(
                f"a configuration has lost {error.allowed_failures + 1} workers of Dask, one after the other; if "
                "memory was short, give each worker more of it, or start fewer (executor.most_losses says how many)"
            )
        return PeerLost(f"a worker of Dask cannot work: {_line(error)}")

    def _look_after_workers(self) -> None:
        """Mention workers that are gone, once each; raise `PeerLost` if there has been none for too long."""
        try:
            now = dict(self._client.nthreads())
        except Exception as error:
            raise PeerLost(f"the scheduler of Dask at {self._address} is gone: {_line(error)}") from error
        for address in sorted(self._threads.keys() - now.keys()):
            logger.warning("the worker %s of Dask is gone; its work is done again", address)
        self._threads, self._looked = now, time.monotonic()
        if now:
            self._alone_since = self._looked
        elif self._looked - self._alone_since > self._patience:
            raise PeerLost(
                f"there has been no worker of Dask at {self._address} for {self._patience:g} s (executor.patience)"
            )

    def _wait_for_workers(self, least: int) -> None:
        begin, said = time.monotonic(), False
        self._look_after_workers()
        while len(self._threads) < least:
            if not said and time.monotonic() - begin > SAY_AFTER:
                said = True
                logger.info("waiting for workers of Dask at %s, for %g s at most", self._address, self._patience)
            time.sleep(0.05)
            self._look_after_workers()

    def _check(self, theirs: Stamp) -> None:
        """Refuse a worker with other versions; name, once, another processor, whose last digits may be others."""
        if theirs in self._stamps:
            return
        ours = stamp()
        different = [
            f"{name} {version} instead of {mine}"
            for (name, version), (_, mine) in zip(theirs.versions, ours.versions, strict=True)
            if version != mine
        ]
        if different:
            raise gw.RunError(f"executor=dask: a worker has {', '.join(different)}; all need the same versions")
        if any(theirs.platform != known.platform for known in self._stamps):
            raise gw.RunError("executor=dask: some workers compute on accelerators and some do not; start one kind")
        if theirs.processor != ours.processor:
            logger.warning(
                "a worker of Dask has another processor (%s) than this process (%s): last digits, and hence packings, "
                "may be others than with executor=local",
                theirs.processor,
                ours.processor,
            )
        self._stamps.add(theirs)


@functools.cache
def stamp() -> Stamp:
    """That of this process."""
    return Stamp(tuple(versions().items()), _processor(), jax.default_backend())


def _processor() -> str:
    """The name of the processor, where the system tells it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


# What follows is called in workers.

_prepared = threading.Lock()


def _prepare() -> None:
    """Bind a worker that does one thing at a time to a core, before its first array."""
    if _prepared.acquire(blocking=False) and _dask.get_worker().state.nthreads == 1:
        claim_core()


def _perform(task: bytes, item: bytes, kept: Sequence[Finished], keep: bool) -> Finished:
    """Do a task."""
    _prepare()
    done = perform(task, item, [finished.done.kept for finished in kept], keep=keep)
    return Finished(stamp(), done)


def _answer(finished: Finished) -> tuple[Stamp, bytes]:
    """What the run is told."""
    return finished.stamp, finished.done.answer


def _held(finished: Finished) -> Held | None:
    """What the worker keeps."""
    return finished.done.kept


def _same(content: bytes) -> bytes:
    return content


def _line(error: BaseException | None) -> str:
    return " ".join(str(error).split()) or type(error).__name__
