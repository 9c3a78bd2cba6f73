"""The request log: one line of JSON for a request, by names and numbers alone.

It joins with the answer, the audit log and a trace by their ids. No image byte, file name or
EXIF can be in it, because nothing that a client sent is: but for a request id that was checked.
"""

from __future__ import annotations

import logging
import random
import sys
from datetime import UTC, datetime

import msgspec

from contract.timing import NS_PER_MS
from serving.answers import encode_json
from serving.observe.ended import Ended
from serving.observe.metrics import OK

logger = logging.getLogger("hemabench.requests")


class RequestLine(msgspec.Struct, frozen=True, kw_only=True):
    """One request. ``parts_ms`` are those that were reached; of several images there is ``read`` alone."""

    time: str
    level: str
    request_id: str
    trace_id: str | None
    path: str
    status: int
    code: str
    model: str | None
    resolution: int | None
    images: int
    batch_images: int
    duration_ms: float
    parts_ms: dict[str, float]


class RequestLog:
    """Logs every request that was not answered well, and ``share`` (0 to 1) of the others."""

    def __init__(self, share: float) -> None:
        self._share = share

    def __call__(self, ended: Ended) -> None:
        """An `Observer`."""
        if ended.code != OK or random.random() < self._share:
            level = _level_of(ended)
            logger.log(level, "%s", encode_json(_line(ended, level)).decode())


def write_to_standard_output() -> None:
    """Send the lines, and nothing around them, to this process's standard output."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.INFO)


def _level_of(ended: Ended) -> int:
    if ended.status >= 500:
        return logging.ERROR
    return logging.INFO if ended.code == OK else logging.WARNING


def _line(ended: Ended, level: int) -> RequestLine:
    request, clock = ended.request, ended.request.clock
    return RequestLine(
        time=datetime.now(UTC).isoformat(timespec="milliseconds"),
        level=logging.getLevelName(level).lower(),
        request_id=request.id,
        trace_id=request.trace_id,
        path=ended.path,
        status=ended.status,
        code=ended.code,
        model=request.model.name if request.model else None,
        resolution=request.model.resolution if request.model else None,
        images=request.image_count,
        batch_images=clock.batch_images if clock else 0,
        duration_ms=(ended.ended_ns - ended.began_ns) / NS_PER_MS,
        parts_ms={part: duration / NS_PER_MS for part, duration in clock.parts_ns.items()} if clock else {},
    )
