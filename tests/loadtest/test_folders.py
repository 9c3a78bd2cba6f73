from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from contract.errors import RunInvalid
from loadtest.folders import create_folder, new_run_name, set_aside


def test_names_of_runs_sort_by_time_wherever_they_are_made() -> None:
    noon = datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert new_run_name("quick", noon) == "20260131T120000Z-quick"
    assert new_run_name("quick", noon.astimezone(timezone(timedelta(hours=9)))) == new_run_name("quick", noon)


def test_the_plan_is_the_first_thing_in_a_folder_and_stays_as_it_was(tmp_path: Path) -> None:
    folder = create_folder(tmp_path / "results", "a-run", "plan.json", {"seed": 0})
    before = (folder / "plan.json").read_bytes()
    assert [path.name for path in folder.iterdir()] == ["plan.json"]
    with pytest.raises(RunInvalid, match="exists"):
        create_folder(tmp_path / "results", "a-run", "plan.json", {"seed": 1})
    assert (folder / "plan.json").read_bytes() == before


def test_every_attempt_that_was_set_aside_is_kept(tmp_path: Path) -> None:
    for attempt in ("first", "second"):
        (tmp_path / "parts" / "one").mkdir(parents=True)
        (tmp_path / "parts" / "one" / "journal").write_text(attempt)
        set_aside(tmp_path, tmp_path / "parts" / "one")
    set_aside(tmp_path, tmp_path / "parts" / "never begun")
    kept = {path.parent.name: path.read_text() for path in tmp_path.glob("discarded/*/journal")}
    assert kept == {"one-1": "first", "one-2": "second"}
