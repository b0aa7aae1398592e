"""Worker processes: what goes to and fro, whose core it is, and what happens when something breaks."""

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import cloudpickle
import numpy as np
import pytest
from glasswright._errors import RequestError, RunError
from glasswright.execution import worker_pool
from glasswright.execution.executor import Executor
from glasswright.execution.task import Result, Task
from glasswright.execution.worker import Unsendable, Worker


@dataclasses.dataclass(frozen=True)
class Doing(Task):
    """Tasks of several kinds, by name."""

    offset: int = 0

    def __call__(self, item):
        what, argument = item
        return Result(getattr(self, what)(argument))

    def square(self, x):
        return x**2 + self.offset

    def say(self, text):
        print(text)
        print(text, file=sys.stderr)
        os.write(1, b"straight to the output\n")
        return os.getpid()

    def fail(self, text):
        raise RequestError(text)

    def fail_strangely(self, text):
        class Local(Exception):
            def __init__(self, one, two):
                super().__init__(one)

        raise Local(text, None)

    def lock(self, _):
        return threading.Lock()

    def core(self, _):
        return sorted(os.sched_getaffinity(0))

    def kill(self, number):
        os.kill(os.getpid(), number)

    def identity(self, _):
        return id(self)


@pytest.fixture(scope="module")
def worker():
    one = Worker()
    one.wait()
    yield one
    one.end()


def asked(worker: Worker, what: str, argument=None, work: Task = Doing()):
    content = cloudpickle.dumps(work)
    result, said = worker.run(content, content, (what, argument))
    return result.gathered, said


def test_results_come_back_bit_by_bit(worker):
    numbers = np.random.default_rng(0).normal(size=(100, 3))
    found, said = asked(worker, "square", numbers)
    np.testing.assert_array_equal(found, numbers**2)
    assert said == ""
    # Another work is another one; the same is not made anew, so what JAX compiled for it is found again.
    assert asked(worker, "square", 2, Doing(5))[0] == 9
    assert asked(worker, "identity")[0] == asked(worker, "identity")[0] != asked(worker, "identity", work=Doing(5))[0]


def test_what_is_printed_does_not_come_between(worker):
    pid, said = asked(worker, "say", "something")
    assert pid != os.getpid()
    assert said == "something\nsomething\n"


def test_errors_are_raised_here_as_they_were_there(worker):
    with pytest.raises(RequestError, match="no such thing") as caught:
        asked(worker, "fail", "no such thing")
    assert "in fail" in caught.value.__notes__[0]
    with pytest.raises(RunError, match="Local: strange"):
        asked(worker, "fail_strangely", "strange")
    with pytest.raises(Unsendable, match="lock"):
        asked(worker, "lock")
    with pytest.raises(Unsendable, match="lock"):
        asked(worker, "square", threading.Lock())
    assert asked(worker, "square", 3)[0] == 9


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process to a core")
def test_every_worker_has_a_core_of_its_own(worker):
    cores = os.sched_getaffinity(0)
    mine = asked(worker, "core")[0]
    other = Worker()
    other.wait()
    theirs = asked(other, "core")[0]
    other.end()
    # Other runs on this machine may hold cores already; then a worker takes whatever is free.
    assert set(mine) <= cores
    assert set(theirs) <= cores
    assert len(mine) > 1 or mine != theirs


def test_a_worker_that_is_gone_is_an_error_that_says_how():
    one = Worker()
    one.wait()
    with pytest.raises(RunError, match=r"ended by signal 9 \(Killed\); if memory was short"):
        asked(one, "kill", signal.SIGKILL)
    one.end()


def test_workers_ignore_signals_meant_for_the_run_and_end_with_it():
    code = (
        "import os, sys, time; from glasswright.execution.worker import Worker; w = Worker(); w.wait();"
        "print(w.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    pid = int(parent.stdout.readline())
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(pid, number)
    time.sleep(0.2)
    os.kill(pid, 0)
    parent.kill()
    parent.wait()
    for _ in range(100):
        status = Path(f"/proc/{pid}/stat")
        if not status.exists() or status.read_text().rsplit(")", 1)[1].split()[0] == "Z":
            break
        time.sleep(0.1)
    else:
        pytest.fail(f"worker {pid} outlives its parent")


def test_worker_processes_start_once_they_are_worth_it(monkeypatch, capfd):
    """Same results, in the order of the items, from others; what all workers say is shown once."""
    monkeypatch.setattr("glasswright.execution.executor.available_cores", lambda: 2)
    items = [("square", k) for k in range(9)]
    with Executor(2) as executor:
        before = executor.map(Doing(), items)
        assert not executor.worker_pool.pids
        monkeypatch.setattr(worker_pool, "START_AFTER", 0.0)
        assert executor.map(Doing(), items) == before
        executor.worker_pool.wait()
        assert len(executor.worker_pool.pids) == 2
        assert executor.map(Doing(), items) == before == [Result(k**2) for k in range(9)]
        pids = {one.gathered for one in executor.map(Doing(), [("say", "hello")] * 20)}
        assert os.getpid() not in pids
        # An error ends the map, and leaves the executor as it was.
        with pytest.raises(RequestError, match="wrong"):
            executor.map(Doing(), [("fail", "wrong"), *items])
        assert executor.map(Doing(), items) == before
        # One item is not worth sending, and what is no work is never sent.
        assert executor.map(Doing(), [("say", "here")])[0].gathered == os.getpid()
        assert {one.gathered for one in executor.map(lambda _: Result(os.getpid()), items)} == {os.getpid()}
        started = executor.worker_pool.pids
    assert not any(Path(f"/proc/{pid}").exists() for pid in started)
    printed = capfd.readouterr()
    assert printed.err.count("hello") == 1


def test_work_that_cannot_be_sent_stays_in_threads(monkeypatch, capfd):
    monkeypatch.setattr(worker_pool, "START_AFTER", 0.0)
    work = Doing()
    object.__setattr__(work, "unsendable", threading.Lock())
    items = [("square", k) for k in range(5)]
    with Executor(2) as executor:
        executor.map(work, items)
        executor.worker_pool.wait()
        for _ in range(2):
            assert executor.map(work, items) == [Result(k**2) for k in range(5)]
        assert not executor.worker_pool.pids
    assert capfd.readouterr().err.count("work stays in threads") == 1
