"""A run's folder: where everything lies, what is finished, and what is repeated.

results/<run>/
    run.json                      the plan, written first
    images/<side>px.json          positions of the images that are sent, in order
    offline/<runtime>-<side>px.json
    cells/<cell>/                 load.json, requests.journal, generator.json, logs; cell.json last
    discarded/<cell>-<n>/         what a cell left that was begun and not finished
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from contract.errors import DataCorrupt, RunInvalid
from contract.records.load import CELL_FILE, RUN_FILE, Cell, CellOutcome, RunPlan
from contract.storage import read_json, write_json
from loadtest.folders import create_folder, require_same_plan, set_aside


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
        set_aside(self.path, self.cell_folder(cell))

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
    return RunFolder(create_folder(results, plan.run, RUN_FILE, plan), plan)


def resume_run(results: Path, plan: RunPlan) -> RunFolder:
    """The folder of an earlier run that set out to measure what ``plan`` does; `RunInvalid` names what differs."""
    run = open_run((results / plan.run).absolute())
    require_same_plan(run.path, run.plan, plan)
    return run
