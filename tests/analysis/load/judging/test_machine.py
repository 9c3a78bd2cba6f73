"""What the machine did to a cell is named, and beyond a limit it is refused as a disturbance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.load.runs import load_run
from analysis.load.verdicts import Verdict, judge
from contract.records.load import CELL_FILE, CellOutcome, MachineUse
from contract.storage import read_json

S = 1_000_000_000


@pytest.fixture
def verdict_on(build, tmp_path: Path) -> Callable[..., Verdict]:
    """The verdict on a cell of ten seconds on two cores, half of whose time was our own."""

    def verdict(compilations: int | None = 0, **use) -> Verdict:
        facts = {"cores": (0, 1), "elapsed_ns": 10 * S, "busy_ns": 10 * S, "own_ns": 10 * S, "stolen_ns": 0}
        machine = MachineUse(**facts | use)

        def edit(cell, records, outcome):
            return records, replace(outcome, compilations=compilations, machine=machine)

        run = load_run(build.write(tmp_path / f"{len(list(tmp_path.iterdir()))}", runtimes=("onnx",), edit=edit))
        return judge(run, run.cells[0])

    return verdict


def test_a_machine_that_did_nothing_else_is_not_mentioned(verdict_on) -> None:
    assert verdict_on() == Verdict(status="valid")
    assert verdict_on(clock_hz=(800_000_000, 3_000_000_000, 2_950_000_000), throttled=0) == Verdict(status="valid")


@pytest.mark.parametrize(
    ("use", "says", "fatal"),
    [
        ({"busy_ns": 12 * S}, "other programs took 10% of the cores", False),
        ({"busy_ns": 16 * S}, "other programs took 30% of the cores", True),
        ({"stolen_ns": 2 * S}, "the host kept 10% of the cores", False),
        ({"stolen_ns": 8 * S}, "the host kept 40% of the cores", True),
        ({"clock_hz": (3_000_000_000, 2_500_000_000)}, "fell by 17% from 3.00 GHz", False),
        ({"clock_hz": (800_000_000, 3_000_000_000, 2_000_000_000)}, "fell by 33% from 3.00 GHz", True),
        ({"throttled": 2}, "throttled its clock 2 times", True),
    ],
)
def test_a_disturbance_is_named_and_a_great_one_is_refused(verdict_on, use, says: str, fatal: bool) -> None:
    verdict = verdict_on(**use)
    (said,) = verdict.reasons if fatal else verdict.warnings
    assert says in said
    assert "Next:" in said
    assert (verdict.status, verdict.disturbed) == (("invalid", True) if fatal else ("valid", False))


def test_a_compilation_makes_a_cell_invalid_and_is_the_services_own_fault(verdict_on) -> None:
    verdict = verdict_on(compilations=1)
    assert verdict.status == "invalid"
    assert not verdict.disturbed
    assert "the service compiled 1 program while it was measured" in verdict.reasons[0]


def test_whose_the_time_was_is_not_guessed(verdict_on) -> None:
    assert verdict_on(own_ns=None, busy_ns=20 * S) == Verdict(status="valid")


def test_a_cell_of_an_earlier_release_is_still_read(build, tmp_path: Path) -> None:
    folder = build.write(tmp_path, runtimes=("onnx",))
    (path,) = folder.glob(f"cells/*/{CELL_FILE}")
    lines = path.read_text().replace('"compilations": null,', "").replace('"machine": null', '"workers": 1')
    assert "machine" not in lines
    path.write_text(lines)
    assert read_json(path, CellOutcome).machine is None
    run = load_run(folder)
    assert judge(run, run.cells[0]) == Verdict(status="valid")
