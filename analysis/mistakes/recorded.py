"""A run of `hemabench mistakes` as typed objects, its calls in columns."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from contract.errors import DataCorrupt, RunInvalid
from contract.records.journal import read_journal
from contract.records.mistakes import (
    ANSWERS_FILE,
    BURSTS_FILE,
    FRAMEWORKS,
    MISTAKES_VERSION,
    PLAN_FILE,
    PROCESSES_FILE,
    Answers,
    Burst,
    MistakesPlan,
    ProcessRecord,
)
from contract.storage import read_json

T = TypeVar("T")
Key = tuple[str, str, str]  # framework, setup, way


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """What one process took for its calls of one way: the first ever, and bursts of measured ones."""

    process: int
    first_ns: int | None
    bursts_ns: tuple[NDArray[np.int64], ...]

    @property
    def measured_ns(self) -> NDArray[np.int64]:
        """All measured calls, in the order they were made."""
        return np.concatenate(self.bursts_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class MistakesRun:
    """A run folder. ``calls`` hold the processes in order, without those that have no measured call of a way."""

    folder: Path
    plan: MistakesPlan
    processes: tuple[ProcessRecord, ...]
    calls: dict[Key, tuple[Calls, ...]]
    answers: dict[tuple[str, str], Answers]
    torn: bool

    @property
    def unfinished(self) -> bool:
        """Whether it was stopped before all of its processes had been measured."""
        measured = [one for one in self.plan.mistakes if not one.not_measured]
        keys = {(name, *side(name)) for one in measured for name in FRAMEWORKS for side in (one.way, one.reference)}
        return self.torn or any(len(self.calls.get(key, ())) < self.plan.processes for key in keys)


def load_mistakes(folder: Path) -> MistakesRun:
    """All that ``folder`` holds; raises `RunInvalid` without a readable plan and `RecordsCorrupt` for damage."""
    try:
        plan = read_json(folder / PLAN_FILE, MistakesPlan)
    except FileNotFoundError as error:
        raise RunInvalid(f"no mistakes in {folder}: it has no {PLAN_FILE}. Next: hemabench mistakes") from error
    except DataCorrupt as error:
        raise RunInvalid(str(error)) from error
    if plan.mistakes_version != MISTAKES_VERSION:
        raise RunInvalid(
            f"{folder}: records of version {plan.mistakes_version}; this release reads {MISTAKES_VERSION}. "
            "Next: report it with the release that recorded it"
        )
    processes, torn_processes = _journal(folder / PROCESSES_FILE, ProcessRecord)
    bursts, torn_bursts = _journal(folder / BURSTS_FILE, Burst)
    answers, torn_answers = _journal(folder / ANSWERS_FILE, Answers)
    return MistakesRun(
        folder=folder,
        plan=plan,
        processes=processes,
        calls=calls_of(bursts),
        answers={(one.framework, one.way): one for one in answers},
        torn=torn_processes or torn_bursts or torn_answers,
    )


def calls_of(bursts: tuple[Burst, ...]) -> dict[Key, tuple[Calls, ...]]:
    """``bursts`` by way, and there by process."""
    first: dict[tuple[Key, int], int] = {}
    measured: dict[tuple[Key, int], list[NDArray[np.int64]]] = defaultdict(list)
    for one in bursts:
        key = (one.framework, one.setup, one.way)
        took_ns = np.array(one.finished_ns, np.int64) - np.array(one.started_ns, np.int64)
        if one.phase == "first":
            first.setdefault((key, one.process), int(took_ns[0]))
        elif one.phase == "measured" and len(took_ns):
            measured[key, one.process].append(took_ns)
    found: dict[Key, list[Calls]] = defaultdict(list)
    for (key, process), taken in sorted(measured.items(), key=lambda item: item[0]):
        found[key].append(Calls(process=process, first_ns=first.get((key, process)), bursts_ns=tuple(taken)))
    return {key: tuple(calls) for key, calls in found.items()}


def _journal(path: Path, type_: type[T]) -> tuple[tuple[T, ...], bool]:
    if not path.is_file():
        return (), True
    journal = read_journal(path, type_)
    return journal.records, journal.torn
