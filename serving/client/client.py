"""A typed client of the service, waiting or asynchronous.

    with HemaBenchClient("http://127.0.0.1:3000") as client:
        print(client.classify(Path("cell.png")).label)

What is sent, what is retried and what an answer means is written once, as generators that
yield what they need: a request to be sent, or a pause. The two clients only carry that out.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Generator, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import httpx
import msgspec

from contract.errors import DataUnavailable, InvalidSettings, RequestRefused, ServiceFailed
from serving.answers import (
    Answer,
    ErrorAnswer,
    ImageAnswer,
    ImageError,
    LoadedModels,
    ManyAnswers,
    Problem,
    decode_json,
)

T = TypeVar("T")
Image = bytes | Path
ImageResult = ImageAnswer | ImageError

RETRIED_STATUSES = frozenset({429, 503})
# What is said of an image rather than of the request or the service; a code, because 400 is said of both.
_STATUSES_OF_AN_IMAGE = frozenset({415, 422, 500, 504})
_CODE_OF_AN_IMAGE = "missing_image"
# One request's share of many images; the service's own limits, which it may have been given lower.
IMAGES_PER_REQUEST = 64
BYTES_PER_REQUEST = 9_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """How long to wait for what, and how often to ask again.

    ``timeout_s`` bounds each silence of the service (a read, a write, a free connection),
    ``connect_timeout_s`` the making of a connection. A request is repeated only where the
    service said when to (429 or 503 with ``Retry-After`` in seconds), at most ``retries``
    times and only if that is within ``longest_pause_s``.
    """

    timeout_s: float = 30.0
    connect_timeout_s: float = 5.0
    retries: int = 3
    longest_pause_s: float = 10.0
    connections: int = 16

    def __post_init__(self) -> None:
        for name in ("timeout_s", "connect_timeout_s", "connections"):
            if getattr(self, name) <= 0:
                raise InvalidSettings(f"{name} ({getattr(self, name)}) must be > 0")
        for name in ("retries", "longest_pause_s"):
            if getattr(self, name) < 0:
                raise InvalidSettings(f"{name} ({getattr(self, name)}) must be >= 0")

    def timeout(self) -> httpx.Timeout:
        """For httpx."""
        return httpx.Timeout(self.timeout_s, connect=self.connect_timeout_s)

    def limits(self) -> httpx.Limits:
        """For httpx."""
        return httpx.Limits(max_connections=self.connections, max_keepalive_connections=self.connections)


@dataclass(frozen=True, slots=True)
class _Pause:
    duration_s: float


Conversation = Generator[httpx.Request | _Pause, httpx.Response | None, T]


def _send(request: httpx.Request) -> Conversation[httpx.Response]:
    response = yield request
    assert response is not None, "a client answers every request with a response"
    return response


@dataclass(frozen=True, slots=True)
class _Speaker:
    """What both clients say and understand."""

    url: str
    settings: ClientSettings

    def classify(self, image: Image, resolution_px: int | None) -> Conversation[Answer]:
        headers = {"Content-Type": "application/octet-stream"}
        request = self._request(
            "POST", "/v1/classify", params=_query(resolution_px), content=_bytes_of(image), headers=headers
        )
        return (yield from self._ask(request, Answer))

    def classify_many(self, images: Iterable[Image], resolution_px: int | None) -> Conversation[list[ImageResult]]:
        results: list[ImageResult] = []
        for group in _groups(images):
            if len(group) == 1:  # which the service answers in the shape of one image
                results.append((yield from self._classify_lone(group[0], resolution_px)))
            else:
                results += yield from self._classify_group(group, resolution_px)
        return results

    def _classify_lone(self, image: bytes, resolution_px: int | None) -> Conversation[ImageResult]:
        try:
            answer = yield from self.classify(image, resolution_px)
        except RequestRefused as refused:
            if refused.status not in _STATUSES_OF_AN_IMAGE and refused.code != _CODE_OF_AN_IMAGE:
                raise
            return ImageError(Problem(refused.code, str(refused), refused.request_id))
        return ImageAnswer(
            answer.label,
            answer.class_index,
            answer.probabilities,
            answer.calibrated,
            answer.in_distribution,
            answer.distance,
            answer.distance_threshold,
            timing_ms=answer.timing_ms,
        )

    def _classify_group(self, group: list[bytes], resolution_px: int | None) -> Conversation[list[ImageResult]]:
        files = [("image", ("image", content, "application/octet-stream")) for content in group]
        request = self._request("POST", "/v1/classify", params=_query(resolution_px), files=files)
        answers = yield from self._ask(request, ManyAnswers)
        if len(answers.results) != len(group):
            raise ServiceFailed(f"{self.url} gave {len(answers.results)} results for {len(group)} images")
        return answers.results

    def models(self) -> Conversation[LoadedModels]:
        return (yield from self._ask(self._request("GET", "/v1/models"), LoadedModels))

    def is_ready(self) -> Conversation[bool]:
        return (yield from _send(self._request("GET", "/readyz"))).is_success

    def _request(self, method: str, path: str, **parts: Any) -> httpx.Request:
        extensions = {"timeout": self.settings.timeout().as_dict()}
        return httpx.Request(method, f"{self.url}{path}", extensions=extensions, **parts)

    def _ask(self, request: httpx.Request, answer: type[T]) -> Conversation[T]:
        response = yield from _send(request)
        for _ in range(self.settings.retries):
            pause = self._pause_before_retry(response)
            if pause is None:
                break
            yield pause
            response = yield from _send(request)
        if not response.is_success:
            raise _refused(response)
        return self._understood(response, answer)

    def _pause_before_retry(self, response: httpx.Response) -> _Pause | None:
        said = response.headers.get("Retry-After", "")
        if response.status_code not in RETRIED_STATUSES or not said.isdecimal():
            return None
        return _Pause(float(said)) if float(said) <= self.settings.longest_pause_s else None

    def _understood(self, response: httpx.Response, answer: type[T]) -> T:
        try:
            return decode_json(response.content, type=answer)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ServiceFailed(f"what answers at {self.url} is no HemaBench service: {error}") from error

    def unreachable(self, error: httpx.HTTPError) -> ServiceFailed:
        """What is raised where no answer came."""
        what = str(error) or type(error).__name__
        if "[SSL" in what and "CERTIFICATE" not in what and "ALERT" not in what:  # it answered, and not in TLS
            plain = self.url.replace("https://", "http://", 1)
            return ServiceFailed(f"what answers at {self.url} speaks no TLS: {what}. Next: try {plain}")
        return ServiceFailed(f"no service answers at {self.url}: {what}. Next: hemabench serve")


class HemaBenchClient:
    """Asks the service at ``url`` and waits.

    Every method raises `RequestRefused` (with ``code``, ``status`` and ``request_id``) for
    an answer that is an error, and `ServiceFailed` where none comes, or none of this service.
    ``sleep`` and ``transport`` are for tests.
    """

    def __init__(
        self,
        url: str,
        settings: ClientSettings | None = None,
        *,
        sleep: Callable[[float], None] = time.sleep,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        settings = settings or ClientSettings()
        self._speaker = _Speaker(_base_url(url), settings)
        self._http = httpx.Client(timeout=settings.timeout(), limits=settings.limits(), transport=transport)
        self._sleep = sleep

    def classify(self, image: Image, resolution_px: int | None = None) -> Answer:
        """The answer to one image, given as its file's bytes or path."""
        return self._carry_out(self._speaker.classify(image, resolution_px))

    def classify_many(self, images: Iterable[Image], resolution_px: int | None = None) -> list[ImageResult]:
        """One result or error per image, in order; sent in groups of at most 64 images or 9 MB."""
        return self._carry_out(self._speaker.classify_many(images, resolution_px))

    def models(self) -> LoadedModels:
        """What the service has loaded."""
        return self._carry_out(self._speaker.models())

    def is_ready(self) -> bool:
        """Whether a classification would be answered; raises `ServiceFailed` where nobody listens."""
        return self._carry_out(self._speaker.is_ready())

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> HemaBenchClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _carry_out(self, conversation: Conversation[T]) -> T:
        response: httpx.Response | None = None
        while True:
            try:
                step = conversation.send(response)
            except StopIteration as end:
                result: T = end.value
                return result
            if isinstance(step, _Pause):
                self._sleep(step.duration_s)
                response = None
            else:
                response = self._send(step)

    def _send(self, request: httpx.Request) -> httpx.Response:
        try:
            return self._http.send(request)
        except httpx.HTTPError as error:
            raise self._speaker.unreachable(error) from error


class AsyncHemaBenchClient:
    """`HemaBenchClient` for asynchronous code; the same methods, raising the same."""

    def __init__(
        self,
        url: str,
        settings: ClientSettings | None = None,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        settings = settings or ClientSettings()
        self._speaker = _Speaker(_base_url(url), settings)
        self._http = httpx.AsyncClient(timeout=settings.timeout(), limits=settings.limits(), transport=transport)
        self._sleep = sleep

    async def classify(self, image: Image, resolution_px: int | None = None) -> Answer:
        """The answer to one image, given as its file's bytes or path."""
        return await self._carry_out(self._speaker.classify(image, resolution_px))

    async def classify_many(self, images: Iterable[Image], resolution_px: int | None = None) -> list[ImageResult]:
        """One result or error per image, in order; sent in groups of at most 64 images or 9 MB."""
        return await self._carry_out(self._speaker.classify_many(images, resolution_px))

    async def models(self) -> LoadedModels:
        """What the service has loaded."""
        return await self._carry_out(self._speaker.models())

    async def is_ready(self) -> bool:
        """Whether a classification would be answered; raises `ServiceFailed` where nobody listens."""
        return await self._carry_out(self._speaker.is_ready())

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> AsyncHemaBenchClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _carry_out(self, conversation: Conversation[T]) -> T:
        response: httpx.Response | None = None
        while True:
            try:
                step = conversation.send(response)
            except StopIteration as end:
                result: T = end.value
                return result
            if isinstance(step, _Pause):
                await self._sleep(step.duration_s)
                response = None
            else:
                response = await self._send(step)

    async def _send(self, request: httpx.Request) -> httpx.Response:
        try:
            return await self._http.send(request)
        except httpx.HTTPError as error:
            raise self._speaker.unreachable(error) from error


def _base_url(url: str) -> str:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise InvalidSettings(f"{url!r} is no URL: {error}") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise InvalidSettings(f"{url!r} is no URL of a service; one looks like http://127.0.0.1:3000")
    place, *endpoint = re.split(r"/v[12](?:/|$)", parsed.path, maxsplit=1)
    if endpoint or parsed.query or parsed.fragment:
        service = str(parsed.copy_with(path=place or "/", query=None, fragment=None)).rstrip("/")
        raise InvalidSettings(f"{url!r} is more than the address of a service. Next: give only {service}")
    return url.rstrip("/")


def _query(resolution_px: int | None) -> dict[str, int]:
    return {} if resolution_px is None else {"resolution": resolution_px}


def _bytes_of(image: Image) -> bytes:
    if isinstance(image, bytes):
        return image
    try:
        return image.read_bytes()
    except OSError as error:
        raise DataUnavailable(f"cannot read {image}: {error.strerror}") from error


def _groups(images: Iterable[Image]) -> Iterable[list[bytes]]:
    """``images`` read one after another, never more of them in memory than one request takes."""
    group: list[bytes] = []
    held = 0
    for image in images:
        content = _bytes_of(image)
        if group and (len(group) == IMAGES_PER_REQUEST or held + len(content) > BYTES_PER_REQUEST):
            yield group
            group, held = [], 0
        group.append(content)
        held += len(content)
    if group:
        yield group


def _refused(response: httpx.Response) -> RequestRefused:
    status = response.status_code
    try:
        problem = decode_json(response.content, type=ErrorAnswer).error
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return RequestRefused(f"the service answered with status {status} and no reason", status=status)
    return RequestRefused(
        f"{problem.message} (status {status}, {problem.code}, request {problem.request_id})",
        code=problem.code,
        status=status,
        request_id=problem.request_id,
    )
