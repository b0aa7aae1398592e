"""Processes that meet: who they are, what they tell each other, and what happens when one is missing or lost.

Threads take the place of processes: a connection knows no difference.
"""

import contextlib
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import Any

import pytest
from glasswright._errors import RequestError, RunError, Stopped
from glasswright.execution import agreement, hosts, star
from glasswright.execution.agreement import check_same_request
from glasswright.execution.container import from_bytes, to_bytes
from glasswright.execution.frames import send
from glasswright.execution.hosts import hosts_joined
from glasswright.execution.peers import AbstractPeers, Alone, PeerLost
from glasswright.execution.place import Place, first_host, place
from glasswright.execution.star import Star

VARIABLES = (
    "GLASSWRIGHT_HOSTS",
    "JAX_COORDINATOR_ADDRESS",
    "JAX_NUM_PROCESSES",
    "JAX_PROCESS_ID",
    "SLURM_STEP_NUM_TASKS",
    "SLURM_PROCID",
    "SLURM_STEP_NODELIST",
    "SLURM_JOB_NODELIST",
    "SLURM_JOB_ID",
    "SLURM_STEP_ID",
)


@pytest.fixture(autouse=True)
def no_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def places(count: int, present: int | None = None) -> list[Place]:
    port = free_port()
    ranks = range(count if present is None else present)
    return [Place(rank, count, "127.0.0.1", port, "a run", "JAX_NUM_PROCESSES") for rank in ranks]


def at_once(function: Callable[[Any], Any], items: list[Any]) -> list[Any]:
    """What a function returns or raises for every item, all at the same time."""

    def attempt(item: Any) -> Any:
        try:
            return function(item)
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(items)) as threads:
        return list(threads.map(attempt, items))


@contextlib.contextmanager
def together(count: int) -> Iterator[list[Star]]:
    stars = at_once(lambda own: Star(own, 60.0), places(count))
    try:
        yield stars
    finally:
        for each in stars:
            each.leave()


def test_all_processes_get_what_each_has_in_their_order():
    with together(3) as stars:
        for data in ([b"a", b"", b"c" * 2**21], [b"1", b"22", b"333"]):
            gathered = at_once(lambda each, data=data: each.allgather(data[each.rank]), stars)
            assert gathered == [data] * 3


def test_a_process_that_waits_says_so_and_for_whom(caplog, monkeypatch):
    monkeypatch.setattr(star, "SAY_AFTER", 0.3)
    own = places(3, present=2)
    with caplog.at_level(logging.INFO, "glasswright"):
        ends = at_once(lambda each: Star(each, 2.0), own)
    address = own[0].address
    assert all(isinstance(end, PeerLost) for end in ends)
    assert f"process 0 of 3 (counted from 0) has waited 2 s for process 2 at {address}, in vain" in str(ends[0])
    assert "GLASSWRIGHT_HOSTS=off" in str(ends[0])
    assert sorted(record.getMessage()[:42] for record in caplog.records) == [
        "process 0 of 3 (counted from 0) waits for ",
        "process 1 of 3 (counted from 0) waits for ",
    ]
    assert caplog.text.count(f" at {address}, for 2 s more at most") == 2


def test_a_first_process_that_never_comes_is_one_line():
    with pytest.raises(PeerLost, match=r"process 1 of 2 .* has waited .* for process 0 at 127.0.0.1:\d+, in vain"):
        Star(places(2)[1], 0.3)


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_process_that_is_lost_ends_the_others_by_name(lost):
    """Without a word, as a killed one; the last to know is told by the first."""
    with together(3) as stars:
        stars[lost].leave()

        def go_on(each: Star) -> list[bytes]:
            try:
                return each.allgather(b"data")
            except BaseException as error:
                each.leave(error)
                raise

        ends = at_once(go_on, [each for each in stars if each.rank != lost])
    for end in ends:
        assert isinstance(end, PeerLost)
        assert f"process {lost} of 3 on {socket.gethostname()} (counted from 0) has ended" in str(end)


@pytest.mark.parametrize(("error", "expected"), [(RequestError("key: wrong"), RequestError), (OSError(), PeerLost)])
def test_a_process_that_fails_tells_the_others_why(error, expected):
    with together(3) as stars:
        stars[1].leave(error)
        with pytest.raises(expected, match=r"process 1 of 3 on .*: (key: wrong|OSError)") as first:
            stars[0].allgather(b"")
        stars[0].leave(first.value)
        with pytest.raises(expected) as second:
            stars[2].allgather(b"")
        assert str(second.value) == str(first.value)


def test_strangers_do_not_disturb(monkeypatch):
    """Another run, a number that is taken, somebody who talks of other things, somebody who says nothing."""
    monkeypatch.setattr(star, "HELLO", 0.3)
    first, second = places(2)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(Star, first, 60.0)
        other_run = Place(1, 2, first.host, first.port, "another run", "JAX_NUM_PROCESSES")
        with pytest.raises(PeerLost, match="is the address of another run"):
            Star(other_run, 60.0)
        too_many = Place(2, 3, first.host, first.port, "a run", "JAX_NUM_PROCESSES")
        with pytest.raises(PeerLost, match="of another run, of 2 processes"):
            Star(too_many, 60.0)
        for words in (b"GET / HTTP/1.1\r\n\r\n", b"D" + b"\xff" * 8, b""):
            with socket.create_connection((first.host, first.port)) as stranger:
                stranger.sendall(words)
        silent = socket.create_connection((first.host, first.port))
        confused = socket.create_connection((first.host, first.port))
        send(confused, b'{"rank": "x"}')
        stars = [Star(second, 60.0), waiting.result()]
        silent.close()
        confused.close()
    assert at_once(lambda each: each.allgather(bytes([each.rank])), stars) == [[b"\0", b"\1"]] * 2
    for each in stars:
        each.leave()


def test_a_number_that_is_taken_is_refused_and_the_run_goes_on():
    first, second, third = places(3)
    with ThreadPoolExecutor(4) as threads:
        waiting = [threads.submit(Star, each, 60.0) for each in (first, second, second)]
        # Whichever of the two comes second; the run is complete only after that.
        wait(waiting, return_when=FIRST_COMPLETED)
        waiting.append(threads.submit(Star, third, 60.0))
        ends = [each.exception() or each.result() for each in waiting]
    refused = [end for end in ends if isinstance(end, Exception)]
    assert [str(end) for end in refused] == [
        f"process 0 of 3 on {socket.gethostname()}: there is a process 1 already: each needs a number of its own"
    ]
    for end in ends:
        if isinstance(end, Star):
            end.leave()


def test_an_address_that_is_taken_is_one_line():
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = Place(0, 2, "127.0.0.1", server.getsockname()[1], "a run", "JAX_NUM_PROCESSES")
        with pytest.raises(RunError, match=r"process 0 of 2 cannot listen at 127.0.0.1:\d+: Address already in use"):
            Star(taken, 1.0)


class Fixed(AbstractPeers):
    """Processes whose words are known beforehand."""

    def __init__(self, *requests: Any):
        self.rank, self.count, self._requests = 0, len(requests), requests

    def allgather(self, data: bytes) -> list[bytes]:
        return [to_bytes({rank: request}) for rank, request in enumerate(self._requests)]

    def leave(self, error: BaseException | None = None) -> None:
        pass


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"seed": 2, "train": {"steps": 5}}, "seed: 1 in process 0, 2 in process 2 of 3: the processes"),
        ({"seed": 1.0, "train": {"steps": 5}}, "seed: 1 in process 0, 1.0 in process 2 of 3: "),
        ({"seed": True, "train": {"steps": 5}}, "seed: 1 in process 0, True in process 2 of 3: "),
        ({"seed": 1, "train": {"steps": 6}}, "train.steps: 5 in process 0, 6 in process 2 of 3: "),
        ({"seed": 1, "train": {}}, "train.steps: 5 in process 0, not given in process 2 of 3: "),
        ({"seed": 1, "train": None}, "train: {'steps': 5} in process 0, None in process 2 of 3: "),
        ({"seed": 1, "train": {"steps": 5, "clip": 1}}, "train.clip: not given in process 0, 1 in process 2 of 3: "),
        ({"seed": 3, "train": {"steps": 6}}, r"seed: 1 .* 3 in process 2 of 3 \(also different: train.steps\): "),
        ({"seed": "x" * 999, "train": {"steps": 5}}, "seed: 1 in process 0, x{59}… in process 2 of 3: "),
    ],
)
def test_the_first_key_that_differs_is_named_with_both_values(monkeypatch, other, message):
    same = {"seed": 1, "train": {"steps": 5}}
    peers = Fixed(same, same, other)
    monkeypatch.setattr(hosts, "peers", lambda: peers)
    with pytest.raises(RequestError, match=message):
        check_same_request(peers, same)


def test_equal_requests_are_no_matter(monkeypatch):
    same = {"seed": 1, "x": [float("nan"), None, {"y": 0.1}]}
    peers = Fixed(same, same)
    monkeypatch.setattr(hosts, "peers", lambda: peers)
    check_same_request(peers, same)
    monkeypatch.setattr(agreement, "exchange", lambda _: pytest.fail("a single process asks nobody"))
    check_same_request(Alone(), same)


def test_a_process_is_alone_unless_variables_say_otherwise(monkeypatch):
    assert place() is None
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "host-a:1234")
    assert place() is None
    monkeypatch.setenv("JAX_NUM_PROCESSES", "1")
    assert place() is None
    monkeypatch.setenv("JAX_NUM_PROCESSES", "3")
    monkeypatch.setenv("JAX_PROCESS_ID", "2")
    assert place() == Place(2, 3, "host-a", 1234, "host-a:1234", "JAX_NUM_PROCESSES")
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "[fe80::1]:1234")
    assert place().host == "fe80::1"
    monkeypatch.setenv("GLASSWRIGHT_HOSTS", "off")
    assert place() is None
    monkeypatch.setenv("GLASSWRIGHT_HOSTS", "perhaps")
    with pytest.raises(RequestError, match="GLASSWRIGHT_HOSTS=perhaps: must be on or off"):
        place()


@pytest.mark.parametrize("address", ["host-a", "host-a:", ":x", "host-a:0", "host-a:70000", "1234"])
def test_a_wrong_address_is_refused(monkeypatch, address):
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", address)
    monkeypatch.setenv("JAX_NUM_PROCESSES", "2")
    with pytest.raises(RequestError, match=f"JAX_COORDINATOR_ADDRESS={address}: must be host:port"):
        place()


@pytest.mark.parametrize(("number", "count"), [("2", "2"), ("one", "2"), ("-1", "2"), ("0", "many")])
@pytest.mark.parametrize(
    "names", [("JAX_PROCESS_ID", "JAX_NUM_PROCESSES"), ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS")], ids=lambda n: n[0]
)
def test_a_wrong_place_among_the_hosts_is_refused(monkeypatch, names, number, count):
    if names[0].startswith("JAX"):
        monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "127.0.0.1:1")
    for name, value in zip(names, (number, count), strict=True):
        monkeypatch.setenv(name, value)
    with pytest.raises(RequestError, match=f"{names[0]}={number}, {names[1]}={count}"):
        place()


def test_steps_of_one_job_meet_at_addresses_of_their_own(monkeypatch):
    for name, value in {
        "SLURM_STEP_NUM_TASKS": "4",
        "SLURM_PROCID": "3",
        "SLURM_STEP_NODELIST": "node[007-010],other",
        "SLURM_JOB_ID": "123456",
        "SLURM_STEP_ID": "0",
    }.items():
        monkeypatch.setenv(name, value)
    first = place()
    assert (first.rank, first.count, first.host) == (3, 4, "node007")
    monkeypatch.setenv("SLURM_STEP_ID", "1")
    second = place()
    assert first.port != second.port
    assert first.run != second.run
    assert all(2**10 < each.port < 2**16 for each in (first, second))
    monkeypatch.delenv("SLURM_STEP_NODELIST")
    with pytest.raises(RequestError, match="SLURM_STEP_NODELIST and SLURM_JOB_ID must say where"):
        place()


@pytest.mark.parametrize(
    ("nodes", "host"),
    [
        ("node001", "node001"),
        ("node001,other", "node001"),
        ("node[001-015],other", "node001"),
        ("node[007,009-015]", "node007"),
        ("gpu-node[3-4]-ib,other", "gpu-node3-ib"),
        ("rack[1-2]node[8-9],other", "rack1node8"),
    ],
)
def test_the_first_host_of_a_list_of_slurm(nodes, host):
    assert first_host(nodes) == host


def joined_in_threads(monkeypatch: pytest.MonkeyPatch, work: Callable[[Star], Any]) -> list[Any]:
    """What becomes of work in two processes that enter and leave `hosts_joined`."""
    local = threading.local()
    own = places(2)
    # Each thread has the module's state of a process of its own.
    monkeypatch.setattr(hosts, "place", lambda: local.place)
    monkeypatch.setattr(hosts, "bind_visible_device", lambda: None)

    def run(each: Place) -> Any:
        local.place = each
        monkeypatch.setattr(hosts, "_joined", None)
        with hosts_joined() as peers:
            return work(peers)

    return at_once(run, own)


def raise_in(rank: int, error: Exception) -> Callable[[Star], int]:
    def work(peers: Star) -> int:
        if peers.rank == rank:
            raise error
        return peers.rank

    return work


@pytest.mark.parametrize("rank", [0, 1])
def test_no_process_ends_well_if_another_fails(monkeypatch, rank):
    ends = joined_in_threads(monkeypatch, raise_in(rank, RunError("disk full")))
    assert str(ends[rank]) == "disk full"
    assert str(ends[1 - rank]) == f"process {rank} of 2 on {socket.gethostname()}: disk full"
    assert isinstance(ends[1 - rank], PeerLost)


def test_processes_that_have_done_their_work_part(monkeypatch):
    assert joined_in_threads(monkeypatch, lambda peers: peers.rank) == [0, 1]
    ends = joined_in_threads(monkeypatch, lambda peers: (_ for _ in ()).throw(Stopped("by SIGTERM")))
    assert [type(end) for end in ends] == [Stopped, Stopped]
    assert hosts.peers().count == 1


def test_a_process_that_goes_on_alone_is_an_error_in_all(monkeypatch):
    ends = joined_in_threads(monkeypatch, lambda peers: peers.rank and peers.allgather(to_bytes({1: 2})))
    assert [type(end) for end in ends] == [PeerLost, PeerLost]


@pytest.mark.parametrize("given", ["soon", "0", "-1", "inf", "nan"])
def test_a_wrong_patience_is_refused(monkeypatch, given):
    monkeypatch.setattr(hosts, "place", lambda: places(2)[0])
    monkeypatch.setenv("GLASSWRIGHT_HOSTS_TIMEOUT", given)
    with pytest.raises(RequestError, match=f"GLASSWRIGHT_HOSTS_TIMEOUT={given}: must be a number"), hosts_joined():
        pass


def test_exchange_joins_what_each_has_in_the_order_of_the_numbers(monkeypatch):
    class Two(Fixed):
        def allgather(self, data: bytes) -> list[bytes]:
            assert from_bytes(data) == {"3": "c"}
            return [to_bytes({3: "c", 0: "a"}), to_bytes({2: "b"})]

    monkeypatch.setattr(hosts, "peers", lambda: Two(None, None))
    assert list(hosts.exchange({3: "c"}).items()) == [(0, "a"), (2, "b"), (3, "c")]
