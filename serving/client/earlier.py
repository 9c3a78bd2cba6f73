"""Which rows of an earlier run still stand: those of the same files, byte for byte."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from contract.errors import DataUnavailable, RunInvalid
from contract.progress import Progress, silent
from serving.client.predictions import Row
from serving.http.codes import CODES

# Statuses below 500 that are said of the service's state and not of an image.
OF_THE_MOMENT = frozenset({408, 429})


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierRows:
    """``rows`` of the predictions ``output``, to be compared with the files of ``folder``."""

    rows: Mapping[str, Row]
    output: Path
    folder: Path
    largest_file_bytes: int

    async def outdated(self, files: Iterable[Path], progress: Progress = silent) -> set[str]:
        """The refusals that say nothing of the folder as it is: to be dropped, and asked again where the file is there.

        An answer is never dropped. Raises `RunInvalid` where one is of a file that is not among
        ``files``, or of other bytes: the output is another folder's, or the file was replaced.
        """
        if not self.rows:
            return set()  # without a walk of the folder
        missing = set(self.rows)
        outdated = set()
        for path in files:
            name = path.relative_to(self.folder).as_posix()
            if name in missing:
                missing.discard(name)
                if not self._stands(name, path):
                    outdated.add(name)
                progress(f"compare {self.output}", len(self.rows) - len(missing), len(self.rows))
                await asyncio.sleep(0)  # Ctrl-C is heard here
        for name in sorted(missing):
            if self.rows[name].answered:
                raise self._of_others(f"{name}, which is not below {self.folder}")
        return outdated | missing

    def _stands(self, name: str, path: Path) -> bool:
        row = self.rows[name]
        if not row.answered and may_pass(row.error_code):
            return False
        try:
            same = _sha256_of(path, self.largest_file_bytes) == row.sha256
        except OSError as error:
            if not row.answered:
                return False
            raise DataUnavailable(
                f"cannot read {path}, of which {self.output} may have the answer: {error.strerror}. "
                "Next: make it readable, or choose another --out"
            ) from error
        if row.answered and not same:
            raise self._of_others(f"other bytes than those of {path}")
        return same

    def _of_others(self, what: str) -> RunInvalid:
        return RunInvalid(f"{self.output} has an answer to {what}. Next: choose another --out")


def may_pass(error_code: str) -> bool:
    """Whether the same bytes may get an answer another time: all but what the service's own codes say of an image."""
    code = CODES.get(error_code)
    return code is None or code.status >= 500 or code.status in OF_THE_MOMENT


def _sha256_of(path: Path, largest_bytes: int) -> str:
    """Empty for a file that is too large to be sent; it is not read."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size > largest_bytes:
            return ""
        return hashlib.file_digest(file, "sha256").hexdigest()
