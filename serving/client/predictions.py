"""Predictions as CSV: one row per file, each handed to the operating system whole.

Killing the process tears at most the last row. `PredictionsFile` cuts a torn row off and
goes on behind the whole ones.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from contract.errors import RecordsCorrupt, RunInvalid
from serving.answers import Answer, ModelFacts

_ENCODING = {"encoding": "utf-8", "errors": "surrogateescape"}  # a file name need not be UTF-8
_ABOUT_THE_ANSWER = ("label", "class_index", "in_distribution", "distance")
_ABOUT_THE_MODEL = ("model", "resolution", "digest", "request_id", "error_code", "error_message")


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a file has no prediction."""

    code: str
    message: str
    request_id: str = ""


class PredictionsFile:
    """Appends rows to ``path``; ``done`` are the files that already had one.

    Raises `RecordsCorrupt` for a file that holds something else, and `RunInvalid` for
    predictions of another model: what two models say is not mixed in one file.
    """

    def __init__(self, path: Path, model: ModelFacts) -> None:
        self._path = path
        self._labels = model.labels
        self._digest = model.digest
        self.columns = ("file", *_ABOUT_THE_ANSWER, *(f"p_{label}" for label in model.labels), *_ABOUT_THE_MODEL)
        self._digest_column = self.columns.index("digest")
        path.parent.mkdir(parents=True, exist_ok=True)
        self.done, whole_bytes = self._read() if path.exists() else (set(), 0)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.ftruncate(self._file, whole_bytes)
        if not whole_bytes:
            self._append(self.columns)

    def write(self, file: str, result: Answer | Refused) -> None:
        """One row; ``OSError`` when the disk refuses, `RunInvalid` for the answer of another model."""
        if isinstance(result, Answer):
            self._require_same_model(result.model.digest)
        self._append([file, *(self._answer(result) if isinstance(result, Answer) else self._refusal(result))])

    def close(self) -> None:
        """Flush to the disk itself, and close."""
        os.fsync(self._file)
        os.close(self._file)

    def __enter__(self) -> PredictionsFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _answer(self, answer: Answer) -> list[object]:
        probabilities = [answer.probabilities[label] for label in self._labels]
        model = answer.model
        of_model = [model.name, model.resolution, model.digest, answer.request_id, "", ""]
        known = answer.in_distribution is not None
        of_images = [str(answer.in_distribution).lower(), answer.distance] if known else ["", ""]
        return [answer.label, answer.class_index, *of_images, *probabilities, *of_model]

    def _refusal(self, refused: Refused) -> list[object]:
        nothing = [""] * (len(_ABOUT_THE_ANSWER) + len(self._labels) + 3)
        return [*nothing, refused.request_id, refused.code, refused.message]

    def _append(self, row: Sequence[object]) -> None:
        content = _encoded(row)
        if (written := os.write(self._file, content)) != len(content):
            os.ftruncate(self._file, os.fstat(self._file).st_size - written)
            raise OSError(f"disk took {written} of {len(content)} bytes of a row")

    def _read(self) -> tuple[set[str], int]:
        """The files that have whole rows, and where the last of these ends."""
        done: set[str] = set()
        whole_bytes = 0
        with self._path.open("rb") as file:
            if not _encoded(self.columns).startswith(file.readline()):
                raise self._corrupt()
            file.seek(0)
            for number, (row, end) in enumerate(_whole_rows(file)):
                if len(row) != len(self.columns):
                    raise self._corrupt()
                if number:
                    done.add(row[0])
                    self._require_same_model(row[self._digest_column])
                whole_bytes = end
        return done, whole_bytes

    def _require_same_model(self, digest: str) -> None:
        if digest not in ("", self._digest):
            raise RunInvalid(
                f"{self._path} has predictions of the model {digest[:12]}, the service's is {self._digest[:12]}. "
                "Next: choose another --out"
            )

    def _corrupt(self) -> RecordsCorrupt:
        return RecordsCorrupt(f"{self._path} holds no predictions of these labels. Next: choose another --out")


def _encoded(row: Sequence[object]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerow(row)
    return text.getvalue().encode(**_ENCODING)


def _whole_rows(file: BinaryIO) -> Iterator[tuple[list[str], int]]:
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
