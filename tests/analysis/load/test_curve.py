from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.load.curve import Curve, curve_of
from analysis.load.page import summary_page
from analysis.load.plots import curve_chart
from analysis.load.report import render_report
from analysis.load.runs import load_run, requests_of
from analysis.load.sentences import curve_words
from analysis.load.summary import summarise
from analysis.load.tables import summary_tables
from analysis.statistics import Absent, Estimate
from contract.records.load import CellOutcome, RequestRecord, Scenario, StepOutcome
from contract.timing import NS_PER_S

STEP_S = 5
# Rate, and the response time of every request in seconds: it keeps up with 200/s, and at 400/s a queue grows.
STEPS = ((100, 0.010), (200, 0.015), (400, 3.0))


def steps_and_records(build) -> tuple[tuple[StepOutcome, ...], list[RequestRecord]]:
    cell = build.cell(scenario="ladder")
    template = build.records(cell, requests=1, warmup=0)[0]
    steps, records = [], []
    for number, (rate, response_s) in enumerate(STEPS):
        began = number * 60 * NS_PER_S
        due = rate * STEP_S
        scheduled = [began + index * NS_PER_S // rate for index in range(due)]
        records += [
            replace(
                template,
                request=len(records) + index,
                scheduled_ns=at,
                sent_ns=at,
                finished_ns=at + round((response_s + index * 1e-7) * NS_PER_S),
                step=number,
            )
            for index, at in enumerate(scheduled)
        ]
        end = began + STEP_S * NS_PER_S
        steps.append(
            StepOutcome(
                step=number,
                rate_per_s=rate,
                began_ns=began,
                measured_from_ns=began,
                end_ns=end,
                due=due,
                by_end=0,  # counted anew from the records
                in_time=0,
                dropped=0,
            )
        )
    return tuple(steps), records


def ladder(build, kind: str = "ladder", **changes) -> CellOutcome:
    cell = build.cell(scenario=kind)
    steps, records = steps_and_records(build)
    limit = {"p99_limit_s": 0.012} if kind == "find_rate" else {}
    offered = Scenario(kind=kind, warmup_s=0, duration_s=STEP_S, seed=1, arrival_rate_per_s=100, **limit)
    outcome: CellOutcome = build.outcome(cell, records, scenario=offered, steps=steps, **changes)
    return outcome


def curve(build, kind: str = "ladder") -> Curve:
    _, records = steps_and_records(build)
    found = curve_of(ladder(build, kind), requests_of(records), send_delay_p99_ms=20.0)
    assert found is not None
    return found


def test_the_knee_is_where_throughput_per_waiting_time_is_largest(build) -> None:
    found = curve(build)
    assert [point.keeps_up for point in found.points] == [True, True, False]
    assert found.knee == found.points[1]  # 200 / 15 ms is more than 100 / 10 ms
    assert found.highest_passed == found.points[1]
    assert found.lowest_missed == found.points[2]
    assert curve_words(found) == "it keeps up with 200/s, and did not carry 400/s; the knee is at 200/s"


def test_percentiles_are_of_one_step_alone(build) -> None:
    p50 = curve(build).points[0].response_p50_ns
    assert isinstance(p50, Estimate)
    assert p50.value == pytest.approx(10_000_000, rel=0.01)
    assert p50.n == 500
    assert isinstance(curve(build).points[0].response_p99_ns, Absent)  # 500 of the 662 that p99 takes


def test_a_search_counts_what_came_in_time(build) -> None:
    found = curve(build, "find_rate")
    assert [point.passed for point in found.points] == [True, False, False]
    assert found.knee == found.points[0]  # a rate that missed the limit is none, however much it got through
    assert curve_words(found) == "100/s with p99 <= 12 ms at 99 % confidence, and did not carry 200/s"


def test_times_of_a_step_in_which_the_generator_was_late_are_not_told(build) -> None:
    _, records = steps_and_records(build)
    late = [replace(record, sent_ns=record.scheduled_ns + 25_000_000) for record in records]
    found = curve_of(ladder(build), requests_of(late), send_delay_p99_ms=20.0)
    assert found is not None
    assert {point.response_p50_ns for point in found.points} == {
        Absent("the load generator was late", n) for n in (500, 1000, 2000)
    }


def test_a_miss_while_the_generator_was_late_makes_the_cell_invalid(build, tmp_path: Path) -> None:
    def late_at_the_end(cell, records, outcome):
        _, stepped = steps_and_records(build)
        return [replace(one, sent_ns=one.scheduled_ns + 25_000_000 * (one.step == 2)) for one in stepped], ladder(build)

    folder = build.write(tmp_path / "run", runtimes=("pytorch",), scenarios=("ladder",), edit=late_at_the_end)
    (cell,) = summarise(load_run(folder)).cells
    assert cell.verdict.status == "invalid"
    assert cell.verdict.disturbed
    assert "the load generator was late at 400/s" in cell.verdict.reasons[0]


def test_a_plain_scenario_has_no_curve(build) -> None:
    cell = build.cell()
    records = build.records(cell)
    assert curve_of(build.outcome(cell, records), requests_of(records), 20.0) is None


def test_terminal_page_and_report_show_the_curve_and_no_percentile_of_the_whole(build, tmp_path: Path) -> None:
    from rich.console import Console

    def as_ladder(cell, records, outcome):
        _, stepped = steps_and_records(build)
        return stepped, ladder(build)

    folder = build.write(tmp_path / "run", runtimes=("pytorch",), scenarios=("ladder",), edit=as_ladder)
    summary = summarise(load_run(folder))
    (contender,) = summary.contenders
    assert contender.status == "valid", contender.cells[0].verdict.reasons
    assert contender.figures is None
    console = Console(file=io.StringIO(), width=160, record=True)
    console.print(summary_tables(summary))
    for text in (console.export_text(), summary_page(summary), render_report(summary)):
        assert "the knee is at 200/s" in text
    assert curve_chart(contender.curve) is not None
