from __future__ import annotations

from pathlib import Path

from analysis.load.page import HEADINGS, summary_page
from analysis.load.runs import load_run
from analysis.load.summary import RunSummary, summarise
from analysis.markdown import markdown_table
from analysis.wording import interval_of, value_of
from contract.blood_cells import NOTICE
from contract.records.load import Scenario


def summary_of(build, folder: Path, **options) -> RunSummary:
    return summarise(load_run(build.write(folder, **options)))


def test_every_row_of_a_table_has_as_many_cells_as_its_head():
    lines = markdown_table(("a", "b"), [["1", "2"], ["3", "4"]])
    assert lines == ["| a | b |", "| --- | --- |", "| 1 | 2 |", "| 3 | 4 |"]


def test_a_number_stands_with_its_interval_its_n_and_its_machine(build, tmp_path: Path):
    summary = summary_of(build, tmp_path)
    page = summary_page(summary)
    for contender in summary.contenders:
        figure = contender.figures.response_p50_ns
        assert f"{value_of(figure, 'bare_ms')} ({interval_of(figure, 'bare_ms')})" in page
        assert f"| {contender.requests:,} |" in page
    assert summary.plan.environment.cpu_model in page
    assert summary.plan.command in page
    assert NOTICE in page


def test_parity_is_shown_for_every_artifact(build, tmp_path: Path):
    summary = summary_of(build, tmp_path, resolutions_px=(28, 64))
    page = summary_page(summary)
    assert len(summary.plan.artifacts) == 4
    assert all(artifact.digest[:12] in page for artifact in summary.plan.artifacts)


def test_an_invalid_cell_has_its_verdict_in_place_of_numbers_and_its_reason_below(build, tmp_path: Path):
    def spoil(cell, records, outcome):
        return records, build.outcome(cell, records, dropped=7)

    page = summary_page(summary_of(build, tmp_path, runtimes=("pytorch",), edit=spoil))
    (row,) = [line for line in page.splitlines() if line.startswith("| 28 | PyTorch | invalid")]
    assert row.count("|") == len(HEADINGS) + 1
    assert "7 arrivals were never sent" in page


def test_rendered_cells_are_named_as_such(build, tmp_path: Path):
    assert "accuracy is not" in summary_page(summary_of(build, tmp_path, data_is_real=False))


def test_services_that_were_offered_rates_of_their_own_are_said_to_be(build, tmp_path: Path):
    def page_of(name: str, rates: dict[str, float]) -> str:
        def offer(cell, records, outcome):
            rate = rates[cell.runtime]
            offered = Scenario(kind="open_loop", warmup_s=0, duration_s=1, seed=0, arrival_rate_per_s=rate)
            return records, build.outcome(cell, records, scenario=offered)

        options = {"runtimes": tuple(rates), "scenarios": ("open_loop",), "edit": offer}
        return summary_page(summary_of(build, tmp_path / name, **options))

    assert "rates of its own, between 50 and 120/s" in page_of("own", {"pytorch": 50, "onnx": 120})
    assert "rates of its own" not in page_of("same", {"pytorch": 50, "onnx": 50})
