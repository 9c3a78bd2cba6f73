"""Predictions as CSV: one row per file, each handed to the operating system whole.

Killing the process tears at most the last row. `PredictionsFile` cuts a torn row off and
goes on behind the whole ones. One process writes it at a time.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from contract.errors import RecordsCorrupt, RunInvalid
from serving.answers import Answer, ModelFacts
from serving.client.rows import encoded, whole_rows

_ABOUT_THE_FILE = ("file", "sha256")
_ABOUT_THE_ANSWER = ("label", "class_index", "in_distribution", "distance")
_ABOUT_THE_MODEL = ("model", "resolution", "digest", "request_id", "error_code", "error_message")
_WITHOUT_SHA256 = b"file,label,class_index,"  # how predictions began before rows said of which bytes they are
_OPENED = os.O_RDWR | os.O_CREAT | os.O_APPEND


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a file has no prediction."""

    code: str
    message: str
    request_id: str = ""


class Row(NamedTuple):
    """What is kept in memory of a row; ``sha256`` is empty where the file was not read."""

    sha256: str
    answered: bool
    out_of_distribution: bool
    error_code: str


class PredictionsFile:
    """Appends rows to ``path``; ``rows`` are those of an earlier run, by file.

    Raises `RecordsCorrupt` for a file that holds something else, and `RunInvalid` where
    another process writes it, for rows that do not say of which bytes they are, and for
    predictions of another model: what two models say is not mixed in one file.
    """

    def __init__(self, path: Path, model: ModelFacts) -> None:
        self._path = path
        self._labels = model.labels
        self._digest = model.digest
        probabilities = (f"p_{label}" for label in model.labels)
        self.columns = (*_ABOUT_THE_FILE, *_ABOUT_THE_ANSWER, *probabilities, *_ABOUT_THE_MODEL)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = _opened_alone(path)
        try:
            self.rows, whole_bytes = self._read()
            os.ftruncate(self._file, whole_bytes)
            if not whole_bytes:
                self._append(self.columns)
        except BaseException:
            os.close(self._file)
            raise

    def write(self, file: str, sha256: str, result: Answer | Refused) -> None:
        """One row; ``OSError`` when the disk refuses, `RunInvalid` for the answer of another model."""
        if isinstance(result, Answer):
            self._require_same_model(result.model.digest)
        about = self._answer(result) if isinstance(result, Answer) else self._refusal(result)
        self._append([file, sha256, *about])

    def drop(self, files: Collection[str]) -> None:
        """Take the rows of ``files`` out; whoever is killed meanwhile leaves the old rows or the new ones."""
        if not files:
            return
        place = self._path.resolve()  # and not a link to it
        new = place.with_name(f".{place.name}.new")
        handle = os.open(new, _OPENED | os.O_TRUNC, 0o600)
        try:
            _lock(handle)  # before anybody can find it at its place
            self._copy_without(files, handle)
            new.replace(place)
        except BaseException:
            os.close(handle)
            new.unlink(missing_ok=True)
            raise
        os.close(self._file)
        self._file = handle
        self.rows = {file: row for file, row in self.rows.items() if file not in files}

    def close(self) -> None:
        """Flush to the disk itself, and close."""
        try:
            os.fsync(self._file)
        finally:
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
        content = encoded(row)
        if (written := os.write(self._file, content)) != len(content):
            os.ftruncate(self._file, os.fstat(self._file).st_size - written)
            raise OSError(f"disk took {written} of {len(content)} bytes of a row")

    def _copy_without(self, files: Collection[str], handle: int) -> None:
        with self._path.open("rb") as old, open(handle, "wb", closefd=False) as new:
            for number, (row, _) in enumerate(whole_rows(old)):
                if number == 0 or row[0] not in files:
                    new.write(encoded(row))
        os.fchmod(handle, stat.S_IMODE(os.fstat(self._file).st_mode))
        os.fsync(handle)

    def _read(self) -> tuple[dict[str, Row], int]:
        """The whole rows by file, and where the last of these ends."""
        rows: dict[str, Row] = {}
        whole_bytes = 0
        with self._path.open("rb") as file:
            header = file.readline()
            if not encoded(self.columns).startswith(header):
                raise self._older() if header.startswith(_WITHOUT_SHA256) else self._corrupt()
            file.seek(0)
            for number, (cells, end) in enumerate(whole_rows(file)):
                if len(cells) != len(self.columns):
                    raise self._corrupt()
                if number:
                    rows[cells[0]] = self._row(dict(zip(self.columns, cells, strict=True)))
                whole_bytes = end
        return rows, whole_bytes

    def _row(self, cells: dict[str, str]) -> Row:
        self._require_same_model(cells["digest"])
        out_of_distribution = cells["in_distribution"] == "false"
        return Row(cells["sha256"], bool(cells["label"]), out_of_distribution, cells["error_code"])

    def _require_same_model(self, digest: str) -> None:
        if digest not in ("", self._digest):
            raise RunInvalid(
                f"{self._path} has predictions of the model {digest[:12]}, the service's is {self._digest[:12]}. "
                "Next: choose another --out"
            )

    def _corrupt(self) -> RecordsCorrupt:
        return RecordsCorrupt(f"{self._path} holds no predictions of these labels. Next: choose another --out")

    def _older(self) -> RunInvalid:
        return RunInvalid(
            f"{self._path} is of an earlier version, whose rows do not say of which bytes they are (sha256). "
            "Next: choose another --out; every file is asked again"
        )


def _opened_alone(path: Path) -> int:
    """``path`` for reading and appending by no other process, until it is closed or this one dies."""
    handle = os.open(path, _OPENED, 0o644)
    try:
        _lock(handle)
        if not os.path.samestat(os.fstat(handle), path.stat()):  # replaced by its owner between the two lines
            raise BlockingIOError
    except BlockingIOError:
        os.close(handle)
        raise RunInvalid(f"another run writes {path}. Next: wait for its end, or choose another --out") from None
    except BaseException:
        os.close(handle)
        raise
    return handle


def _lock(handle: int) -> None:
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
