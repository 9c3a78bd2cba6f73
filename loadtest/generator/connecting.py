"""How long a request waited for a connection of its own; nothing where one was kept alive."""

from __future__ import annotations

import time
from typing import Any

import gevent
from geventhttpclient.client import HTTPClient


def watch_connections(client: HTTPClient) -> None:
    """From now on every new connection of ``client`` is timed, for the greenlet that waits for it."""
    pool: Any = client._connection_pool
    create = pool._create_socket

    def timed() -> Any:
        began_ns = time.perf_counter_ns()
        try:
            return create()
        finally:
            gevent.getcurrent().connect_ns = time.perf_counter_ns() - began_ns

    pool._create_socket = timed


def connected_in_ns() -> int:
    """What the greenlet that asks has waited since it last asked; 0 where no connection was made or watched."""
    current = gevent.getcurrent()
    taken_ns: int = getattr(current, "connect_ns", 0)
    current.connect_ns = 0
    return taken_ns
