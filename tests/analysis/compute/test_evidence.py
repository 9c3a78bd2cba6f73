"""Compute runs are sealed, verified and compared like runs of load tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from analysis.chapters import tell, whole_page
from analysis.comparison.comparing import BETWEEN, compare_runs
from analysis.compute.runs import ComputeRun
from analysis.evidence.verification import verify_run
from analysis.telling import Asked
from contract.errors import InvalidSettings
from contract.records.compute import BLOCKS_FILE, COMPUTE_FILE, FIRST_CALLS_FILE, LIMITS_FILE, SITTING_FILE, STARTS_FILE
from contract.records.journal import JournalWriter
from contract.records.load import REPORT_FILE, SUMMARY_FILE
from contract.records.seal import seal_folder
from contract.storage import write_json


def write(run: ComputeRun, folder: Path) -> Path:
    """``run`` as `hemabench compute` leaves it."""
    write_json(folder / COMPUTE_FILE, run.plan)
    write_json(folder / LIMITS_FILE, run.limits)
    for sitting in run.plan.sittings:
        place = folder / "sittings" / sitting.name
        for file, records in (
            (STARTS_FILE, run.starts),
            (FIRST_CALLS_FILE, run.first_calls),
            (BLOCKS_FILE, run.blocks),
        ):
            with JournalWriter(place / file) as journal:
                for record in records:
                    if record.sitting == sitting:
                        journal.append(record)
        write_json(place / SITTING_FILE, sitting)
    told = tell(folder, Asked())
    (folder / REPORT_FILE).write_text(whole_page(folder, told))
    (folder / SUMMARY_FILE).write_text(told.numbers)
    seal_folder(folder)
    return folder


@pytest.fixture
def folder(make_run: Callable[..., ComputeRun], tmp_path: Path) -> Path:
    return write(make_run(resolutions_px=(28, 64), batches=(1,)), tmp_path / "a")


def test_a_compute_run_holds_until_a_call_is_changed(folder: Path) -> None:
    assert verify_run(folder).faults == ()
    journal = next(folder.glob(f"sittings/*/{BLOCKS_FILE}"))
    journal.write_bytes(journal.read_bytes()[:-200])
    assert verify_run(folder).faults[0].startswith(f"{journal.relative_to(folder)}: its bytes")


def test_two_compute_runs_are_compared_process_by_process(
    folder: Path, make_run: Callable[..., ComputeRun], tmp_path: Path
) -> None:
    def slower(runtime: str, shape) -> float:
        return {"pytorch": 1.0, "jax": 2.0, "null": 0.001}[runtime]

    def before(runtime: str, shape) -> float:
        return {"pytorch": 1.0, "jax": 1.0, "null": 0.001}[runtime]

    a = write(make_run(before, resolutions_px=(28,), batches=(1,), processes=5), tmp_path / "before")
    b = write(make_run(slower, resolutions_px=(28,), batches=(1,), processes=5), tmp_path / "after")
    found = {pair.key.runtime: pair for pair in compare_runs(a, b).pairs}
    assert found["jax"].difference.says == "slower"
    assert found["jax"].ratio.value == pytest.approx(2, rel=0.02)
    assert found["pytorch"].difference.says in ("not shown", "below 3 %")
    assert {pair.interval_from for pair in found.values()} == {BETWEEN}


def test_a_compute_run_is_not_compared_with_a_load_test(folder: Path, build, tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="is a run of kind compute, example of kind load"):
        compare_runs(folder, build.write(tmp_path / "load", requests=40))
