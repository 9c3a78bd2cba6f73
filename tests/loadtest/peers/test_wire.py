"""The client that costs little counts every answer once, whatever pieces it comes in."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.errors import ServiceFailed
from loadtest.peers.wire import answer_length, closed_loop, request_bytes

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nCONTENT-LENGTH: 5\r\n\r\nhello"


@contextmanager
def server(answer_pieces, requests=None) -> Iterator[int]:
    """Answers every request with the pieces; stops after ``requests`` answers on a connection."""
    listener = socket.create_server(("127.0.0.1", 0))

    def talk(connection):
        with connection:
            served = 0
            while connection.recv(65_536) and served != requests:
                for piece in answer_pieces:
                    connection.sendall(piece)
                served += 1

    def accept():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def load(port, connections=1, duration_s=0.05):
    request = request_bytes("127.0.0.1", port, "/v1/classify", "image/png", b"image")
    return closed_loop("127.0.0.1", port, request, connections=connections, duration_s=duration_s)


def test_a_request_is_whole():
    request = request_bytes("127.0.0.1", 80, "/v1/classify", "image/png", b"body")
    head, body = request.split(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/classify HTTP/1.1\r\n")
    assert b"Content-Length: 4" in head.split(b"\r\n")
    assert body == b"body"


@given(st.integers(0, len(ANSWER)))
def test_an_answer_is_whole_when_its_length_has_come(cut):
    length = answer_length(ANSWER[:cut])
    assert length in (None, len(ANSWER))
    assert (length is not None) == (ANSWER.find(b"\r\n\r\n") + 4 <= cut)


@pytest.mark.parametrize("connections", [1, 5])
@pytest.mark.parametrize("pieces", [[ANSWER], [ANSWER[:20], ANSWER[20:70], ANSWER[70:]]])
def test_every_answer_is_counted_once(connections, pieces):
    with server(pieces) as port:
        loop = load(port, connections)
    assert loop.failures == 0
    assert len(loop.round_trips_ns) >= connections
    assert min(loop.round_trips_ns) > 0
    assert max(loop.round_trips_ns) <= loop.elapsed_ns


def test_what_the_service_says_of_itself_is_kept_for_every_answer():
    told = ANSWER.replace(b"\r\n\r\n", b"\r\nServer-Timing: infer;dur=0.1, total;dur=0.250000\r\n\r\n")
    with server([told]) as port:
        loop = load(port)
    assert loop.service_ns() == [250_000] * len(loop.round_trips_ns)


def test_a_service_that_says_nothing_of_itself_has_no_time_of_its_own():
    with server([ANSWER]) as port:
        assert load(port).service_ns() == []


def test_another_status_is_a_failure():
    with server([ANSWER.replace(b"200 OK", b"503 No")]) as port:
        loop = load(port)
    assert loop.failures == len(loop.round_trips_ns) > 0


def test_a_closed_connection_ends_the_loop():
    with server([ANSWER], requests=1) as port, pytest.raises(ServiceFailed, match="broke a connection"):
        load(port, duration_s=5)


def test_an_answer_without_a_length_cannot_be_followed():
    with server([b"HTTP/1.1 200 OK\r\n\r\n"]) as port, pytest.raises(ServiceFailed, match="Content-Length"):
        load(port)


def test_where_nobody_listens_the_address_is_named():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ServiceFailed, match=str(port)):
        load(port)
