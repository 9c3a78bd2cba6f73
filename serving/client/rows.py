"""Rows of a CSV as bytes, and back: whichever rows of a file are whole."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from contract.errors import RecordsCorrupt

_ENCODING = {"encoding": "utf-8", "errors": "surrogateescape"}  # a file name need not be UTF-8


def encoded(row: Sequence[object]) -> bytes:
    """One row with its end of line."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerow(row)
    return text.getvalue().encode(**_ENCODING)


def whole_rows(file: BinaryIO) -> Iterator[tuple[list[str], int]]:
    """Every row that is whole, and the position behind it; a torn last one is left out."""
    lines = _CountedLines(file)
    try:
        for row in csv.reader(lines, strict=True):
            if lines.last_is_whole:
                yield row, lines.position
    except csv.Error as error:
        if file.read(1):  # at the end it is a last row torn inside quotes
            raise RecordsCorrupt(f"{file.name}: {error} before its last row. Next: choose another --out") from error


class _CountedLines:
    """The lines of a file as text, and how many bytes they were."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.position = 0
        self.last_is_whole = True

    def __iter__(self) -> _CountedLines:
        return self

    def __next__(self) -> str:
        line = next(self._file)
        self.position += len(line)
        self.last_is_whole = line.endswith(b"\n")
        return line.decode(**_ENCODING)
