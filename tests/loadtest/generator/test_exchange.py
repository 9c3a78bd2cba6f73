from __future__ import annotations

import socket
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from geventhttpclient.client import HTTPClient

from contract.timing import PARTS, TOTAL
from loadtest.generator.connecting import watch_connections
from loadtest.generator.exchange import Reply, exchange

PNG = b"\x89PNG and the rest"
TARGET = "/v1/classify?resolution=28"


def post(url: str, timeout_s: float = 5.0) -> Reply:
    address = urlsplit(url)
    client = HTTPClient(address.hostname, address.port, network_timeout=timeout_s)
    try:
        return exchange(client, TARGET, PNG, timeout_s)
    finally:
        client.close()


@pytest.mark.parametrize(
    ("fault", "status", "failure"),
    [
        ("http_503", 503, "http_503"),
        ("http_404", 404, "http_404"),
        ("no_class", 200, "bad_answer"),
        ("wrong_class", 200, "bad_answer"),
        ("not_json", 200, "bad_answer"),
        ("empty", 200, "bad_answer"),
        ("garbage", 0, "bad_answer"),
        ("cut", 0, "connection_lost"),
        ("cut_head", 0, "connection_lost"),
        ("close", 0, "connection_lost"),
        ("reset", 0, "connection_lost"),
        ("hang", 0, "timeout"),
        ("drip", 0, "timeout"),
    ],
)
@pytest.mark.acceptance("F7")
def test_every_kind_of_failure_has_its_name(fake_service: Callable, fault: str, status: int, failure: str) -> None:
    with fake_service(faults={"all": fault}) as service:
        reply = post(service.url, timeout_s=0.4 if failure == "timeout" else 5.0)
    assert (reply.status, reply.answered, reply.failure) == (status, None, failure)


def test_a_port_where_nobody_listens_is_a_failed_connection() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        reply = post(f"http://127.0.0.1:{taken.getsockname()[1]}")
    assert (reply.status, reply.failure) == (0, "connect_failed")


def test_an_answer_carries_its_class_and_the_parts_of_its_time(fake_service: Callable, truth_at: Callable) -> None:
    with fake_service(class_index=5, service_ms=2) as service:
        reply = post(service.url)
        truth = truth_at(service.url)
    assert (reply.status, reply.answered, reply.failure) == (200, 5, None)
    assert set(reply.parts_ns) == {*PARTS, TOTAL}
    assert reply.parts_ns["infer"] == truth["service_ns"][0]  # to the nanosecond
    assert truth["resolutions"] == ["28"]


def test_a_connection_is_waited_for_once_and_kept(fake_service: Callable) -> None:
    with fake_service(pad_bytes=100_000) as service:
        address = urlsplit(service.url)
        client = HTTPClient(address.hostname, address.port)
        watch_connections(client)
        first, second = (exchange(client, TARGET, PNG, 5.0) for _ in range(2))
        client.close()
    assert first.connect_ns > 0 == second.connect_ns
    assert first.receive_ns > 0  # more than one read


def test_a_connection_that_was_not_made_was_waited_for_too() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        client = HTTPClient("127.0.0.1", taken.getsockname()[1])
        watch_connections(client)
        reply = exchange(client, TARGET, PNG, 5.0)
    assert (reply.failure, reply.connect_ns > 0) == ("connect_failed", True)


def test_a_failure_is_not_tried_again(fake_service: Callable, truth_at: Callable) -> None:
    with fake_service(faults={"0": "close"}) as service:
        assert post(service.url).failure == "connection_lost"
        assert truth_at(service.url)["requests"] == 1
