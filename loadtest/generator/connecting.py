"""How long a request waited for a connection of its own; nothing where one was kept alive.

geventhttpclient asks ``select`` whether a kept connection is still there, which knows no descriptor
from 1,024 on: every request of a load with many users would be sent over a connection of its own.
"""

from __future__ import annotations

import select
import time
from typing import Any

import gevent
from gevent.monkey import get_original
from geventhttpclient.client import HTTPClient

# The system's own, whatever gevent has put in its place: it returns at once, and no other greenlet runs.
_POLL = get_original("select", "poll")


def watch_connections(client: HTTPClient) -> None:
    """From now on new connections of ``client`` are timed, for the greenlet that waits, and kept ones are found."""
    pool: Any = client._connection_pool
    create = pool._create_socket

    def timed() -> Any:
        began_ns = time.perf_counter_ns()
        try:
            return create()
        finally:
            gevent.getcurrent().connect_ns = time.perf_counter_ns() - began_ns

    pool._create_socket, pool._is_socket_alive = timed, _is_alive


def _is_alive(sock: Any) -> bool:
    """Whether a kept connection may be used: of an idle one there is nothing to read, not even its end."""
    if sock is None or sock.fileno() < 0:
        return False
    poll = _POLL()
    poll.register(sock.fileno(), select.POLLIN)
    return not poll.poll(0)


def connected_in_ns() -> int:
    """What the greenlet that asks has waited since it last asked; 0 where no connection was made or watched."""
    current = gevent.getcurrent()
    taken_ns: int = getattr(current, "connect_ns", 0)
    current.connect_ns = 0
    return taken_ns
