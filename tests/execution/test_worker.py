"""Worker processes: what goes to and fro, whose core it is, and what happens when something breaks."""

import dataclasses
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
from glasswright._errors import RequestError, RunError
from glasswright.execution import worker_pool
from glasswright.execution.answer import Answer, Unsendable
from glasswright.execution.executor import Executor
from glasswright.execution.task import Result, Task
from glasswright.execution.worker import Worker

# Workers cannot import the modules of tests.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


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
            def __init__(self, message, detail):
                super().__init__(message)

        raise Local(text, None)

    def lock(self, _):
        return threading.Lock()

    def log(self, text):
        logging.getLogger("glasswright.somewhere").warning("%s of %d", text, 1)
        return os.getpid()

    def core(self, _):
        return sorted(os.sched_getaffinity(0))

    def kill(self, number):
        os.kill(os.getpid(), number)

    def kill_once(self, file):
        if not Path(file).exists():
            Path(file).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return "done"

    def identity(self, _):
        return id(self)


@pytest.fixture(scope="module")
def worker():
    started = Worker()
    started.wait()
    yield started
    started.end()


def ask(worker: Worker, method: str, argument: Any = None, task: Task = Doing()) -> Answer:
    content = cloudpickle.dumps(task)
    return worker.run(content, content, (method, argument))


def result(worker: Worker, method: str, argument: Any = None, task: Task = Doing()) -> Any:
    return ask(worker, method, argument, task).result.gathered


def test_results_come_back_bit_by_bit(worker):
    numbers = np.random.default_rng(0).normal(size=(100, 3))
    answer = ask(worker, "square", numbers)
    np.testing.assert_array_equal(answer.result.gathered, numbers**2)
    assert (answer.printed, answer.records) == ("", ())
    # Another task is another one; the same is not made anew, so what JAX compiled for it is found again.
    assert result(worker, "square", 2, Doing(5)) == 9
    assert result(worker, "identity") == result(worker, "identity") != result(worker, "identity", task=Doing(5))


def test_what_is_printed_does_not_come_between(worker):
    answer = ask(worker, "say", "something")
    assert answer.result.gathered != os.getpid()
    assert answer.printed == "something\nsomething\n"


def test_what_the_library_logs_comes_back_as_records(worker):
    answer = ask(worker, "log", "beware")
    assert answer.records == (("glasswright.somewhere", logging.WARNING, "beware of 1"),)
    assert answer.printed == ""


def test_errors_are_raised_here_as_they_were_there(worker):
    with pytest.raises(RequestError, match="no such thing") as caught:
        ask(worker, "fail", "no such thing")
    assert "in fail" in caught.value.__notes__[0]
    with pytest.raises(RunError, match="Local: strange"):
        ask(worker, "fail_strangely", "strange")
    with pytest.raises(Unsendable, match="lock"):
        ask(worker, "lock")
    with pytest.raises(Unsendable, match="lock"):
        ask(worker, "square", threading.Lock())
    assert result(worker, "square", 3) == 9


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process to a core")
def test_every_worker_has_a_core_of_its_own(worker):
    cores = os.sched_getaffinity(0)
    mine = result(worker, "core")
    other = Worker()
    other.wait()
    theirs = result(other, "core")
    other.end()
    # Other runs on this machine may hold cores already; then a worker takes whatever is free.
    assert set(mine) <= cores
    assert set(theirs) <= cores
    assert len(mine) > 1 or mine != theirs


def test_a_worker_that_is_gone_is_an_error_that_says_how():
    doomed = Worker()
    doomed.wait()
    with pytest.raises(RunError, match=r"ended by signal 9 \(Killed\); if memory was short"):
        ask(doomed, "kill", signal.SIGKILL)
    doomed.end()


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
    monkeypatch.setattr("glasswright.execution.workers.available_cores", lambda: 2)
    items = [("square", k) for k in range(9)]
    with Executor(2) as executor:
        before = executor.map(Doing(), items)
        assert not executor.worker_pool.pids
        monkeypatch.setattr(worker_pool, "START_AFTER", 0.0)
        assert executor.map(Doing(), items) == before
        executor.worker_pool.wait()
        assert len(executor.worker_pool.pids) == 2
        assert executor.map(Doing(), items) == before == [Result(k**2) for k in range(9)]
        pids = {result.gathered for result in executor.map(Doing(), [("say", "hello")] * 20)}
        assert os.getpid() not in pids
        # An error ends the map, and leaves the executor as it was.
        with pytest.raises(RequestError, match="wrong"):
            executor.map(Doing(), [("fail", "wrong"), *items])
        assert executor.map(Doing(), items) == before
        # One item is not worth sending, and what is no work is never sent.
        assert executor.map(Doing(), [("say", "here")])[0].gathered == os.getpid()
        assert {result.gathered for result in executor.map(lambda _: Result(os.getpid()), items)} == {os.getpid()}
        started = executor.worker_pool.pids
    assert not any(Path(f"/proc/{pid}").exists() for pid in started)
    printed = capfd.readouterr()
    assert printed.err.count("hello") == 1


def test_the_work_of_a_worker_that_dies_is_done_by_another(monkeypatch, caplog, tmp_path):
    """Also if it died while idle; a task that kills every worker is an error."""
    monkeypatch.setattr(worker_pool, "START_AFTER", 0.0)
    monkeypatch.setattr("glasswright.execution.workers.available_cores", lambda: 2)
    items = [("square", k) for k in range(9)]
    with Executor(2) as executor:
        expected = executor.map(Doing(), items)
        executor.worker_pool.wait()
        before = executor.worker_pool.pids
        results = executor.map(Doing(), [("kill_once", str(tmp_path / "killed")), *items])
        assert results == [Result("done"), *expected]
        assert len(set(executor.worker_pool.pids) & set(before)) == 1
        assert "ended by signal 9 (Killed)" in caplog.text
        for pid in executor.worker_pool.pids:
            os.kill(pid, signal.SIGKILL)
        assert executor.map(Doing(), items) == expected
        with pytest.raises(RunError, match=r"ended by signal 9 \(Killed\); if memory was short"):
            executor.map(Doing(), [("kill", signal.SIGKILL), *items])
        assert executor.map(Doing(), items) == expected


def test_work_that_cannot_be_sent_stays_in_threads(monkeypatch, caplog):
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
    assert caplog.text.count("work stays in threads") == 1
