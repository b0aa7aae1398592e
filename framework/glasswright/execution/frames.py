"""Messages between processes on a socket: a letter that says what it is, the length, then the content."""

import contextlib
import json
import socket
import struct

from .._errors import RequestError, RunError, named, one_line
from .peers import PeerLost, PeerRefused

DATA, FAILURE = b"D", b"E"
HEAD = struct.Struct("!cQ")
# Seconds until a host that was switched off is noticed, and how often that is tried.
IDLE, INTERVAL, ATTEMPTS = 30, 10, 6


def watch(connection: socket.socket) -> None:
    """Let the system notice when the other host is gone, and send small messages at once."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # Not every system has these names.
    for name, value in (("TCP_KEEPIDLE", IDLE), ("TCP_KEEPINTVL", INTERVAL), ("TCP_KEEPCNT", ATTEMPTS)):
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def send(connection: socket.socket, data: bytes, kind: bytes = DATA) -> None:
    """Send one message."""
    connection.sendall(HEAD.pack(kind, len(data)) + data)


def receive(connection: socket.socket, largest: int | None = None) -> bytes:
    """The content of the next message.

    Raises the failure that the other side reports, `EOFError` if it has gone, `ValueError` if it is no message of ours.
    """
    kind, length = HEAD.unpack(_exactly(connection, HEAD.size))
    if kind not in (DATA, FAILURE) or (largest is not None and length > largest):
        raise ValueError("no message of glasswright")
    data = _exactly(connection, length)
    if kind == FAILURE:
        failure = json.loads(data)
        raise (PeerRefused if failure["request"] else PeerLost)(failure["text"])
    return data


def send_failure(connection: socket.socket, error: BaseException, sender: str) -> None:
    """Tell the other side what went wrong here; one that has gone need not know."""
    # What was heard from another process has its name already.
    known = isinstance(error, PeerLost | PeerRefused)
    text = one_line(error) if isinstance(error, RequestError | RunError) else named(error)
    content = {"text": text if known else f"{sender}: {text}", "request": isinstance(error, RequestError)}
    with contextlib.suppress(OSError):
        connection.settimeout(5.0)
        send(connection, json.dumps(content).encode(), FAILURE)


def _exactly(connection: socket.socket, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        part = connection.recv(min(length - len(data), 2**20))
        if not part:
            raise EOFError
        data += part
    return bytes(data)
