"""A closed loop over raw sockets that costs about 20 microseconds per request.

Locust measures what users of a service see; here the question is what one service costs
more than another, and a client of 0.3 ms would hide half of the answer. Nothing of HTTP is
parsed but the status and Content-Length, so it is for services that one starts oneself.
"""

from __future__ import annotations

import select
import socket
from dataclasses import dataclass, field
from time import perf_counter_ns

from contract.errors import ServiceFailed
from contract.timing import NS_PER_S, TIMING_HEADER, TOTAL, parse_server_timing

_END_OF_HEAD = b"\r\n\r\n"
_LENGTH = b"content-length:"
_TIMING = TIMING_HEADER.lower().encode() + b":"
_OK = b" 200 "
_TIMEOUT_S = 10.0
_CHUNK_BYTES = 65_536


@dataclass(slots=True)
class Loop:
    """What a closed loop saw. ``round_trips_ns`` and ``heads`` in the order of their ends, failures included."""

    round_trips_ns: list[int] = field(default_factory=list)
    heads: list[bytes] = field(default_factory=list)
    failures: int = 0
    elapsed_ns: int = 0

    def service_ns(self) -> list[int]:
        """What the service says that each answer took inside it; nothing where an answer does not say."""
        told = (parse_server_timing(_field(head, _TIMING).decode("latin-1")).get(TOTAL) for head in self.heads)
        found = [total for total in told if total is not None]
        return found if len(found) == len(self.heads) else []


@dataclass(slots=True)
class _Connection:
    socket: socket.socket
    sent_ns: int = 0
    received: bytearray = field(default_factory=bytearray)


def request_bytes(host: str, port: int, path: str, content_type: str, body: bytes) -> bytes:
    """A whole POST request."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def closed_loop(host: str, port: int, request: bytes, *, connections: int, duration_s: float) -> Loop:
    """Send ``request`` over ``connections`` at once, each again as soon as it was answered, for ``duration_s``.

    What is under way at the end is waited for and counted. Raises `ServiceFailed` where the
    service closes a connection or does not answer for 10 s.
    """
    open_connections = [_connect(host, port) for _ in range(connections)]
    try:
        return _run(open_connections, request, duration_s)
    except OSError as error:
        raise ServiceFailed(f"the service at {host}:{port} broke a connection: {error}") from error
    finally:
        for connection in open_connections:
            connection.socket.close()


def _connect(host: str, port: int) -> _Connection:
    try:
        connected = socket.create_connection((host, port), _TIMEOUT_S)
    except OSError as error:
        raise ServiceFailed(f"nothing listens at {host}:{port}: {error}") from error
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return _Connection(connected)


def _run(connections: list[_Connection], request: bytes, duration_s: float) -> Loop:
    loop, poller = Loop(), select.poll()
    by_number = {connection.socket.fileno(): connection for connection in connections}
    began_ns = perf_counter_ns()
    for number, connection in by_number.items():
        poller.register(number, select.POLLIN)
        _send(connection, request)
    end_ns, under_way = began_ns + int(duration_s * NS_PER_S), len(connections)
    while under_way:
        ready = poller.poll(_TIMEOUT_S * 1_000)
        if not ready:
            raise TimeoutError(f"no answer within {_TIMEOUT_S:g} s")
        for number, _ in ready:
            connection = by_number[number]
            if not _answered(connection, loop):
                continue
            if perf_counter_ns() < end_ns:
                _send(connection, request)
            else:
                under_way -= 1
    loop.elapsed_ns = perf_counter_ns() - began_ns
    return loop


def _send(connection: _Connection, request: bytes) -> None:
    connection.sent_ns = perf_counter_ns()
    connection.socket.sendall(request)


def _answered(connection: _Connection, loop: Loop) -> bool:
    """Take in what came; whether the answer is whole."""
    piece = connection.socket.recv(_CHUNK_BYTES)
    if not piece:
        raise ConnectionResetError("closed before the answer was whole")
    connection.received += piece
    length = answer_length(connection.received)
    if length is None or len(connection.received) < length:
        return False
    loop.round_trips_ns.append(perf_counter_ns() - connection.sent_ns)
    loop.failures += _OK not in connection.received[:13]
    loop.heads.append(bytes(connection.received[: connection.received.find(_END_OF_HEAD)]))
    connection.received.clear()
    return True


def answer_length(received: bytes | bytearray) -> int | None:
    """Bytes of the whole answer that ``received`` begins, None while its head is not whole."""
    head_end = received.find(_END_OF_HEAD)
    if head_end < 0:
        return None
    value = _field(received[:head_end], _LENGTH)
    if not value:
        raise ServiceFailed("an answer came without Content-Length, which this client needs")
    return head_end + len(_END_OF_HEAD) + int(value)


def _field(head: bytes | bytearray, name: bytes) -> bytes:
    """The value of the header ``name``, in lower case and with its colon; empty where there is none."""
    _, _, value = bytes(head).lower().partition(name)
    return value.split(b"\r\n", 1)[0]
