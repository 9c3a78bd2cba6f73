from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contract.environment import describe_environment
from contract.errors import RunInvalid
from contract.records.load import Cell, RunPlan, RunSettings
from loadtest.campaign.cells import Surroundings, failed_cell
from loadtest.campaign.runfolder import create_run, open_run, resume_run

CELL = Cell(runtime="fake", resolution_px=28, scenario="closed_loop")
OTHER = Cell(runtime="fake", resolution_px=28, scenario="open_loop")


def plan(**changes: Any) -> RunPlan:
    given = {
        "run": "a-run",
        "created": "2026-01-31T12:00:00+00:00",
        "profile": "quick",
        "command": "hemabench run",
        "environment": describe_environment(),
        "data_source": "noise",
        "data_description": "noise",
        "data_is_real": False,
        "artifacts": (),
        "cells": (CELL, OTHER),
        "seed": 0,
    }
    return RunPlan(**(given | changes))


def test_the_plan_is_there_before_anything_is_measured(tmp_path: Path) -> None:
    run = create_run(tmp_path, plan())
    assert open_run(run.path).plan == plan()
    assert run.missing() == [CELL, OTHER]


def test_an_earlier_run_is_never_written_into(tmp_path: Path) -> None:
    create_run(tmp_path, plan())
    with pytest.raises(RunInvalid, match="exists"):
        create_run(tmp_path, plan(seed=1))
    assert open_run(tmp_path / "a-run").plan.seed == 0


def test_a_cell_is_finished_when_it_ended_without_an_error(tmp_path: Path) -> None:
    run = create_run(tmp_path, plan())
    run.finish(replace(failed_cell(CELL, Surroundings(), ""), error=None))
    run.finish(failed_cell(OTHER, Surroundings(), "it broke"))
    assert run.is_finished(CELL)
    assert not run.is_finished(OTHER)
    assert [outcome.cell for outcome in run.failures()] == [OTHER]
    assert run.missing() == []


def test_an_outcome_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    run = create_run(tmp_path, plan())
    run.cell_folder(CELL).mkdir(parents=True)
    (run.cell_folder(CELL) / "cell.json").write_text('{"cell": ')
    assert not run.is_finished(CELL)


@pytest.mark.acceptance("D4")
def test_what_a_half_done_cell_left_is_kept_aside(tmp_path: Path) -> None:
    run = create_run(tmp_path, plan())
    for attempt in (1, 2):
        run.cell_folder(CELL).mkdir(parents=True)
        (run.cell_folder(CELL) / "requests.journal").write_text(str(attempt))
        run.set_aside(CELL)
    run.set_aside(OTHER)  # was never begun
    assert not run.cell_folder(CELL).exists()
    kept = sorted((run.path / "discarded").glob("*/requests.journal"))
    assert [path.read_text() for path in kept] == ["1", "2"]


def test_a_run_is_resumed_by_the_same_plan_at_another_time(tmp_path: Path) -> None:
    create_run(tmp_path, plan())
    assert resume_run(tmp_path, plan(created="2027-01-01", command="other")).plan == plan()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seed", 1),
        ("profile", "full"),
        ("data_source", "other"),
        ("cells", (CELL,)),
        ("settings", RunSettings(device="cpu", threads=2, images=300, warmup_s=1.0, duration_s=8.0)),
        ("environment", replace(describe_environment(), cpu_model="another")),
    ],
)
def test_a_run_of_something_else_is_not_resumed(tmp_path: Path, field: str, value: object) -> None:
    create_run(tmp_path, plan())
    with pytest.raises(RunInvalid, match=f"its {field} is"):
        resume_run(tmp_path, plan(**{field: value}))


def test_a_folder_without_a_plan_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunInvalid, match=r"no run in .*run\.json"):
        open_run(tmp_path)
