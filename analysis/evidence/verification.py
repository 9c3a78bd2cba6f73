"""A run verified: every file against its seal, every number against the records it was made of."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from analysis.evidence.derived import derive
from contract.errors import HemaBenchError
from contract.progress import Progress, silent
from contract.records.load import REPORT_FILE, SUMMARY_FILE
from contract.records.seal import SEAL_FILE, broken_seal, read_seal
from contract.records.training import is_training_folder
from contract.storage import sha256_of_file

# Another processor may round the last digit of a logarithm or a quantile otherwise; 2e-16 is one digit.
ROUNDING = 1e-12
MOST_NAMED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What was checked, and every fault. ``seal_digest`` is the SHA-256 of the seal: one line stands for all files."""

    run: str
    seal_digest: str
    files: int
    numbers: int
    faults: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether nothing was changed and every number follows from the records."""
        return not self.faults


def verify_run(folder: Path, progress: Progress = silent) -> Verification:
    """Check the run in ``folder``; a fault is named, not raised. Raises `RunInvalid` where no run was sealed."""
    sealed = read_seal(folder)
    faults = list(broken_seal(folder))
    numbers = 0
    # Training keeps its numbers when a report is asked for; all others when they end.
    if SUMMARY_FILE not in sealed and not is_training_folder(folder):
        faults.append(f"{SUMMARY_FILE}: no numbers were made of these records. Next: hemabench report {folder}")
    elif SUMMARY_FILE in sealed:
        try:
            numbers = _check_numbers(folder, faults, progress)
        except (HemaBenchError, OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            faults.append(f"the numbers cannot be derived again: {error}")
    return Verification(
        run=folder.name,
        seal_digest=sha256_of_file(folder / SEAL_FILE),
        files=len(sealed),
        numbers=numbers,
        faults=tuple(faults),
    )


def _check_numbers(folder: Path, faults: list[str], progress: Progress) -> int:
    """Derive every number again, add what differs to ``faults``, and return how many there are."""
    kept = _kept_summary(folder)
    derived = derive(folder, kept, progress)
    again = msgspec.json.decode(derived.numbers)
    faults += _named(_differences(kept, again, SUMMARY_FILE))
    # Not the bytes alone: a report that says other numbers than its records is one that was not made of them.
    if not faults and derived.report is not None and derived.report.encode() != (folder / REPORT_FILE).read_bytes():
        faults.append(f"{REPORT_FILE}: the report that these records give is another one")
    return sum(1 for _ in _numbers_of(again))


def _kept_summary(folder: Path) -> dict[str, Any]:
    return msgspec.json.decode((folder / SUMMARY_FILE).read_bytes(), type=dict[str, Any])


def _numbers_of(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from _numbers_of(one)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def _differences(kept: Any, again: Any, where: str) -> Iterator[str]:
    """Every place where two JSON values are not the same, by its path."""
    if isinstance(kept, dict) and isinstance(again, dict):
        for name in [*kept, *(name for name in again if name not in kept)]:
            missing = name not in kept or name not in again
            path = f"{where}: {name}" if where == SUMMARY_FILE else f"{where}.{name}"
            if missing:
                yield f"{path} is in {'the file' if name in kept else 'the records'} alone"
            else:
                yield from _differences(kept[name], again[name], path)
    elif isinstance(kept, list) and isinstance(again, list) and len(kept) == len(again):
        for place, (one, other) in enumerate(zip(kept, again, strict=True)):
            yield from _differences(one, other, f"{where}[{place}]")
    elif not _same(kept, again):
        yield f"{where} is {_short(kept)}; the records give {_short(again)}"


def _same(kept: Any, again: Any) -> bool:
    if isinstance(kept, float) and isinstance(again, float):
        return math.isclose(kept, again, rel_tol=ROUNDING, abs_tol=0.0)
    return type(kept) is type(again) and bool(kept == again)


def _named(differences: Iterator[str]) -> list[str]:
    named = list(islice(differences, MOST_NAMED))
    more = sum(1 for _ in differences)
    return [*named, f"{SUMMARY_FILE}: {more} more differ"] if more else named


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
