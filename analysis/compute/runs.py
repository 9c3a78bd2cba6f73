"""A compute run as it lies on the disk: plan, processes, calls, limits, and what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from contract.errors import DataCorrupt, RunInvalid
from contract.records.compute import (
    BLOCKS_FILE,
    COMPUTE_FILE,
    FIRST_CALLS_FILE,
    LIMITS_FILE,
    SITTING_FILE,
    STARTS_FILE,
    CallBlock,
    ComputePlan,
    FirstCall,
    MachineLimits,
    ProcessStart,
    Sitting,
)
from contract.records.journal import read_journal
from contract.storage import read_json

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeRun:
    """What finished sittings recorded; ``missing`` are the others, whose records are not used."""

    plan: ComputePlan
    limits: tuple[MachineLimits, ...]
    starts: tuple[ProcessStart, ...]
    first_calls: tuple[FirstCall, ...]
    blocks: tuple[CallBlock, ...]
    missing: tuple[Sitting, ...]


def load_compute_run(folder: Path) -> ComputeRun:
    """The run in ``folder``; `RunInvalid` without a readable plan, `RecordsCorrupt` for damaged journals."""
    try:
        plan = read_json(folder / COMPUTE_FILE, ComputePlan)
    except (FileNotFoundError, DataCorrupt) as error:
        raise RunInvalid(f"no compute run in {folder}: {error}. Next: hemabench compute") from error
    folders = {sitting: folder / "sittings" / sitting.name for sitting in plan.sittings}
    finished = [path for path in folders.values() if (path / SITTING_FILE).is_file()]
    limits = folder / LIMITS_FILE
    return ComputeRun(
        plan=plan,
        limits=read_json(limits, tuple[MachineLimits, ...]) if limits.is_file() else (),
        starts=_records(finished, STARTS_FILE, ProcessStart),
        first_calls=_records(finished, FIRST_CALLS_FILE, FirstCall),
        blocks=_records(finished, BLOCKS_FILE, CallBlock),
        missing=tuple(sitting for sitting, path in folders.items() if path not in finished),
    )


def _records(folders: Sequence[Path], file: str, type_: type[T]) -> tuple[T, ...]:
    return tuple(record for folder in folders for record in read_journal(folder / file, type_).records)
