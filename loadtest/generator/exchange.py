"""One request over HTTP, and what came back. The caller reads the clock before it, and it after the last byte.

It uses geventhttpclient's client as `FastHttpUser` holds it, without Locust's session
around it: the session's cookies, redirects and header copies took 0.16 ms of every
round trip (0.50 ms against 0.35 ms, same service, one connection).
"""

from __future__ import annotations

import errno
import time
from dataclasses import dataclass

import gevent
from geventhttpclient.client import HTTPClient
from geventhttpclient.response import HTTPConnectionClosed, HTTPParseError

from contract.timing import TIMING_HEADER, parse_server_timing
from loadtest.generator.answers import BAD_ANSWER, CONNECT_FAILED, CONNECTION_LOST, TIMEOUT, read_answer
from loadtest.generator.connecting import connected_in_ns
from loadtest.generator.payloads import MEDIA_TYPE

_HEADERS = {"Content-Type": MEDIA_TYPE}
_LOST = {errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED, errno.ENOTCONN}
_INVALID_EOF = 14  # llhttp's number for a connection that ended inside a message


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back. Without an answer ``status`` is 0 and ``failure`` says why.

    ``connect_ns`` was waited for a connection, ``receive_ns`` from the answer's head to its last byte.
    """

    finished_ns: int
    status: int
    length_bytes: int
    answered: int | None
    failure: str | None
    parts_ns: dict[str, int]
    connect_ns: int = 0
    receive_ns: int = 0


def exchange(client: HTTPClient, target: str, body: bytes, timeout_s: float) -> Reply:
    """Send ``body`` and wait for the whole answer, at most ``timeout_s``; a failure is a `Reply` too.

    The answer is parsed after ``finished_ns`` is taken. Nothing is retried.
    """
    try:
        # Over the whole exchange: a socket's own time-out starts anew with every byte that drips in.
        with gevent.Timeout(timeout_s):
            response = client.request("POST", target, body=body, headers=_HEADERS)
            head_ns = time.perf_counter_ns()
            content = response.read()
            finished_ns = time.perf_counter_ns()
    except (OSError, HTTPParseError, gevent.Timeout) as error:
        return _no_answer(time.perf_counter_ns(), failure_of(error))
    answered, failure = read_answer(response.get_code(), content)
    timing = response.get(TIMING_HEADER)
    return Reply(
        finished_ns=finished_ns,
        status=response.get_code(),
        length_bytes=len(content),
        answered=answered,
        failure=failure,
        parts_ns=parse_server_timing(timing) if isinstance(timing, str) else {},
        connect_ns=connected_in_ns(),
        receive_ns=finished_ns - head_ns,
    )


def failure_of(error: BaseException) -> str:
    """The kind of failure that ``error`` is, as `loadtest.generator.answers` lists them."""
    if isinstance(error, gevent.Timeout | TimeoutError):
        return TIMEOUT
    if isinstance(error, HTTPConnectionClosed):
        return CONNECTION_LOST
    if isinstance(error, HTTPParseError):
        return CONNECTION_LOST if _ended_early(error) else BAD_ANSWER
    return CONNECTION_LOST if getattr(error, "errno", None) in _LOST else CONNECT_FAILED


def _ended_early(error: HTTPParseError) -> bool:
    """The parser gives llhttp's number for bytes it cannot read, and none where bytes are missing."""
    return len(error.args) < 2 or error.args[1] == _INVALID_EOF


def _no_answer(finished_ns: int, failure: str) -> Reply:
    return Reply(
        finished_ns=finished_ns,
        status=0,
        length_bytes=0,
        answered=None,
        failure=failure,
        parts_ns={},
        connect_ns=connected_in_ns(),
    )
