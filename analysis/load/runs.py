"""A run folder as typed objects: what was planned, what was recorded, and what is missing or damaged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.errors import DataCorrupt, HemaBenchError, RunInvalid
from contract.progress import Progress, counted, silent
from contract.records.journal import read_journal
from contract.records.load import (
    ABORTED,
    CELL_FILE,
    RECORDS_VERSION,
    REQUESTS_FILE,
    RUN_FILE,
    Cell,
    CellOutcome,
    OfflinePredictions,
    RequestRecord,
    RunPlan,
)
from contract.storage import read_json
from contract.timing import PARTS, TOTAL

IntColumn = NDArray[np.int64]
BoolColumn = NDArray[np.bool_]

CELLS_FOLDER = "cells"
OFFLINE_FOLDER = "offline"
NOT_RECORDED = -1


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests as columns of one length, in the order they were written: a run has hundreds of thousands.

    ``answered`` and the columns of ``parts_ns`` (the parts of `PARTS`, and the total) hold
    `NOT_RECORDED` where a request has no such value. ``failures`` counts the kinds of failure;
    aborted requests are none of them: the load ended before their answer.
    """

    measured: BoolColumn
    ok: BoolColumn
    aborted: BoolColumn
    image: IntColumn
    expected: IntColumn
    answered: IntColumn
    scheduled_ns: IntColumn
    sent_ns: IntColumn
    finished_ns: IntColumn
    step: IntColumn
    connect_ns: IntColumn
    receive_ns: IntColumn
    parts_ns: dict[str, IntColumn]
    failures: dict[str, int]

    def __len__(self) -> int:
        return len(self.ok)

    @property
    def response_time_ns(self) -> IntColumn:
        """What a user would have waited, the generator's own delay included."""
        return self.finished_ns - self.scheduled_ns

    @property
    def round_trip_time_ns(self) -> IntColumn:
        """From sending to the last byte of the answer."""
        return self.finished_ns - self.sent_ns

    @property
    def send_delay_ns(self) -> IntColumn:
        """How late the load generator was."""
        return self.sent_ns - self.scheduled_ns

    def only(self, chosen: BoolColumn) -> Requests:
        """The requests where ``chosen`` is true."""
        return replace(
            self,
            **{name: getattr(self, name)[chosen] for name in _COLUMNS},
            parts_ns={name: column[chosen] for name, column in self.parts_ns.items()},
        )

    def answers(self) -> Requests:
        """The measured requests that were answered: the ones that figures are made of."""
        return self.only(self.measured & self.ok)


_COLUMNS = (
    "measured",
    "ok",
    "aborted",
    "image",
    "expected",
    "answered",
    "scheduled_ns",
    "sent_ns",
    "finished_ns",
    "step",
    "connect_ns",
    "receive_ns",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedCell:
    """One planned cell and what there is of it. ``damage`` says what of it could not be read."""

    cell: Cell
    outcome: CellOutcome | None
    requests: Requests
    torn: bool
    damage: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run folder. ``unlisted`` are cell folders that the plan does not know; ``damage`` is not any one cell's."""

    folder: Path
    plan: RunPlan
    cells: tuple[RecordedCell, ...]
    offline: dict[tuple[str, int], OfflinePredictions]
    unlisted: tuple[str, ...]
    damage: tuple[str, ...]


def load_run(folder: Path, progress: Progress = silent) -> Run:
    """Everything that ``folder`` holds; an unfinished run is loaded as far as it went.

    Raises `RunInvalid` where there is no readable plan. Damage to one cell is kept in the
    cell, so that it does not hide the others.
    """
    plan = _load_plan(folder)
    offline, damage = _load_offline(folder)
    return Run(
        folder=folder,
        plan=plan,
        cells=tuple(load_cell(folder, cell) for cell in counted(plan.cells, progress, "read the records")),
        offline=offline,
        unlisted=_unlisted(folder, plan),
        damage=damage,
    )


def load_cell(folder: Path, cell: Cell) -> RecordedCell:
    """What ``folder`` holds of ``cell``."""
    place = folder / CELLS_FOLDER / cell.name
    records: tuple[RequestRecord, ...] = ()
    outcome, torn = None, False
    damage = []
    try:
        if (place / REQUESTS_FILE).is_file():
            journal = read_journal(place / REQUESTS_FILE, RequestRecord)
            records, torn = journal.records, journal.torn
        if (place / CELL_FILE).is_file():
            outcome = read_json(place / CELL_FILE, CellOutcome)
    except (HemaBenchError, OSError) as error:
        damage.append(str(error))
    if outcome is not None and outcome.cell != cell:
        damage.append(f"{place / CELL_FILE} is about {outcome.cell.name}. Next: repeat the cell")
        outcome = None
    return RecordedCell(cell=cell, outcome=outcome, requests=requests_of(records), torn=torn, damage=tuple(damage))


def requests_of(records: Sequence[RequestRecord]) -> Requests:
    """``records`` as columns."""

    def column(values: list[Any]) -> IntColumn:
        return np.array(values, dtype=np.int64)

    return Requests(
        measured=np.array([record.phase == "measured" for record in records], dtype=np.bool_),
        ok=np.array([record.ok for record in records], dtype=np.bool_),
        aborted=np.array([record.failure == ABORTED for record in records], dtype=np.bool_),
        image=column([record.image for record in records]),
        expected=column([record.expected for record in records]),
        answered=column([NOT_RECORDED if record.answered is None else record.answered for record in records]),
        scheduled_ns=column([record.scheduled_ns for record in records]),
        sent_ns=column([record.sent_ns for record in records]),
        finished_ns=column([record.finished_ns for record in records]),
        step=column([record.step for record in records]),
        connect_ns=column([record.connect_ns for record in records]),
        receive_ns=column([record.receive_ns for record in records]),
        parts_ns={
            part: column([record.parts_ns.get(part, NOT_RECORDED) for record in records]) for part in (*PARTS, TOTAL)
        },
        failures=dict(
            Counter(record.failure for record in records if record.failure not in (None, ABORTED)).most_common()
        ),
    )


def pooled(runs: Sequence[Requests]) -> Requests:
    """The requests of several repetitions, one after another; there must be at least one repetition."""

    def joined(name: str) -> Any:
        return np.concatenate([getattr(run, name) for run in runs])

    failures = sum((Counter(run.failures) for run in runs), Counter())
    return Requests(
        **{name: joined(name) for name in _COLUMNS},
        parts_ns={name: np.concatenate([run.parts_ns[name] for run in runs]) for name in runs[0].parts_ns},
        failures=dict(failures.most_common()),
    )


def _load_plan(folder: Path) -> RunPlan:
    path = folder / RUN_FILE
    if not path.is_file():
        raise RunInvalid(f"no run in {folder}: it has no {RUN_FILE}. Next: hemabench run")
    try:
        plan = read_json(path, RunPlan)
    except DataCorrupt as error:
        raise RunInvalid(str(error)) from error
    if plan.records_version != RECORDS_VERSION:
        raise RunInvalid(
            f"{path}: records of version {plan.records_version}; this release reads {RECORDS_VERSION}. "
            "Next: report it with the release that recorded it"
        )
    return plan


def _load_offline(folder: Path) -> tuple[dict[tuple[str, int], OfflinePredictions], tuple[str, ...]]:
    found: dict[tuple[str, int], OfflinePredictions] = {}
    damage = []
    for path in sorted((folder / OFFLINE_FOLDER).glob("*.json")):
        try:
            predictions = read_json(path, OfflinePredictions)
        except (HemaBenchError, OSError) as error:
            damage.append(str(error))
            continue
        if len(predictions.images) != len(predictions.classes):
            damage.append(f"{path}: {len(predictions.images)} images and {len(predictions.classes)} classes")
            continue
        found[predictions.runtime, predictions.resolution_px] = predictions
    return found, tuple(damage)


def _unlisted(folder: Path, plan: RunPlan) -> tuple[str, ...]:
    planned = {cell.name for cell in plan.cells}
    return tuple(
        path.name for path in sorted((folder / CELLS_FOLDER).glob("*")) if path.is_dir() and path.name not in planned
    )
