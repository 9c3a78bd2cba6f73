"""What a client may do to a connection before there is a request: uvicorn sets no deadline and no limit there.

A request's head must be complete within `HEAD_DEADLINE_S` and `MAX_HEADER_BYTES`, and its URL
be no longer than `MAX_URL_BYTES`; under HTTP/1.1 it names one host. What comes after a chunked body, its
trailers, is dropped and may be as long as a head. Whatever breaks a rule, or is no HTTP at all (two framings
of one body, say), gets the same JSON error as everywhere, and its connection is closed.

A request that would rather go on in HTTP/2 (Java's own client asks for that, and ``curl --http2``) is
answered in HTTP/1.1: uvicorn's parser skips the body of whatever asks for another protocol.
"""

from __future__ import annotations

import asyncio
import secrets
from functools import partial
from typing import Any

from httptools import HttpParserError, HttpParserUpgrade
from uvicorn.config import HTTP_PROTOCOLS
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from serving.answers import error_body
from serving.http.bodies import MAX_HEADER_BYTES
from serving.http.door import WHOLE_ANSWER, Headers

HEAD_DEADLINE_S = 8.0
MAX_URL_BYTES = 8_192

_BAD_REQUEST = (
    400,
    "bad_request",
    "this cannot be read as a request of HTTP/1.1: its first line, a header or its framing is wrong; "
    "neither HTTPS nor HTTP/2 is spoken here",
)
_NO_HOST = (400, "bad_request", "a request of HTTP/1.1 has one header Host")
_HEADERS_TOO_LARGE = (400, "headers_too_large", f"the headers exceed {MAX_HEADER_BYTES:,} bytes")
_URL_TOO_LONG = (414, "url_too_long", f"the URL is longer than {MAX_URL_BYTES:,} bytes")
_TOO_SLOW = (408, "headers_too_slow", f"the headers did not arrive within {HEAD_DEADLINE_S:g} s")


def guard_connections() -> None:
    """Make uvicorn, which BentoML starts with its protocol left to choice, choose `GuardedProtocol`."""
    HTTP_PROTOCOLS["auto"] = f"{__name__}:{GuardedProtocol.__name__}"


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's own protocol, which gives up a connection that never becomes a request.

    A head that comes in one piece, as nearly all do, costs two comparisons: the deadline
    is only set where a connection waits for the rest.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._refused = _BAD_REQUEST
        self._beside_bodies_bytes = 0
        self._in_head = False
        self._brought_body = self._brought_end = False
        self._stays_http = False
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A connection has the deadline from its first moment."""
        super().connection_made(transport)
        self._set_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is left to wait for."""
        self._lift_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """As uvicorn does; what is no whole head afterwards is counted and waited for.

        Not counted is the piece in which a head begins behind another request, most of which is that one's body.
        """
        self._brought_body = self._brought_end = False
        self._unset_keepalive_if_required()
        self._parse(data)
        if (self._in_head and not self._brought_end) or self._awaits_end():
            self._beside_bodies_bytes += len(data)
            if self._beside_bodies_bytes > MAX_HEADER_BYTES and not self.transport.is_closing():
                self._refuse(_HEADERS_TOO_LARGE)
        if self._in_head or self.cycle is None or self.cycle.response_complete:
            self._set_deadline()

    def on_message_begin(self) -> None:
        """A head begins."""
        self._in_head = True
        self._beside_bodies_bytes = 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A line of the head; one behind the body, a trailer, must not pass for a header that was there before it."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """A head is whole; what is raised here uvicorn answers by `send_400_response`."""
        self._in_head = False
        self._lift_deadline()
        if len(self.url) > MAX_URL_BYTES:
            self._refused = _URL_TOO_LONG
            raise ValueError
        if self.parser.get_http_version() == "1.1" and sum(name == b"host" for name, _ in self.headers) != 1:
            self._refused = _NO_HOST
            raise ValueError
        self._stays_http = self._asks_in_vain()
        if self._stays_http:
            return
        super().on_headers_complete()
        self.scope["extensions"] = {WHOLE_ANSWER: partial(_write_whole, self.cycle)}  # type: ignore[dict-item]

    def on_body(self, body: bytes) -> None:
        """A piece of a body, which has limits of its own."""
        self._brought_body = True
        self._beside_bodies_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """A body has come to its end; that of a request which is parsed once more has not begun."""
        self._brought_end = True
        if not self._stays_http:
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """The answer to what cannot be read as a request."""
        self._refuse(self._refused)

    def _parse(self, data: bytes) -> None:
        try:
            rest = memoryview(data)
            while (end := self._end_of_upgrade(rest)) is not None:
                rest = rest[end:]
                self.parser.feed_data(self._head_without_upgrade())
        except HttpParserError:
            self.logger.warning("a request that cannot be read was refused")
            self.send_400_response("")

    def _end_of_upgrade(self, data: memoryview) -> int | None:
        """Where the head ends that asks in vain for another protocol; None once all of ``data`` is parsed."""
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            if self._stays_http:
                return int(upgrade.args[0])
            if self._should_upgrade():
                self.handle_websocket_upgrade()
        return None

    def _asks_in_vain(self) -> bool:
        """Whether another protocol is asked for that is not spoken here; CONNECT asks for nothing that has a body."""
        asks = self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"
        return asks and not self._should_upgrade()

    def _head_without_upgrade(self) -> bytes:
        first = b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        lines = [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join((first, *lines, b"", b""))

    def _awaits_end(self) -> bool:
        """Whether what came last was neither head nor body: the sizes of chunks, with extensions, and trailers."""
        return self.cycle is not None and self.cycle.more_body and not self._brought_body

    def _is_answered_early(self) -> bool:
        """Whether the request was answered, or nearly so, before its body had come to an end."""
        return self.cycle is not None and self.cycle.more_body and self.cycle.response_started

    def _set_deadline(self) -> None:
        if self._deadline is None and not self.transport.is_closing():
            self._deadline = self.loop.call_later(HEAD_DEADLINE_S, self._too_slow)

    def _lift_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._deadline = None
        if self.cycle is not None and not self.cycle.response_complete:
            return  # a pipelined request that follows one still being answered
        if self._in_head:
            self._refuse(_TOO_SLOW)
        else:
            self.transport.close()

    def _refuse(self, refused: tuple[int, str, str]) -> None:
        if not self._in_head and self._is_answered_early():
            self.transport.close()  # who sends on behind an answer gets no second one
            return
        self._in_head = False
        self._lift_deadline()
        status, code, message = refused
        request_id = secrets.token_hex(8)
        body = error_body(code, message, request_id)
        head = (
            *(STATUS_LINE[status], b"content-type: application/json\r\n", b"content-length: %d\r\n" % len(body)),
            *(b"x-request-id: %b\r\n" % request_id.encode(), b"connection: close\r\n\r\n"),
        )
        self.transport.write(b"".join((*head, body)))
        self.transport.close()


def _write_whole(cycle: RequestResponseCycle, status: int, headers: Headers, body: bytes) -> bool:
    """Head and body in one write; False, and nothing written, where anything about the answer is out of the ordinary.

    uvicorn's own ``send``, which then has to do it, writes twice and looks at every header by
    two regular expressions.
    """
    if cycle.flow.write_paused or cycle.disconnected or not cycle.keep_alive or cycle.scope["method"] == "HEAD":
        return False
    lines = [b"%b: %b\r\n" % header for header in (*cycle.default_headers, *headers)]
    head = b"".join((STATUS_LINE[status], *lines, b"\r\n"))
    if head.count(b"\n") != len(lines) + 2 or (b"connection", b"close") in headers:
        return False
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    cycle.transport.write(head + body)
    cycle.message_event.set()
    cycle.on_response()
    return True
