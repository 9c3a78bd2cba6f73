from __future__ import annotations

import os
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest
from geventhttpclient.client import HTTPClient

from loadtest.generator.connecting import _is_alive, watch_connections
from loadtest.generator.exchange import exchange

BEYOND_SELECT = 1_100


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """More than ``select`` can count are open, so that the next has a higher number."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2 * BEYOND_SELECT
    if hard != resource.RLIM_INFINITY and hard < needed:
        pytest.skip(f"this system allows {hard} open files, and {needed} are needed")
    with ExitStack() as stack:
        if soft != resource.RLIM_INFINITY and soft < needed:
            resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
            stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        place = os.open(os.devnull, os.O_RDONLY)
        stack.callback(os.close, place)
        for _ in range(BEYOND_SELECT):
            stack.callback(os.close, os.dup(place))
        yield


def test_a_connection_is_kept_however_many_descriptors_are_open(
    fake_service: Callable, request: pytest.FixtureRequest
) -> None:
    with fake_service() as service:
        request.getfixturevalue("many_descriptors")
        address = urlsplit(service.url)
        client = HTTPClient(address.hostname, address.port)
        watch_connections(client)
        first, second = (exchange(client, "/v1/classify?resolution=28", b"\x89PNG", 5.0) for _ in range(2))
        client.close()
    assert first.connect_ns > 0 == second.connect_ns


def test_a_connection_that_ended_or_says_something_unasked_is_not_used() -> None:
    assert not _is_alive(None)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert _is_alive(ours)
        theirs.send(b"?")
        assert not _is_alive(ours)
        ours.recv(1)
        assert _is_alive(ours)
        theirs.close()
        assert not _is_alive(ours)
    assert not _is_alive(ours)
