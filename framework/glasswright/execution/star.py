"""Processes that are connected to the first of them, each by a socket.

The run needs no more than that: every process works on its share, and the first one collects the results and hands them
to all. `jax.distributed` would do as well, but ends a process that has lost another one without a word to the program.
"""

import contextlib
import json
import logging
import os
import socket
import time
from collections.abc import Iterator, Sequence

from .._errors import RequestError, RunError
from .._types import JSON
from .container import from_bytes, to_bytes
from .frames import receive, send, send_failure, watch
from .peers import AbstractPeers, PeerLost
from .place import Place

# Seconds until a process that waits for others says so, and for which one that has connected may hesitate.
SAY_AFTER, HELLO = 5.0, 5.0
# Bytes of a first message.
LARGEST_HELLO = 2**16
LOOPBACK = ("127.0.0.1", "localhost", "::1")

logger = logging.getLogger(__name__)


class Star(AbstractPeers):
    """The processes of a run. Making it waits until all are there.

    **Arguments:**

    - `place`: that of this process.
    - `patience`: for how many seconds to wait for the others.
    """

    def __init__(self, place: Place, patience: float):
        self.rank, self.count = place.rank, place.count
        self._hosts = [""] * place.count
        # The first process has a connection to each other one, these only have one to the first.
        self._connections: dict[int, socket.socket] = {}
        wait = _Wait(place, patience)
        try:
            if place.rank == 0:
                self._listen(place, wait)
            else:
                self._connect(place, wait)
        except BaseException as error:
            self.leave(error)
            raise

    def allgather(self, data: bytes) -> list[bytes]:
        if self.rank > 0:
            with self._watched(0):
                send(self._connections[0], data)
                parts: list[bytes] = from_bytes(receive(self._connections[0]))
            return parts
        parts = [data]
        for rank in range(1, self.count):
            with self._watched(rank):
                parts.append(receive(self._connections[rank]))
        union = to_bytes(parts)
        for rank in range(1, self.count):
            with self._watched(rank):
                send(self._connections[rank], union)
        return parts

    def leave(self, error: BaseException | None = None) -> None:
        for connection in self._connections.values():
            if error is not None:
                send_failure(connection, error, self._name(self.rank))
            connection.close()
        self._connections = {}

    def _name(self, rank: int) -> str:
        host = self._hosts[rank]
        return f"process {rank} of {self.count}{f' on {host}' if host else ''}"

    @contextlib.contextmanager
    def _watched(self, rank: int) -> Iterator[None]:
        """What the system says about a lost connection, in our words."""
        try:
            yield
        except (EOFError, OSError, ValueError) as error:
            if isinstance(error, RequestError):
                raise
            raise PeerLost(f"{self._name(rank)} (counted from 0) has ended or cannot be reached any more") from error

    def _listen(self, place: Place, wait: "_Wait") -> None:
        """Take in all others, then let them start."""
        self._hosts[0] = socket.gethostname()
        with _server(place) as server:
            while len(self._connections) < self.count - 1:
                missing = [rank for rank in range(1, self.count) if rank not in self._connections]
                server.settimeout(wait.next(missing))
                with contextlib.suppress(TimeoutError):
                    self._take_in(server.accept()[0], place)
        for rank, connection in self._connections.items():
            connection.settimeout(None)
            with self._watched(rank):
                send(connection, json.dumps(self._hosts).encode())

    def _take_in(self, connection: socket.socket, place: Place) -> None:
        """Greet whoever has connected; only processes of this run stay."""
        try:
            watch(connection)
            connection.settimeout(HELLO)
            hello = json.loads(receive(connection, LARGEST_HELLO))
            rank, count, host = int(hello["rank"]), int(hello["count"]), str(hello["host"])
            if hello["run"] != place.run or count != self.count or not 0 < rank < count:
                raise RunError(f"{place.address} is the address of another run, of {self.count} processes")
            if rank in self._connections:
                raise RunError(f"there is a process {rank} already: each needs a number of its own")
        except RunError as error:
            send_failure(connection, error, self._name(0))
            connection.close()
        except (EOFError, OSError, ValueError, KeyError, TypeError):
            # Not one of us, or gone again.
            connection.close()
        else:
            self._connections[rank], self._hosts[rank] = connection, host

    def _connect(self, place: Place, wait: "_Wait") -> None:
        """Find the first process, and wait until it says that all are there."""
        self._hosts[self.rank] = socket.gethostname()
        hello = {"run": place.run, "rank": self.rank, "count": self.count, "host": self._hosts[self.rank]}
        while True:
            pause = wait.next([0])
            connection = _reach(place, pause)
            if connection is None:
                time.sleep(min(0.2, pause))
                continue
            self._connections[0] = connection
            with self._watched(0):
                send(connection, json.dumps(hello).encode())
                self._hosts = [str(host) for host in self._welcome(connection, wait)]
            connection.settimeout(None)
            return

    def _welcome(self, connection: socket.socket, wait: "_Wait") -> Sequence[JSON]:
        while True:
            # A wait that ends while nothing has come; a message itself is short and comes in one piece.
            connection.settimeout(wait.next(None))
            with contextlib.suppress(TimeoutError):
                hosts: list[JSON] = json.loads(receive(connection))
                return hosts


class _Wait:
    """A wait with an end, which says once that it goes on."""

    def __init__(self, place: Place, patience: float):
        self._place, self._patience, self._begin = place, patience, time.monotonic()
        self._said = False

    def next(self, missing: Sequence[int] | None) -> float:
        """Seconds to wait now for these processes (None: for whoever has not come); raises `PeerLost` at the end."""
        place, passed = self._place, time.monotonic() - self._begin
        who = "others" if missing is None else f"process{'es' * (len(missing) > 1)} {', '.join(map(str, missing))}"
        this = f"process {place.rank} of {place.count} (counted from 0)"
        if passed >= self._patience:
            raise PeerLost(
                f"{this} has waited {passed:.0f} s for {who} at {place.address}, in vain: start all processes, or set "
                f"GLASSWRIGHT_HOSTS=off if this one is to work alone ({place.origin}={place.count} asks for the others)"
            )
        if passed >= SAY_AFTER and not self._said:
            self._said = True
            logger.info(
                "%s waits for %s at %s, for %.0f s more at most", this, who, place.address, self._patience - passed
            )
        end = self._patience if self._said else min(SAY_AFTER, self._patience)
        return max(end - passed, 0.01)


def _server(place: Place) -> socket.socket:
    """A socket that listens at the address; on all interfaces, as a host's own name may mean only itself."""
    host = os.environ.get("JAX_COORDINATOR_BIND_ADDRESS", "").rpartition(":")[0].strip("[]")
    if not host and place.host in LOOPBACK:
        host = place.host
    try:
        if not host and socket.has_dualstack_ipv6():
            return socket.create_server(("::", place.port), family=socket.AF_INET6, dualstack_ipv6=True)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, place.port), family=family)
    except OSError as error:
        raise RunError(
            f"process 0 of {place.count} cannot listen at {place.address}: {error.strerror or error}; another process "
            f"0, or another run, may have the address ({place.origin}={place.count})"
        ) from error


def _reach(place: Place, patience: float) -> socket.socket | None:
    """A connection to the first process, None if it does not listen yet."""
    try:
        connection = socket.create_connection((place.host, place.port), timeout=patience)
    except OSError:
        return None
    if connection.getsockname() == connection.getpeername():
        # While nobody listens at a port that the system hands out, a connection can meet itself.
        connection.close()
        return None
    watch(connection)
    return connection
