"""The one HTTP door of every runtime: a plain ASGI application of a few exact paths.

It stands in front of BentoML's own application: BentoML's routing and (de)serialisation
stay out of the way, its workers, health probes and packaging stay in use. Every answer
that is not a positive one has the same JSON body, 404, 405 and the unexpected included.
"""

from __future__ import annotations

import itertools
import logging
import re
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from starlette.types import ASGIApp, Receive, Scope, Send

from contract.errors import InvalidImage
from serving.answers import ModelName, error_body, protocol_error_body
from serving.http.refusal import ClientGone, Refusal
from serving.observe.clock import PartClock

logger = logging.getLogger("hemabench.serving")

Headers = Sequence[tuple[bytes, bytes]]
JSON_TYPE = b"application/json"
PROBES = frozenset({"/healthz", "/livez", "/readyz"})
# An extension of ASGI: a server that has it takes status, headers and body at once, or says False and took nothing.
WHOLE_ANSWER = "hemabench.whole_answer"
PROTOCOL = "/v2/"  # below it an error has the form that the Open Inference Protocol demands
# An id is drawn at random per process and counted within it: the system's randomness costs a call per request.
_PROCESS = secrets.token_hex(4)
_NUMBERS = itertools.count(1)
_SAFE_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")


@dataclass(slots=True)
class Request:
    """What a handler needs of ASGI's scope, and the id that joins answer, log and record."""

    id: str
    query: bytes
    headers: list[tuple[bytes, bytes]]
    receive: Receive
    # What is learnt of it on the way, for those who keep an account of it.
    images: Sequence[bytes] = ()  # for the audit log
    image_count: int = 0
    model: ModelName | None = None
    clock: PartClock | None = None
    traceparent: str = ""

    @property
    def trace_id(self) -> str | None:
        """The trace that it belongs to, where there is one."""
        return self.traceparent[3:35] or None


@dataclass(frozen=True, slots=True)
class Response:
    """A whole answer."""

    body: bytes
    status: int = 200
    content_type: bytes = JSON_TYPE
    headers: Headers = ()
    told: bytes = b""  # what the audit log reads, where it is not the body


Handler = Callable[[Request], Awaitable[Response]]
Routes = dict[str, dict[str, Handler]]


class Door:
    """``routes[path][method]``; paths are exact."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection; anything but HTTP is closed."""
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1000})
            return
        request = Request(_request_id(scope["headers"]), scope["query_string"], scope["headers"], receive)
        try:
            response = await self._answer(scope, request)
        except ClientGone:
            return
        headers = _headers_of(response, request)
        write = scope.get("extensions", {}).get(WHOLE_ANSWER)
        if write is None or not write(response.status, headers, response.body):
            await send({"type": "http.response.start", "status": response.status, "headers": headers})
            await send({"type": "http.response.body", "body": response.body})

    async def _answer(self, scope: Scope, request: Request) -> Response:
        try:
            return await self._handler(scope["path"], scope["method"])(request)
        except (Refusal, InvalidImage) as refusal:
            return refused(refusal, request.id, scope["path"])
        except ClientGone:
            raise
        except Exception:  # the last line of defence: logged whole, answered without a word of it
            logger.exception("request %s failed", request.id)
            return _error(
                500, "internal", "something went wrong here; the log has it under this id", request.id, scope["path"]
            )

    def _handler(self, path: str, method: str) -> Handler:
        methods = self._routes.get(path)
        if methods is None:
            raise Refusal("there is nothing at this path; see GET /", code="not_found", status=404)
        handler = methods.get("GET" if method == "HEAD" else method)  # the server leaves the body of such an answer out
        if handler is None:
            allowed = ", ".join([*methods, *(["HEAD"] if "GET" in methods else [])])
            raise Refusal(
                f"this path takes {allowed}",
                code="method_not_allowed",
                status=405,
                headers=((b"allow", allowed.encode()),),
            )
        return handler


class DoorInFront:
    """The door answers everything but the probes, which are left to the application behind it."""

    def __init__(self, app: ASGIApp, routes: Routes) -> None:
        self._app = app
        self._door = Door(routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection."""
        if scope["type"] == "lifespan" or (scope["type"] == "http" and is_probe(scope)):
            await self._app(scope, receive, send)
        else:
            await self._door(scope, receive, send)


def is_probe(scope: Scope) -> bool:
    """Whether this is one of the three questions that BentoML answers itself."""
    return scope["path"] in PROBES and scope["method"] in ("GET", "HEAD")


def refused(refusal: Refusal | InvalidImage, request_id: str, path: str) -> Response:
    """The answer that ``refusal`` asks for."""
    headers = refusal.headers if isinstance(refusal, Refusal) else ()
    return _error(refusal.status, refusal.code, str(refusal), request_id, path, headers)


def _error(status: int, code: str, message: str, request_id: str, path: str, headers: Headers = ()) -> Response:
    encode = protocol_error_body if (path + "/").startswith(PROTOCOL) else error_body
    return Response(encode(code, message, request_id), status=status, headers=headers)


def _headers_of(response: Response, request: Request) -> list[tuple[bytes, bytes]]:
    headers = [
        (b"content-type", response.content_type),
        (b"content-length", b"%d" % len(response.body)),
        (b"x-request-id", request.id.encode()),
        (b"x-content-type-options", b"nosniff"),
        *response.headers,
    ]
    if request.traceparent:
        headers.append((b"traceresponse", request.traceparent.encode()))
    return headers


def _request_id(headers: list[tuple[bytes, bytes]]) -> str:
    """The client's own id where it sent a harmless one, so that logs join across services; else a new one."""
    for name, value in headers:
        if name == b"x-request-id" and _SAFE_ID.fullmatch(value):
            return value.decode()
    return f"{_PROCESS}{next(_NUMBERS):08x}"
