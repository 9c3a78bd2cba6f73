"""The audit log: one line of JSON for each image that was asked about, only ever appended.

It says which bytes got which answer from which model, and holds none of the bytes: the SHA-256
joins a line with a file, the request id with the answer, the log and a load test's record.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from contract.errors import InvalidSettings
from contract.timing import NS_PER_MS
from serving.answers import encode_json
from serving.http.signatures import format_of
from serving.observe.ended import Ended
from serving.observe.metrics import OK, Measurements

logger = logging.getLogger("hemabench.serving")


class AuditLine(msgspec.Struct, frozen=True, kw_only=True):
    """One image, or a request that was refused before its image was read: then ``input`` is None."""

    time: str
    request_id: str
    trace_id: str | None
    image: int
    input: str | None
    format: str | None
    size_bytes: int
    model: str | None
    digest: str | None
    label: str | None
    in_distribution: bool | None
    distance: float | None
    status: int
    code: str
    latency_ms: float


class _Model(msgspec.Struct):
    name: str
    digest: str


class _Problem(msgspec.Struct):
    code: str


class _Said(msgspec.Struct):
    """What an answer, or one of several results, says of an image."""

    label: str | None = None
    in_distribution: bool | None = None
    distance: float | None = None
    model: _Model | None = None
    error: _Problem | None = None
    results: list[_Said] = []


_read = msgspec.json.Decoder(_Said).decode


class AuditLog:
    """Appends to ``path``. A disk that refuses a line is counted, and logged the first time; serving goes on."""

    def __init__(self, path: Path, measurements: Measurements) -> None:
        self._path = path
        self._measurements = measurements
        self._file: int | None = None

    def __call__(self, ended: Ended) -> None:
        """An `Observer`."""
        self._append(list(_lines_of(ended)))

    def _append(self, lines: list[AuditLine]) -> None:
        try:
            self._write(b"".join(encode_json(line) + b"\n" for line in lines))
        except OSError as error:
            if not self._measurements.audit_lines_lost:
                logger.error("the audit log cannot be written (%s); lines are lost", error.strerror)
            self._measurements.audit_lines_lost += len(lines)

    def _write(self, data: bytes) -> None:
        if self._file is None:
            self._file = _open(self._path)
        if (written := os.write(self._file, data)) != len(data):
            os.ftruncate(self._file, os.fstat(self._file).st_size - written)  # no torn line before the next
            raise OSError(0, "the disk took a part of a line")


def require_appendable(path: Path | None) -> None:
    """Raise `InvalidSettings` unless the audit log that was asked for can be opened."""
    if path is None:
        return
    try:
        os.close(_open(path))
    except OSError as error:
        raise InvalidSettings(f"the audit log {path} cannot be opened: {error.strerror}") from error


def _open(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def _lines_of(ended: Ended) -> Iterator[AuditLine]:
    if ended.response is None:
        for number, image in enumerate(ended.request.images or [b""]):
            yield _line(ended, number, image, ended.code, _Said(), None)
        return
    said = _read(ended.response.told or ended.response.body)
    for number, (image, result) in enumerate(zip(ended.request.images, said.results or [said], strict=True)):
        yield _line(ended, number, image, OK if result.error is None else result.error.code, result, said.model)


def _line(ended: Ended, number: int, image: bytes, code: str, result: _Said, model: _Model | None) -> AuditLine:
    return AuditLine(
        time=datetime.now(UTC).isoformat(timespec="milliseconds"),
        request_id=ended.request.id,
        trace_id=ended.request.trace_id,
        image=number,
        input=hashlib.sha256(image).hexdigest() if image else None,
        format=format_of(image),
        size_bytes=len(image),
        model=model.name if model else None,
        digest=model.digest if model else None,
        label=result.label,
        in_distribution=result.in_distribution,
        distance=result.distance,
        status=ended.status,
        code=code,
        latency_ms=(ended.ended_ns - ended.began_ns) / NS_PER_MS,
    )
