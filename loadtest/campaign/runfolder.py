"""A run's folder: where everything lies, what is finished, and what is repeated.

results/<run>/
    run.json                      the plan, written first
    images/<side>px.json          positions of the images that are sent, in order
    offline/<runtime>-<side>px.json
    cells/<cell>/                 load.json, requests.journal, generator.json, logs; cell.json last
    discarded/<cell>-<n>/         what a cell left that was begun and not finished
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

from contract.errors import DataCorrupt, RunInvalid
from contract.records.load import CELL_FILE, RUN_FILE, Cell, CellOutcome, RunPlan
from contract.storage import read_json, write_json


@dataclass(frozen=True, slots=True)
class RunFolder:
    """One run on disk."""

    path: Path
    plan: RunPlan

    def cell_folder(self, cell: Cell) -> Path:
        """Where the records of ``cell`` are."""
        return self.path / "cells" / cell.name

    def images_file(self, resolution_px: int) -> Path:
        """The positions of the images that are sent."""
        return self.path / "images" / f"{resolution_px}px.json"

    def offline_file(self, runtime: str, resolution_px: int) -> Path:
        """What ``runtime`` answers without HTTP."""
        return self.path / "offline" / f"{runtime}-{resolution_px}px.json"

    def outcome(self, cell: Cell) -> CellOutcome | None:
        """How ``cell`` ended; None when it has not, or when that cannot be read."""
        try:
            return read_json(self.cell_folder(cell) / CELL_FILE, CellOutcome)
        except (FileNotFoundError, DataCorrupt):
            return None

    def is_finished(self, cell: Cell) -> bool:
        """Whether ``cell`` needs no repetition: it ended, and without an error."""
        outcome = self.outcome(cell)
        return outcome is not None and outcome.error is None

    def finish(self, outcome: CellOutcome) -> None:
        """Write how a cell ended: from now on it is finished."""
        write_json(self.cell_folder(outcome.cell) / CELL_FILE, outcome)

    def set_aside(self, cell: Cell) -> None:
        """Move what an unfinished ``cell`` left out of the way; nothing recorded is ever deleted."""
        folder = self.cell_folder(cell)
        if not folder.exists():
            return
        discarded = self.path / "discarded"
        discarded.mkdir(exist_ok=True)
        folder.rename(discarded / f"{cell.name}-{1 + len(list(discarded.glob(f'{cell.name}-*')))}")

    def failures(self) -> list[CellOutcome]:
        """The cells that ended with an error, in the plan's order."""
        outcomes = (self.outcome(cell) for cell in self.plan.cells)
        return [outcome for outcome in outcomes if outcome is not None and outcome.error is not None]

    def missing(self) -> list[Cell]:
        """The cells that have not ended, in the plan's order."""
        return [cell for cell in self.plan.cells if self.outcome(cell) is None]


def open_run(path: Path) -> RunFolder:
    """The run in ``path``; raises `RunInvalid` where there is none."""
    if not (path / RUN_FILE).is_file():
        raise RunInvalid(f"no run in {path}: it has no {RUN_FILE}. Next: hemabench run")
    return RunFolder(path, read_json(path / RUN_FILE, RunPlan))


def create_run(results: Path, plan: RunPlan) -> RunFolder:
    """A new folder with ``plan`` in it; raises `RunInvalid` rather than write into an old one."""
    path = (results / plan.run).absolute()
    try:
        path.mkdir(parents=True)
    except FileExistsError as error:
        raise RunInvalid(f"{path} exists. Next: resume it, or choose another name") from error
    write_json(path / RUN_FILE, plan)
    return RunFolder(path, plan)


def resume_run(results: Path, plan: RunPlan) -> RunFolder:
    """The folder of an earlier run that set out to measure what ``plan`` does, here, with the same software.

    Raises `RunInvalid`, naming the field, where it did not: its finished cells could not
    be compared with those to come.
    """
    run = open_run((results / plan.run).absolute())
    # What a person chose comes before what follows from it.
    for field in sorted(fields(RunPlan), key=lambda one: one.name in ("artifacts", "cells")):
        if field.name in ("created", "command"):
            continue
        old, new = getattr(run.plan, field.name), getattr(plan, field.name)
        if old != new:
            raise RunInvalid(
                f"{run.path} cannot be resumed: its {field.name} is {_shortened(old)}, now it would be "
                f"{_shortened(new)}. Next: start a new run"
            )
    return run


def new_run_name(profile: str, now: datetime) -> str:
    """Sorts by time: ``20260131T120000Z-quick``."""
    return f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{profile}"


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:300]}..."
