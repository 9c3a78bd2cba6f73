"""Every way in which a cell can be wrong is written into a run folder and must be named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.load.judging.findings import Limits
from analysis.load.runs import Run, load_run
from analysis.load.verdicts import CHECKS, Verdict, judge
from contract.errors import InvalidSettings
from contract.records.load import ABORTED, Cell

MS = 1_000_000


@pytest.fixture
def verdict_on(build, tmp_path: Path) -> Callable[..., Verdict]:
    """The verdict on a cell whose records and outcome ``edit`` has changed."""

    def verdict(edit=None, *, cell: Cell | None = None, change_run: Callable[[Run], Run] = lambda run: run, **options):
        cell = cell or build.cell()
        build.write(
            tmp_path,
            runtimes=(cell.runtime,),
            resolutions_px=(cell.resolution_px,),
            scenarios=(cell.scenario,),
            edit=edit,
            **options,
        )
        run = change_run(load_run(tmp_path))
        return judge(run, run.cells[0])

    return verdict


def changed(build, **changes):
    """An edit that changes the outcome alone."""
    return lambda cell, records, outcome: (records, replace(outcome, **changes))


def test_an_undisturbed_cell_is_valid_without_a_word(verdict_on) -> None:
    assert verdict_on() == Verdict(status="valid")


def test_an_undisturbed_open_loop_is_valid(verdict_on, build) -> None:
    assert verdict_on(cell=build.cell(scenario="open_loop")) == Verdict(status="valid")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"dropped": 3}, "3 arrivals were never sent"),
        ({"aborted": 2, "started": 932}, "2 requests were cut off"),
        ({"generator_cpu_share": 0.95}, "saturated: 95% of its core"),
        ({"started": 931}, "931 requests were started, but 930 ok"),
        ({"ok": 929, "failed": 1}, "the journal holds 930 ok"),
        ({"answered_by_service": 925}, "the service counted 925"),
        ({"answered_by_service": 931}, "the service counted 931"),
        (
            {"error": "ServiceFailed: the service died"},
            "ServiceFailed: the service died (records of 930 requests kept)",
        ),
    ],
)
@pytest.mark.acceptance("D10")
def test_an_outcome_that_cannot_be_trusted_makes_the_cell_invalid(verdict_on, build, changes, reason: str) -> None:
    verdict = verdict_on(changed(build, **changes))
    assert verdict.status == "invalid"
    assert any(reason in text for text in verdict.reasons), verdict.reasons


@pytest.mark.parametrize(
    ("changes", "warning"),
    [
        ({"generator_cpu_share": None}, "CPU use is not recorded"),
        ({"answered_by_service": None}, "own count of answers is not recorded"),
        ({"load_average": 2.5}, "load average was above its 2 cores"),
        ({"service_cores": (0, 1), "generator_cores": (1,)}, "shared core 1"),
    ],
)
def test_a_doubtful_outcome_is_a_warning(verdict_on, build, changes, warning: str) -> None:
    verdict = verdict_on(changed(build, **changes))
    assert verdict.status == "valid"
    assert [warning in text for text in verdict.warnings] == [True]


@pytest.mark.acceptance("D10")
def test_one_failure_makes_a_cell_invalid_and_is_counted_by_kind(verdict_on, build) -> None:
    def fail(cell, records, outcome):
        records = [build.failed(record) if record.request in (100, 200) else record for record in records]
        return records, build.outcome(cell, records)

    verdict = verdict_on(fail)
    assert verdict.status == "invalid"
    assert "2 of 900 measured requests failed (2 x HTTP 503)" in verdict.reasons[0]


def test_a_failure_during_warm_up_is_a_warning(verdict_on, build) -> None:
    def fail(cell, records, outcome):
        records = [build.failed(records[0]), *records[1:]]
        return records, build.outcome(cell, records)

    verdict = verdict_on(fail)
    assert verdict.status == "valid"
    assert "1 requests failed during warm-up" in verdict.warnings[0]


@pytest.mark.parametrize("scenario", ["closed_loop", "open_loop"])
def test_requests_cut_off_are_the_slowest_and_make_a_cell_invalid(verdict_on, build, scenario) -> None:
    def cut(cell, records, outcome):
        records = [*records[:-1], build.failed(records[-1], ABORTED, 0)]
        return records, build.outcome(cell, records, failed=0, aborted=1)

    verdict = verdict_on(cut, cell=build.cell(scenario=scenario))
    assert (verdict.status, verdict.disturbed) == ("invalid", False)
    assert "cut off before their answer" in verdict.reasons[0]


def test_too_few_requests_for_a_median_make_a_cell_invalid(verdict_on) -> None:
    verdict = verdict_on(requests=10)
    assert verdict.status == "invalid"
    assert "10 answered requests are too few for a median; it takes 11" in verdict.reasons[0]


def test_too_few_requests_for_a_percentile_are_a_warning(verdict_on) -> None:
    verdict = verdict_on(requests=300)
    assert verdict.status == "valid"
    assert "300 answered requests are too few for p99, which takes 662" in verdict.warnings[0]


@pytest.mark.parametrize(("factor", "status", "named"), [(1.02, "valid", 0), (1.25, "valid", 1), (2.0, "invalid", 1)])
def test_a_drifting_cell_is_named_and_then_refused(verdict_on, build, factor: float, status: str, named: int) -> None:
    def drift(cell, records, outcome):
        late = len(records) // 2
        records = [
            replace(record, finished_ns=record.sent_ns + int(record.round_trip_time_ns * factor))
            if record.request > late
            else record
            for record in records
        ]
        return records, outcome

    verdict = verdict_on(drift)
    assert verdict.status == status
    assert sum("not stationary" in text for text in (*verdict.reasons, *verdict.warnings)) == named


@pytest.mark.parametrize(("delay_ms", "status", "text"), [(0.5, "valid", "own delay"), (30, "invalid", "was late")])
def test_a_late_generator_is_named_and_then_refused(verdict_on, build, delay_ms: float, status: str, text: str) -> None:
    def delay(cell, records, outcome):
        by = int(delay_ms * MS)
        return [
            replace(record, sent_ns=record.sent_ns + by, finished_ns=record.finished_ns + by) for record in records
        ], outcome

    verdict = verdict_on(delay, cell=build.cell(scenario="open_loop"))
    assert verdict.status == status
    assert any(text in found for found in (*verdict.reasons, *verdict.warnings))


@pytest.mark.acceptance("D9")
def test_an_answer_that_differs_from_the_offline_prediction_makes_a_cell_invalid(verdict_on) -> None:
    def flip(cell, records, outcome):
        records[50] = replace(records[50], answered=(records[50].answered + 1) % 8)
        return records, outcome

    verdict = verdict_on(flip)
    assert verdict.status == "invalid"
    assert "1 of 400 images were answered differently" in verdict.reasons[0]


def test_predictions_of_another_artifact_or_other_images_are_refused(verdict_on) -> None:
    def foreign(run: Run) -> Run:
        predictions = replace(run.offline["pytorch", 28], artifact_digest="c" * 64, data_source="synthetic")
        return replace(run, offline={("pytorch", 28): predictions})

    verdict = verdict_on(change_run=foreign)
    assert verdict.status == "invalid"
    assert len(verdict.reasons) == 2


def test_missing_predictions_are_a_warning(verdict_on) -> None:
    verdict = verdict_on(change_run=lambda run: replace(run, offline={}))
    assert verdict.status == "valid"
    assert "no offline predictions" in verdict.warnings[0]


def test_answers_without_the_services_timing_are_a_warning(verdict_on) -> None:
    def strip(cell, records, outcome):
        return [replace(record, parts_ns={}) for record in records], outcome

    verdict = verdict_on(strip)
    assert verdict.status == "valid"
    assert "900 of 900 answers carried no complete Server-Timing" in verdict.warnings[0]


def test_parts_that_do_not_add_up_are_a_warning(verdict_on) -> None:
    def stretch(cell, records, outcome):
        parts = records[60].parts_ns
        records[60] = replace(records[60], parts_ns=parts | {"total": parts["total"] + 2 * MS})
        return records, outcome

    assert "in 1 of 900 answers the parts do not add up" in verdict_on(stretch).warnings[0]


def test_a_cell_without_an_outcome_is_missing_and_its_records_are_kept(verdict_on) -> None:
    verdict = verdict_on(lambda cell, records, outcome: (records[:200], None))
    assert verdict.status == "missing"
    assert "records of 200 requests kept" in verdict.reasons[0]


def test_a_torn_journal_of_a_finished_cell_makes_it_invalid(build, tmp_path: Path) -> None:
    build.write(tmp_path, runtimes=("pytorch",))
    journal = tmp_path / "cells" / "pytorch-28px-closed_loop-r1" / "requests.journal"
    journal.write_bytes(journal.read_bytes()[:-10])
    run = load_run(tmp_path)
    verdict = judge(run, run.cells[0])
    assert verdict.status == "invalid"
    assert "its last line torn" in verdict.reasons[0]


def test_damage_is_the_reason_of_a_damaged_cell(build, tmp_path: Path) -> None:
    build.write(tmp_path, runtimes=("pytorch",))
    (tmp_path / "cells" / "pytorch-28px-closed_loop-r1" / "cell.json").write_bytes(b"{}")
    run = load_run(tmp_path)
    assert judge(run, run.cells[0]).status == "invalid"


def test_every_finding_says_what_to_do_next(verdict_on, build) -> None:
    def ruin(cell, records, outcome):
        records = [build.failed(records[0]), *records[1:200], build.failed(records[200])]
        return records, build.outcome(
            cell, records, dropped=1, aborted=4, generator_cpu_share=0.99, answered_by_service=0, load_average=9.0
        )

    verdict = verdict_on(ruin)
    texts = (*verdict.reasons, *verdict.warnings)
    assert len(texts) > 6
    assert all(". Next: " in text for text in texts)


def test_limits_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(InvalidSettings, match="drift_to_name"):
        Limits(drift_to_name=1.5, drift_to_refuse=1.2)


def test_checks_are_listed_once_each() -> None:
    assert len(set(CHECKS)) == len(CHECKS)
