"""An answer in one write is, byte for byte, the one that uvicorn would have written in two."""

from __future__ import annotations

import asyncio

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from serving.http.connections import GuardedProtocol
from serving.http.door import Door, Response
from serving.http.refusal import CLOSE_CONNECTION, Refusal

POST = b"POST /%b HTTP/1.1\r\nHost: x\r\nX-Request-Id: mine\r\nContent-Length: 2\r\n\r\nhi"
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
    message = await request.receive()
    return Response(message["body"], headers=((b"server-timing", b"read;dur=0.02"),))


async def refuse(request):
    raise Refusal("no more of this", code="gone", status=503, headers=(CLOSE_CONNECTION,))


async def split(request):
    return Response(b"{}", headers=((b"x-made-up", b"1\r\nset-cookie: stolen=1"),))


ROUTES = {"/echo": {"POST": echo}, "/refuse": {"POST": refuse}, "/split": {"POST": split}}


async def answered_by(protocol_class, sent, prepare=lambda protocol: None):
    config = uvicorn.Config(Door(ROUTES), lifespan="off", access_log=False, log_config=None)
    config.load()
    loop = asyncio.get_running_loop()
    protocol = protocol_class(config=config, server_state=ServerState(), app_state={}, _loop=loop)
    wire = Wire()
    protocol.connection_made(wire)
    prepare(protocol)
    protocol.data_received(sent)
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
