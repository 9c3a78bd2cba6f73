"""An append-only file of records, each on a line of its own with a checksum.

    3f2a91c0 {"request":17,"status":200,...}

A record is handed to the operating system as soon as it is appended: killing the
process loses at most the record being written, and the reader drops that torn last
line and nothing else.
"""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Generic, TypeVar

import msgspec

from contract.errors import RecordsCorrupt

T = TypeVar("T")
_CHECKSUM_DIGITS = 8


class JournalWriter:
    """Appends records to ``path``; raises ``FileExistsError`` rather than write over an earlier journal."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        self._encode = msgspec.json.Encoder().encode

    def append(self, record: object) -> None:
        """Write one record (a dataclass); ``OSError`` when the disk refuses, a short write included.

        The part of a record that a full disk took is cut off again, so that what is
        appended later does not follow a torn line.
        """
        line = self._encode(record)
        framed = b"%08x %b\n" % (zlib.crc32(line), line)
        if (written := os.write(self._file, framed)) != len(framed):
            os.ftruncate(self._file, os.fstat(self._file).st_size - written)
            raise OSError(f"disk took {written} of {len(framed)} bytes of a record")

    def close(self) -> None:
        """Flush to the disk itself, and close."""
        os.fsync(self._file)
        os.close(self._file)

    def __enter__(self) -> JournalWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class Journal(Generic[T]):
    """Records in the order written; ``torn`` when a last, half-written line was dropped."""

    records: tuple[T, ...]
    torn: bool


def read_journal(path: Path, type_: type[T]) -> Journal[T]:
    """Every whole record of ``path``; raises `RecordsCorrupt` for damage before the last line."""
    decode = msgspec.json.Decoder(type_).decode
    *lines, rest = path.read_bytes().split(b"\n")
    records: list[T] = []
    for number, line in enumerate(lines, start=1):
        if not _is_whole(line):
            raise RecordsCorrupt(
                f"{path}:{number}: checksum does not match. Next: restore the file, or repeat the cell"
            )
        try:
            records.append(decode(line[_CHECKSUM_DIGITS + 1 :]))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise RecordsCorrupt(f"{path}:{number}: not a {type_.__name__}: {error}") from error
    return Journal(tuple(records), torn=bool(rest))


class JournalTail(Generic[T]):
    """The records of a journal that somebody is still writing, as they come; for display, not for results."""

    def __init__(self, path: Path, type_: type[T]) -> None:
        self._path, self._offset = path, 0
        self._decode = msgspec.json.Decoder(type_).decode

    def new(self) -> list[T]:
        """Whole records since the last call; none while there is no journal yet."""
        if not self._path.is_file():
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            lines, end, _ = file.read().rpartition(b"\n")
        self._offset += len(lines) + len(end)
        return [self._decode(line[_CHECKSUM_DIGITS + 1 :]) for line in lines.split(b"\n") if _is_whole(line)]


def _is_whole(line: bytes) -> bool:
    return line[: _CHECKSUM_DIGITS + 1] == b"%08x " % zlib.crc32(line[_CHECKSUM_DIGITS + 1 :])
