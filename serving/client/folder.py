"""Every file of a folder classified by a running service, into a CSV that can be resumed."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from contract.errors import DataUnavailable, InvalidSettings, RequestRefused
from contract.progress import Progress, silent
from serving.answers import Answer, ModelFacts
from serving.client.client import AsyncHemaBenchClient, ClientSettings
from serving.client.earlier import OF_THE_MOMENT, EarlierRows
from serving.client.predictions import PredictionsFile, Refused

# What is said of the service's state and not of an image; as a row it would be a failure turned into data.
_ENDS_THE_RUN = OF_THE_MOMENT | {503, 504}


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderSettings:
    """What to classify, by whom, and where the rows go.

    ``concurrency`` files are on their way at a time, and no more are in memory. A file
    above ``largest_file_bytes`` (the service's own default limit) is refused without being read.
    """

    folder: Path
    url: str
    output: Path
    resolution_px: int | None = None
    concurrency: int = 8
    largest_file_bytes: int = 10_000_000
    retries: int = 10

    def __post_init__(self) -> None:
        for name in ("concurrency", "largest_file_bytes"):
            if getattr(self, name) <= 0:
                raise InvalidSettings(f"{name} ({getattr(self, name)}) must be > 0")
        if not self.folder.is_dir():
            raise DataUnavailable(f"{self.folder} is no folder")

    def client_settings(self) -> ClientSettings:
        """A connection for every file on its way."""
        return ClientSettings(connections=self.concurrency, retries=self.retries)


@dataclass(slots=True)
class FolderOutcome:
    """How many files got which row; ``skipped`` had one from an earlier run.

    ``out_of_distribution`` and ``refusals`` (files by error code) are of all rows, earlier ones included.
    """

    answered: int = 0
    refused: int = 0
    skipped: int = 0
    out_of_distribution: int = 0
    refusals: dict[str, int] = field(default_factory=dict)

    @property
    def files(self) -> int:
        """All of them."""
        return self.answered + self.refused + self.skipped

    @property
    def any_answered(self) -> bool:
        """Whether a row, of this run or an earlier one, has an answer."""
        return self.files > sum(self.refusals.values())

    def count_kind(self, out_of_distribution: bool, error_code: str) -> None:
        """What a row says; ``error_code`` is empty for an answer."""
        self.out_of_distribution += out_of_distribution
        if error_code:
            self.refusals[error_code] = self.refusals.get(error_code, 0) + 1


def classify_folder(
    settings: FolderSettings, progress: Progress = silent, *, transport: httpx.AsyncBaseTransport | None = None
) -> FolderOutcome:
    """One row in ``settings.output`` for each file below ``settings.folder``, errors included.

    Files that have a row are skipped if their bytes are the same, so that a run that was stopped
    by anything is completed by the same call. Raises `DataUnavailable` where there is no file,
    `ServiceFailed` where the service does not answer, `RequestRefused` where it has no such
    resolution or stays overloaded, and `RecordsCorrupt` or `RunInvalid` for an output that holds
    something else, another model's predictions or answers to other files, or that another run
    writes; all answers written stay.
    """
    total = sum(1 for _ in files_below(settings.folder, settings.output))
    if not total:
        raise DataUnavailable(
            f"no file is below {settings.folder}; PNG, JPEG, WebP, TIFF and BMP are looked for, told by their bytes. "
            "Next: name a folder of images"
        )
    return asyncio.run(_classify_folder(settings, total, progress, transport))


async def _classify_folder(
    settings: FolderSettings, total: int, progress: Progress, transport: httpx.AsyncBaseTransport | None
) -> FolderOutcome:
    client = AsyncHemaBenchClient(settings.url, settings.client_settings(), transport=transport)
    async with client:
        model = await _model_at(client, settings.resolution_px)
        with PredictionsFile(settings.output, model) as predictions:
            predictions.drop(await _outdated(settings, predictions, progress))
            run = _Run(settings, client, predictions, progress, total)
            await run.finish()
    return run.outcome


async def _outdated(settings: FolderSettings, predictions: PredictionsFile, progress: Progress) -> set[str]:
    earlier = EarlierRows(
        rows=predictions.rows,
        output=settings.output,
        folder=settings.folder,
        largest_file_bytes=settings.largest_file_bytes,
    )
    return await earlier.outdated(files_below(settings.folder, settings.output), progress)


async def _model_at(client: AsyncHemaBenchClient, resolution_px: int | None) -> ModelFacts:
    models = (await client.models()).models
    for model in models:
        if resolution_px in (None, model.resolution):
            return model
    there = ", ".join(str(model.resolution) for model in models)
    raise RequestRefused(f"resolution must be one of: {there}", code="unknown_resolution", status=404)


class _Run:
    """Workers that take files from one listing until it is exhausted."""

    def __init__(
        self,
        settings: FolderSettings,
        client: AsyncHemaBenchClient,
        predictions: PredictionsFile,
        progress: Progress,
        total: int,
    ) -> None:
        self.outcome = FolderOutcome()
        self._settings = settings
        self._client = client
        self._predictions = predictions
        self._progress = progress
        self._total = total
        self._files = files_below(settings.folder, settings.output)

    async def finish(self) -> None:
        """Every file; raises the first error that is not about one of them."""
        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(self._settings.concurrency):
                    workers.create_task(self._work())
        except ExceptionGroup as group:
            raise group.exceptions[0] from None

    async def _work(self) -> None:
        for path in self._files:  # shared: each worker gets the next
            name = path.relative_to(self._settings.folder).as_posix()
            if (row := self._predictions.rows.get(name)) is not None:
                self.outcome.skipped += 1
                self.outcome.count_kind(row.out_of_distribution, row.error_code)
            else:
                sha256, result = await self._classify(path)
                self._predictions.write(name, sha256, result)
                self._count(result)
            done = self.outcome.files
            self._progress(f"classify {self._settings.folder}", done, max(done, self._total))

    def _count(self, result: Answer | Refused) -> None:
        if isinstance(result, Answer):
            self.outcome.answered += 1
            self.outcome.count_kind(result.in_distribution is False, "")
        else:
            self.outcome.refused += 1
            self.outcome.count_kind(False, result.code)

    async def _classify(self, path: Path) -> tuple[str, Answer | Refused]:
        """The SHA-256 of the bytes that were sent, empty where none were, and what was said of them."""
        try:
            content = self._read(path)
        except OSError as error:
            return "", Refused("unreadable", str(error.strerror))
        if content is None:
            limit_bytes = self._settings.largest_file_bytes
            return "", Refused("body_too_large", f"the file is larger than {limit_bytes:,} bytes")
        return hashlib.sha256(content).hexdigest(), await self._ask(content)

    async def _ask(self, content: bytes) -> Answer | Refused:
        try:
            return await self._client.classify(content, self._settings.resolution_px)
        except RequestRefused as refused:
            if refused.status in _ENDS_THE_RUN:
                raise
            # A proxy in front of the service gives no code.
            return Refused(refused.code or f"status_{refused.status}", str(refused), refused.request_id)

    def _read(self, path: Path) -> bytes | None:
        limit_bytes = self._settings.largest_file_bytes
        with path.open("rb") as file:
            # A read takes memory for all that it is asked for; one byte more, as the file may be growing.
            content = file.read(min(os.fstat(file.fileno()).st_size, limit_bytes) + 1)
        return content if len(content) <= limit_bytes else None


def files_below(folder: Path, output: Path) -> Iterator[Path]:
    """Every plain file below ``folder`` but ``output``, by name; links to folders are not followed.

    Listed one folder at a time, so that a large tree is not held in memory.
    """
    for parent, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            path = Path(parent, name)
            if path.is_file() and path.absolute() != output.absolute():
                yield path
