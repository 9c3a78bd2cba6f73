"""An answer in one write is uvicorn's own, byte for byte, and what follows a body stays small and is no header."""

from __future__ import annotations

import asyncio
import json

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from serving.http.bodies import MAX_HEADER_BYTES, read_body
from serving.http.connections import GuardedProtocol
from serving.http.door import Door, Response
from serving.http.refusal import CLOSE_CONNECTION, Refusal

POST = b"POST /%b HTTP/1.1\r\nHost: x\r\nX-Request-Id: mine\r\nContent-Length: 2\r\n\r\nhi"
CHUNKED = b"POST /%b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n"
PIECE_BYTES = 16_384  # as a socket would hand them over
PASSES = 20  # of the loop, after which everything has been answered


class Wire(asyncio.Transport):
    """The server's end of a connection, which keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.writes.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


async def echo(request):
    return Response(await read_body(request.receive, 1_000, 5.0), headers=((b"server-timing", b"read;dur=0.02"),))


async def refuse(request):
    raise Refusal("no more of this", code="gone", status=503, headers=(CLOSE_CONNECTION,))


async def split(request):
    return Response(b"{}", headers=((b"x-made-up", b"1\r\nset-cookie: stolen=1"),))


async def greet(request):
    return Response(b"hello")


async def headers(request):
    await read_body(request.receive, 1_000, 5.0)
    return Response(json.dumps([name.decode() for name, _ in request.headers]).encode())


ROUTES = {path: {"POST": handler} for path, handler in (("/echo", echo), ("/refuse", refuse), ("/split", split))}
ROUTES |= {"/headers": {"POST": headers}, "/greeting": {"GET": greet}}


async def answered_by(protocol_class, sent, prepare=lambda protocol: None):
    config = uvicorn.Config(Door(ROUTES), lifespan="off", access_log=False, log_config=None)
    config.load()
    loop = asyncio.get_running_loop()
    protocol = protocol_class(config=config, server_state=ServerState(), app_state={}, _loop=loop)
    wire = Wire()
    protocol.connection_made(wire)
    prepare(protocol)
    for piece in (sent,) if isinstance(sent, bytes) else sent:
        if wire.closed:
            break
        protocol.data_received(piece)
        for _ in range(PASSES):
            await asyncio.sleep(0)
    protocol.connection_lost(None)
    return wire, protocol


@pytest.mark.parametrize(
    ("sent", "writes"),
    [
        pytest.param(POST % b"echo", 1, id="an answer"),
        pytest.param(POST % b"nothing", 1, id="an error"),
        pytest.param((POST % b"echo") * 3, 3, id="three in a row"),
        pytest.param(POST % b"refuse", 2, id="an answer that closes the connection"),
        pytest.param((POST % b"echo").replace(b"1.1", b"1.0"), 2, id="HTTP/1.0"),
        pytest.param((POST % b"echo").replace(b"Host", b"Connection: close\r\nHost"), 2, id="a client that closes"),
        pytest.param((POST % b"echo").replace(b"Host", b"Expect: 100-continue\r\nHost"), 2, id="one who asks first"),
        pytest.param(b"HEAD /echo HTTP/1.1\r\nHost: x\r\nX-Request-Id: mine\r\n\r\n", 1, id="no body is wanted"),
    ],
)
def test_a_whole_answer_is_the_one_that_uvicorn_gives(sent, writes):
    ours, _ = asyncio.run(answered_by(GuardedProtocol, sent))
    theirs, _ = asyncio.run(answered_by(HttpToolsProtocol, sent))
    assert b"".join(ours.writes) == b"".join(theirs.writes)
    assert ours.closed == theirs.closed
    assert len(ours.writes) == writes
    assert ours.writes[-1] != b""


def test_no_header_can_hold_a_line_of_its_own():
    wire, _ = asyncio.run(answered_by(GuardedProtocol, POST % b"split"))
    assert not any(b"stolen" in written for written in wire.writes)


def test_a_client_that_does_not_read_is_waited_for():
    def pause(protocol):
        protocol.flow.pause_writing()

    async def scenario():
        wire, protocol = await answered_by(GuardedProtocol, POST % b"echo", pause)
        assert wire.writes == []
        assert not protocol.cycle.response_complete

    asyncio.run(scenario())


def pieces_of(data):
    return [data[at : at + PIECE_BYTES] for at in range(0, len(data), PIECE_BYTES)]


@pytest.mark.acceptance("A4")
def test_a_trailer_is_no_header():
    trailers = b"Inference-Header-Content-Length: 7\r\nContent-Encoding: gzip\r\n\r\n"
    wire, protocol = asyncio.run(answered_by(GuardedProtocol, CHUNKED % b"headers" + b"0\r\n" + trailers))
    assert wire.writes[0].endswith(b'["host", "transfer-encoding"]')
    assert [name for name, _ in protocol.headers] == [b"host", b"transfer-encoding"]


@pytest.mark.acceptance("A3")
@pytest.mark.parametrize(
    "rest",
    [
        pytest.param(b"0\r\n" + b"a:b\r\n" * 400_000, id="very many trailers"),
        pytest.param(b"0\r\na:" + b"b" * 2_000_000, id="one that never ends"),
        pytest.param(b"2;" + b"e" * 2_000_000, id="an extension of a chunk that never ends"),
    ],
)
@pytest.mark.parametrize("in_one_piece_with_the_body", [True, False])
def test_what_is_no_body_is_as_short_as_a_head_may_be(rest, in_one_piece_with_the_body):
    head = CHUNKED % b"headers"
    unread = iter(pieces_of(head + rest) if in_one_piece_with_the_body else [head, *pieces_of(rest)])
    wire, protocol = asyncio.run(answered_by(GuardedProtocol, unread))
    assert [b'"headers_too_large"' in written for written in wire.writes] == [True]
    assert wire.closed
    assert len(protocol.headers) == 2
    assert sum(map(len, unread)) > len(rest) - MAX_HEADER_BYTES - 4 * PIECE_BYTES


@pytest.mark.acceptance("A3")
def test_what_stands_between_the_pieces_of_a_body_is_counted_from_piece_to_piece():
    slow = [b"1;%b\r\n" % (b"e" * 60_000), b"x\r\n"] * 9
    wire, _ = asyncio.run(answered_by(GuardedProtocol, [CHUNKED % b"headers", *slow, b"0\r\n\r\n"]))
    assert wire.writes[0].startswith(b"HTTP/1.1 200")


def test_a_head_that_begins_behind_a_large_body_is_as_long_as_it_is():
    body, last = b"b" * (2 * MAX_HEADER_BYTES), POST % b"echo"
    large = (POST % b"nothing").replace(b"Length: 2\r\n\r\nhi", b"Length: %d\r\n\r\n%b" % (len(body), body))
    wire, _ = asyncio.run(answered_by(GuardedProtocol, [large + last[:20], last[20:]]))
    assert [written[:12] for written in wire.writes] == [b"HTTP/1.1 404", b"HTTP/1.1 200"]


def test_who_sends_on_behind_an_early_answer_gets_no_second_one():
    sent = [CHUNKED % b"nothing", *pieces_of(b"0\r\na:" + b"b" * 100_000)]
    wire, _ = asyncio.run(answered_by(GuardedProtocol, sent))
    assert [written[:12] for written in wire.writes] == [b"HTTP/1.1 404"]
    assert wire.closed


UPGRADE = (
    b"POST /echo HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n"
)


@pytest.mark.parametrize(
    "framed",
    [b"Content-Length: 13\r\n\r\nhi, in a body", b"Transfer-Encoding: chunked\r\n\r\nd\r\nhi, in a body\r\n0\r\n\r\n"],
)
@pytest.mark.parametrize("piece_bytes", [1, 100, 10_000])
def test_who_would_rather_speak_http_2_is_heard_to_the_end_in_http_1(framed, piece_bytes):
    data = (UPGRADE + framed) * 2 + POST % b"echo"
    pieces = [data[at : at + piece_bytes] for at in range(0, len(data), piece_bytes)]
    wire, _ = asyncio.run(answered_by(GuardedProtocol, pieces))
    answers = b"".join(wire.writes).split(b"HTTP/1.1 200 OK")
    assert [answer.partition(b"\r\n\r\n")[2] for answer in answers] == [b"", b"hi, in a body", b"hi, in a body", b"hi"]


@pytest.mark.acceptance("A4")
@pytest.mark.parametrize("hosts", [b"", b"Host: x\r\nHost: y\r\n"])
def test_a_request_names_one_host(hosts):
    wire, _ = asyncio.run(answered_by(GuardedProtocol, (POST % b"echo").replace(b"Host: x\r\n", hosts)))
    assert [b'"bad_request"' in written for written in wire.writes] == [True]
    assert wire.closed


def test_an_older_request_names_no_host():
    older = (POST % b"echo").replace(b"Host: x\r\n", b"").replace(b"1.1", b"1.0")
    wire, _ = asyncio.run(answered_by(GuardedProtocol, older))
    assert b"".join(wire.writes).startswith(b"HTTP/1.1 200")


def test_the_head_of_what_can_be_got_is_that_answer_without_its_body():
    sent = b"%b /greeting HTTP/1.1\r\nHost: x\r\nX-Request-Id: mine\r\n\r\n"
    got, _ = asyncio.run(answered_by(GuardedProtocol, sent % b"GET"))
    head, _ = asyncio.run(answered_by(GuardedProtocol, sent % b"HEAD"))
    assert b"".join(got.writes) == b"".join(head.writes) + b"hello"
    refused, _ = asyncio.run(answered_by(GuardedProtocol, sent % b"DELETE"))
    assert b"allow: GET, HEAD\r\n" in b"".join(refused.writes)
