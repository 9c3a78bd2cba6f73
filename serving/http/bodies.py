"""A request's bytes: read under a size limit and a deadline, and the images taken out of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Container, Coroutine, Generator
from dataclasses import dataclass, field
from itertools import chain
from types import coroutine
from typing import Any, cast

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.types import Message, Receive

from serving.http.refusal import CLOSE_CONNECTION, ClientGone, Refusal

IMAGE_FIELD = b"image"
MAX_IMAGES = 64
MAX_HEADER_BYTES = 65_536
# A client that is still sending does not read the answer. What it sends above the
# limit is thrown away unread up to this many times the limit, so that the 413 arrives.
PATIENCE = 4

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class RequestHead:
    """The headers that decide how a body is read."""

    media_type: bytes
    content_type: bytes
    content_length: int | None
    asks_before_sending: bool

    @property
    def is_multipart(self) -> bool:
        """Whether each image is a field of a form."""
        return self.media_type == b"multipart/form-data"


def read_head(headers: Headers, media_types: Container[bytes] | None = None) -> RequestHead:
    """The head of a request; raises `Refusal` for what no upload needs.

    ``media_types`` are the ones to accept; None are those of images.
    """
    if sum(map(len, chain.from_iterable(headers))) > MAX_HEADER_BYTES:
        raise Refusal(f"the headers exceed {MAX_HEADER_BYTES:,} bytes", code="headers_too_large", status=400)
    found = dict(headers)
    content_type = found.get(b"content-type", b"").strip()  # the gateway's client sends none that ends in a space
    media_type = content_type.partition(b";")[0].strip().lower()
    if media_types is not None and media_type not in media_types:
        raise Refusal(
            "send JSON as application/json, or followed by binary data as application/octet-stream",
            code="unsupported_media_type",
            status=415,
        )
    if media_types is None and not (media_type.startswith(b"image/") or media_type in _OTHER_MEDIA_TYPES):
        raise Refusal(
            "send the image as image/*, application/octet-stream, or the field 'image' of multipart/form-data",
            code="unsupported_media_type",
            status=415,
        )
    if found.get(b"content-encoding", b"identity").strip().lower() != b"identity":
        raise Refusal("a compressed body is not read; send it as it is", code="unsupported_encoding", status=415)
    length = found.get(b"content-length")
    if length is not None and b"transfer-encoding" in found:
        raise Refusal(
            "Content-Length and Transfer-Encoding contradict each other",
            code="bad_framing",
            status=400,
            headers=(CLOSE_CONNECTION,),
        )
    return RequestHead(media_type, content_type, _length(length), b"expect" in found)


# None at all means bytes of an unknown kind, which is what an image is until it is looked at.
_OTHER_MEDIA_TYPES = frozenset({b"", b"application/octet-stream", b"multipart/form-data"})


def _length(text: bytes | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None


def body_of(head: RequestHead, receive: Receive, limit_bytes: int, deadline_s: float) -> Awaitable[bytes]:
    """`read_body` of the request with that ``head``; one that asks whether it may send too much is refused unread."""
    if head.asks_before_sending and (head.content_length or 0) > limit_bytes:
        raise body_too_large(limit_bytes, closes=True)
    return read_body(receive, limit_bytes, deadline_s, head.content_length)


async def read_body(receive: Receive, limit_bytes: int, deadline_s: float, declared_bytes: int | None = None) -> bytes:
    """The whole body; raises `Refusal` (413, 408) or `ClientGone`.

    One that is ``declared_bytes`` long and above the limit is too large, however slow it is.
    """
    reading = _read_whole(receive, limit_bytes)
    try:
        awaited = reading.send(None)
    except StopIteration as whole:
        return cast(bytes, whole.value)  # nearly every image is there already: no deadline was needed
    try:
        async with asyncio.timeout(deadline_s):
            return await _resumed(reading, awaited)
    except TimeoutError as error:
        if (declared_bytes or 0) > limit_bytes:
            raise body_too_large(limit_bytes, closes=True) from error
        raise Refusal(
            f"the body did not arrive within {deadline_s:g} s",
            code="body_too_slow",
            status=408,
            headers=(CLOSE_CONNECTION,),
        ) from error


@coroutine
def _resumed(reading: Coroutine[Any, None, bytes], awaited: Any) -> Generator[Any, None, bytes]:
    """The rest of ``reading``, which was begun and waits for ``awaited``."""
    try:
        yield awaited
        return (yield from reading.__await__())
    finally:
        reading.close()


def client_is_gone(receive: Receive) -> bool:
    """Whether the client of a request whose body is read has closed its connection; asks, and does not wait."""
    asking = cast(Coroutine[Any, None, Message], receive())
    try:
        asking.send(None)
    except StopIteration as told:
        return bool(told.value["type"] == "http.disconnect")
    finally:
        asking.close()
    return False


async def _read_whole(receive: Receive, limit_bytes: int) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    if message["type"] == "http.request" and not message.get("more_body") and len(body) <= limit_bytes:
        return body  # nearly every image: one message, no copy
    collected = bytearray()
    received = 0
    while message["type"] == "http.request":
        received += len(message.get("body", b""))
        if received <= limit_bytes:
            collected += message.get("body", b"")
        else:
            collected.clear()
        if not message.get("more_body") or received > PATIENCE * limit_bytes:
            break
        message = await receive()
    else:
        raise ClientGone
    if received > limit_bytes:
        raise body_too_large(limit_bytes, closes=bool(message.get("more_body")))
    return bytes(collected)


def body_too_large(limit_bytes: int, *, closes: bool) -> Refusal:
    """The refusal of a body above the limit; ``closes`` where more of it may follow."""
    return Refusal(
        f"the body is larger than {limit_bytes:,} bytes",
        code="body_too_large",
        status=413,
        headers=(CLOSE_CONNECTION,) if closes else (),
    )


def images_in(head: RequestHead, body: bytes) -> list[bytes]:
    """The bytes of each image, at least one; raises `Refusal` (400).

    One image is never empty; of several, an empty one is left for its own result to tell.
    """
    images = _image_fields(head, body) if head.is_multipart else [body]
    if len(images) < 2 and not any(images):
        raise missing_image()
    return images


def missing_image() -> Refusal:
    """The refusal of an image of no bytes."""
    return Refusal("no image was sent: the body, or its field 'image', is empty", code="missing_image", status=400)


@dataclass(slots=True)
class _Part:
    disposition: bytes = b""
    pieces: list[bytes] = field(default_factory=list)

    @property
    def name(self) -> bytes:
        return parse_options_header(self.disposition)[1].get(b"name", b"")


@dataclass(slots=True)
class _Form:
    """Collects the parts that the parser reports."""

    parts: list[_Part] = field(default_factory=list)
    complete: bool = False
    header_name: bytes = b""
    header_value: bytes = b""

    def on_part_begin(self) -> None:
        if len(self.parts) == MAX_IMAGES:
            raise Refusal(f"the form has more than {MAX_IMAGES} parts", code="too_many_images", status=400)
        self.parts.append(_Part())

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self.parts[-1].pieces.append(data[start:end])

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self.header_name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self.header_value += data[start:end]

    def on_header_end(self) -> None:
        if self.header_name.lower() == b"content-disposition":
            self.parts[-1].disposition = self.header_value
        self.header_name = self.header_value = b""

    def on_end(self) -> None:
        self.complete = True


def _image_fields(head: RequestHead, body: bytes) -> list[bytes]:
    form = _parse_form(head, body)
    if any(part.name != IMAGE_FIELD for part in form.parts):
        raise _bad_form("every part must be a field 'image'")
    return [b"".join(part.pieces) for part in form.parts]


def _parse_form(head: RequestHead, body: bytes) -> _Form:
    boundary = parse_options_header(head.content_type)[1].get(b"boundary", b"")
    if not boundary:
        raise _bad_form("its Content-Type has no boundary; let your HTTP client write that header")
    form = _Form()
    callbacks = ("on_part_begin", "on_part_data", "on_header_field", "on_header_value", "on_header_end", "on_end")
    try:
        parser = MultipartParser(boundary, {name: getattr(form, name) for name in callbacks})  # type: ignore[arg-type]
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise _bad_form("its boundary or the headers of a part break the rules of multipart/form-data") from error
    if body and not form.complete:
        raise _bad_form("it is cut off")
    return form


def _bad_form(what: str) -> Refusal:
    return Refusal(f"the multipart form cannot be used: {what}", code="bad_form", status=400)
